"""`Broker`: queues that forget nothing they confirmed. Two implementations: RabbitMQ and an embedded durable queue.

A broker object is scoped to one namespace (a RabbitMQ virtual host, a folder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. `headers` are short ASCII names and text values."""

    queue: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """What foreign publishers send reaches a queue: those messages of a topic exchange whose routing key matches."""

    exchange: str
    routing_key: str


FOREIGN = "amqp."
"""Headers that begin so come from the backend itself, never from a publisher: `amqp.exchange` (only there when the
message came through a binding, so whoever published it is foreign), `amqp.routing_key`, `amqp.message_id`,
`amqp.timestamp` (seconds since the epoch), `amqp.content_type`, `amqp.content_encoding`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to a consumer, to be acked, rejected or released by its tag.

    Attributes:
        headers: what the publisher gave, without names that begin with `amqp.`, and what the backend adds (`FOREIGN`).
        deliveries: 1 at the first, counting this one; survives the consumer's and the broker's death.
        redelivered: may have been delivered before, so its effects may exist already.
    """

    tag: int
    queue: str
    body: bytes
    headers: Mapping[str, str]
    deliveries: int
    redelivered: bool


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How full a queue is. `oldest`: publish time of the oldest unacked message, ms since the epoch; None if empty."""

    ready: int
    unacked: int
    bytes: int
    oldest: int | None


class Consumer(Protocol):
    """Takes messages of some queues. When it dies, what it had not acked is delivered again."""

    def fetch(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` messages, oldest first; waits at most `timeout` seconds for the first; [] if none comes."""

    def ack(self, tags: Sequence[int]) -> None:
        """They are done and forgotten."""

    def reject(self, tag: int, reason: str) -> None:
        """Moves the message to the dead-letter queue `<queue>.dead`, header `reason`."""

    def release(self, tags: Sequence[int]) -> None:
        """Gives them back undone, to be delivered again."""

    def close(self) -> None:
        """Stops consuming; what was not acked is released."""


class Broker(Protocol):
    """Queues of one namespace. Every method may raise UnavailableError."""

    def declare(
        self,
        queue: str,
        *,
        max_bytes: int | None = None,
        single_active_consumer: bool = False,
        bindings: Sequence[Binding] = (),
    ) -> None:
        """Create the queue and its dead-letter queue if they are missing; limits can be changed later.

        The queue is bound with exactly `bindings` afterwards. A broker that no foreign publisher reaches (the embedded
        one) raises RefusedError when there are any.
        """

    def delete(self, queue: str) -> None:
        """Remove the queue with what is in it; no error when there is none."""

    def queues(self) -> list[str]:
        """Names of the declared queues, dead-letter queues included."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Returns when all are durable. FullError or NotFoundError (undeclared queue): none of the call was taken."""

    def consume(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        """A consumer with at most `prefetch` unacked messages.

        With `single_active_consumer` only one at a time receives; the next takes over when it closes or dies.
        """

    def stats(self, queue: str) -> QueueStats:
        """Raises NotFoundError."""

    def close(self) -> None:
        """Release files and connections."""
