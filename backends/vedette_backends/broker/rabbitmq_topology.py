"""What queues look like in RabbitMQ, and how they are made so.

A queue's arguments can never be changed, so only what stays the same is one; limits are policies.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vedette_backends.broker.names import DEAD_SUFFIX
from vedette_backends.broker.protocol import Binding
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.broker.rabbitmq_messages import DELIVERY_LIMIT
from vedette_backends.errors import NotFoundError, RefusedError

UNLIMITED = 1 << 60
"""Bytes; what a queue is bounded to that had a limit and shall have none."""

# RabbitMQ 4 would forget a dead letter that was released 20 times; nothing is to be forgotten here.
_ANY_TIMES = 1_000_000_000

# RabbitMQ tells consumers some milliseconds late that their queue is gone. Declared anew before that, it hands messages
# to consumers that no longer exist, where they stay (3.10).
_GONE_SECONDS = 0.5


class Ask(Protocol):
    """Calls a method of a channel by its name and returns the answer."""

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Raises BackendError."""


@dataclass(frozen=True, slots=True)
class Policy:
    """As `RabbitMQAdmin.set_policy` takes it."""

    name: str
    pattern: str
    definition: dict[str, Any]
    priority: int


def arguments(queue: str, *, single: bool) -> dict[str, Any]:
    """Of a queue. A message that was delivered too often goes to its dead letters and is kept until it is there."""
    made = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue + DEAD_SUFFIX,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return {**made, "x-single-active-consumer": True} if single else made


def dead_arguments() -> dict[str, Any]:
    """Of a queue of dead letters."""
    return {"x-queue-type": "quorum", "x-delivery-limit": _ANY_TIMES, "x-overflow": "reject-publish"}


def limit_of(queue: str, max_bytes: int) -> Policy:
    """The policy that bounds one queue."""
    definition = {"max-length-bytes": max_bytes}
    return Policy(f"vedette.limit.{queue}", f"^{re.escape(queue)}$", definition, priority=10)


class Topology:
    """Makes and removes the queues of a virtual host.

    Without `admin` neither limits nor bindings can be set: AMQP cannot tell which ones there are.
    """

    def __init__(self, ask: Ask, vhost: str, admin: RabbitMQAdmin | None) -> None:
        self._ask = ask
        self._vhost = vhost
        self._admin = admin
        self._gone: dict[str, float] = {}

    def declare(self, queue: str, *, max_bytes: int | None, single: bool, bindings: Sequence[Binding]) -> None:
        """As `Broker.declare`."""
        if self._admin is None and (max_bytes is not None or bindings):
            raise RefusedError("limits and bindings need rabbitmq-management-url")
        dead = queue + DEAD_SUFFIX
        time.sleep(max(self._gone.pop(queue, 0.0) + _GONE_SECONDS - time.monotonic(), 0))
        # The dead letters first: from its first moment a queue has where to put them.
        for name, args in ((dead, dead_arguments()), (queue, arguments(queue, single=single))):
            try:
                self._ask("queue_declare", name, durable=True, arguments=args)
            except RefusedError as error:
                raise RefusedError(f"queue {name}, if it exists otherwise, must be deleted first: {error}") from error
        if self._admin is not None:
            for name in (dead, queue):
                self._limit(self._admin, name, max_bytes)
            self._bind(self._admin, queue, {(each.exchange, each.routing_key) for each in bindings})

    def delete(self, queue: str) -> None:
        """As `Broker.delete`."""
        exchanges: set[str] = set()
        if self._admin is not None:
            try:
                exchanges = {exchange for exchange, _, _ in self._admin.bindings(self._vhost, queue)}
            except NotFoundError:
                exchanges = set()
        self._ask("queue_delete", queue)
        self._gone[queue] = time.monotonic()
        if self._admin is not None:
            self._admin.delete_policy(self._vhost, limit_of(queue, 0).name)
        self._drop_unused(exchanges)

    def _limit(self, admin: RabbitMQAdmin, name: str, max_bytes: int | None) -> None:
        if max_bytes is None and not admin.has_policy(self._vhost, limit_of(name, 0).name):
            return
        # Without a limit, publishers that were refused before would be refused for ever: so a very high one.
        policy = limit_of(name, UNLIMITED if max_bytes is None else max_bytes)
        admin.set_policy(self._vhost, policy.name, policy.pattern, policy.definition, priority=policy.priority)

    def _bind(self, admin: RabbitMQAdmin, queue: str, wanted: set[tuple[str, str]]) -> None:
        found = admin.bindings(self._vhost, queue)
        for exchange in sorted({exchange for exchange, _ in wanted}):
            self._ask("exchange_declare", exchange, "topic", durable=True)
        for exchange, key in sorted(wanted - {(exchange, key) for exchange, key, args in found if not args}):
            self._ask("queue_bind", queue, exchange, key)
        surplus = [(exchange, key, args) for exchange, key, args in found if args or (exchange, key) not in wanted]
        for exchange, key, args in surplus:
            self._ask("queue_unbind", queue, exchange, key, args)
        self._drop_unused({exchange for exchange, _, _ in surplus})

    def _drop_unused(self, exchanges: Iterable[str]) -> None:
        for exchange in sorted(exchanges):
            if exchange.startswith("amq."):
                continue
            try:
                self._ask("exchange_delete", exchange, if_unused=True)
            except RefusedError:
                continue  # another queue is bound to it
