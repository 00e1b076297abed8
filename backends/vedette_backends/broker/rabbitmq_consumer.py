"""The consuming half of the RabbitMQ broker."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.broker.names import DEAD_SUFFIX
from vedette_backends.broker.protocol import Delivery
from vedette_backends.broker.rabbitmq_channels import Connect, Control, Events, Link
from vedette_backends.broker.rabbitmq_messages import received
from vedette_backends.errors import BackendError, NotFoundError, UnavailableError

Bury = Callable[[str, bytes, Mapping[str, str], str], None]
"""Makes a dead letter durable: queue, body, headers, reason."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# How soon a queue that was deleted is looked for again.
_MISSING_PAUSE = 0.2


@dataclass(slots=True)
class Unacked:
    """A message that the server handed over. `published`: ms since the epoch, or when it came for a foreign one."""

    delivery: Delivery
    server_tag: int
    published: int


def prefetch_per_queue(prefetch: int, queues: int) -> int:
    """How many messages RabbitMQ hands over per queue before the first is acked.

    Its own limit for a whole channel is not to be had for quorum queues. One busy queue among idle ones shall get all,
    but many busy ones must not fill the memory: together four times the prefetch, two each at least.
    """
    return min(prefetch, max(2, 4 * prefetch // queues))


class RabbitMQConsumer:
    """Takes messages of some queues over a connection of its own; made by `RabbitMQBroker.consume`.

    Several threads may use it. When the connection is lost, what was held is forgotten (the server delivers it again),
    `fetch` raises UnavailableError once per failed attempt, and it connects again by itself. A queue that is deleted
    is consumed again when it is declared anew.
    """

    def __init__(
        self, connect: Connect, queues: Sequence[str], *, prefetch: int, bury: Bury, ours: Container[str]
    ) -> None:
        self._connect = connect
        self._queues = tuple(dict.fromkeys(queues))
        self._prefetch = prefetch
        self._bury = bury
        self._ours = ours
        self._pid = os.getpid()
        self._tags = itertools.count(1)
        self._changed = threading.Condition()
        self._closed = False
        # Guarded by the condition:
        self._buffer: dict[str, deque[Unacked]] = {queue: deque() for queue in self._queues}
        self._held: dict[int, Unacked] = {}
        self._outstanding: dict[int, Unacked] = {}
        self._subscribed: set[str] = set()
        self._missing: set[str] = set()
        self._trouble: BackendError | None = None
        self._pause = _FIRST_PAUSE
        self._connect_at = 0.0
        # Of the connection's thread:
        self._channel: Any = None
        self._control: Control | None = None
        self._link: Link | None = None
        with self._changed:
            self._reconnect()

    # the owner's threads --------------------------------------------------------------------------------------------
    def settled(self, timeout: float) -> None:
        """Returns when every queue is being consumed.

        Raises:
            NotFoundError: a queue is not declared.
            UnavailableError, RefusedError: it cannot connect, or may not consume.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._trouble is not None or len(self._subscribed | self._missing) == len(self._queues), timeout
            )
            if self._trouble is not None:
                raise self._trouble
            if not done:
                raise UnavailableError(f"RabbitMQ did not answer within {timeout:g} s")
            if self._missing:
                raise NotFoundError(f"queue {min(self._missing)} is not declared")

    def fetch(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` messages, in a queue in the order of delivery, among queues oldest first.

        Raises:
            UnavailableError, RefusedError: nothing came because there is no connection; told once per attempt.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._check_open()
            while not self._closed:
                found = self._take(min(limit, self._prefetch - len(self._held)))
                if found:
                    return found
                now = time.monotonic()
                if self._link is None and now >= self._connect_at:
                    self._reconnect()
                if now >= deadline:
                    break
                until = deadline if self._link is not None else min(deadline, self._connect_at)
                self._changed.wait(max(until - now, 0))
            if self._trouble is not None and not self._closed:
                trouble, self._trouble = self._trouble, None
                raise trouble
            return []

    def ack(self, tags: Sequence[int]) -> None:
        """They are done and forgotten. NotFoundError: a tag is not of an unacked delivery; then nothing was done."""
        with self._changed:
            done = self._let_go(tags)
            covered, rest = self._settle(done)

            def send() -> None:
                if covered:
                    self._channel.basic_ack(covered, multiple=True)
                for server_tag in rest:
                    self._channel.basic_ack(server_tag)

            self._send(send)

    def release(self, tags: Sequence[int]) -> None:
        """Gives them back undone, to be delivered again."""
        with self._changed:
            undone = sorted(each.server_tag for each in self._let_go(tags))
            for server_tag in undone:
                self._outstanding.pop(server_tag, None)

            def send() -> None:
                for server_tag in undone:
                    self._channel.basic_nack(server_tag, requeue=True)

            self._send(send)

    def reject(self, tag: int, reason: str) -> None:
        """Moves the message to `<queue>.dead`: it is durable there before it is acked here.

        Raises:
            NotFoundError: the tag is not of an unacked delivery, or is of a dead letter, or the dead-letter queue is
                not declared.
            FullError: the dead-letter queue is full; the message stays with this consumer.
        """
        with self._changed:
            self._check_open()
            (message,) = self._find([tag])
        delivery = message.delivery
        if delivery.queue.endswith(DEAD_SUFFIX):
            raise NotFoundError(f"{delivery.queue} has no dead-letter queue: acknowledge or release the message")
        self._bury(delivery.queue + DEAD_SUFFIX, delivery.body, delivery.headers, reason)
        self.ack([tag])

    def close(self) -> None:
        """Stops consuming; what was not acked is released. Harmless when repeated."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closed = True
            link, self._link = self._link, None
            self._forget()
            self._changed.notify_all()
        if link is not None:
            link.close()

    def unacked(self, queue: str) -> list[Unacked]:
        """What the server handed over here and waits for, of one queue."""
        with self._changed:
            return [each for each in self._outstanding.values() if each.delivery.queue == queue]

    def consumes(self, queue: str) -> bool:
        """Whether the server counts it among the queue's consumers."""
        with self._changed:
            return queue in self._subscribed

    # with the condition held ----------------------------------------------------------------------------------------
    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise UnavailableError("a consumer does not outlive a fork; make one in the new process")
        if self._closed:
            raise UnavailableError("the consumer is closed")

    def _find(self, tags: Sequence[int]) -> list[Unacked]:
        self._check_open()
        unknown = [tag for tag in tags if tag not in self._held]
        if unknown:
            raise NotFoundError(f"no unacked delivery has the tag {unknown[0]}")
        return [self._held[tag] for tag in dict.fromkeys(tags)]

    def _let_go(self, tags: Sequence[int]) -> list[Unacked]:
        found = self._find(tags)
        for message in found:
            del self._held[message.delivery.tag]
        return found

    def _settle(self, done: Sequence[Unacked]) -> tuple[int, list[int]]:
        """Tags to ack: one that stands for all before it (0: none), and the others."""
        finished = {message.server_tag for message in done}
        covered = 0
        for server_tag in self._outstanding:
            if server_tag not in finished:
                break
            covered = server_tag
        for server_tag in finished:
            self._outstanding.pop(server_tag, None)
        return covered, sorted(server_tag for server_tag in finished if server_tag > covered)

    def _send(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            if self._channel is not None and self._channel.is_open:
                work()

        if self._link is None or not self._link.run(guarded):
            raise NotFoundError("the connection was lost; its deliveries come again")

    def _take(self, most: int) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < most:
            filled = [buffer for buffer in self._buffer.values() if buffer]
            if not filled:
                break
            message = min(filled, key=lambda buffer: buffer[0].published).popleft()
            self._held[message.delivery.tag] = message
            found.append(message.delivery)
        return found

    def _forget(self) -> None:
        for buffer in self._buffer.values():
            buffer.clear()
        self._held.clear()
        self._outstanding.clear()
        self._subscribed.clear()
        self._missing.clear()

    def _reconnect(self) -> None:
        self._trouble = None
        # Its first event waits for the condition, so the link is known by then.
        self._link = self._connect(Events(self._on_open, self._on_lost))

    # the connection's thread ----------------------------------------------------------------------------------------
    def _on_lost(self, link: Link, error: BackendError) -> None:
        with self._changed:
            if self._closed or link is not self._link:
                return
            self._link = None
            self._forget()
            self._trouble = error
            self._connect_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            self._changed.notify_all()

    def _on_open(self, link: Link) -> None:
        with self._changed:
            if self._closed or link is not self._link:
                link.drop(UnavailableError("the consumer is closed"))
                return
        self._control = Control(link)
        link.channel(lambda channel: self._on_channel(link, channel), link.drop)

    def _on_channel(self, link: Link, channel: Any) -> None:
        self._channel = channel
        channel.add_on_cancel_callback(lambda frame: self._on_cancel(link, frame.method.consumer_tag))
        channel.basic_qos(prefetch_count=prefetch_per_queue(self._prefetch, len(self._queues)))
        for queue in self._queues:
            self._look_for(link, queue)

    def _look_for(self, link: Link, queue: str) -> None:
        """Consume a queue when it exists. Asked on another channel: a wrong name would close the consuming one."""
        assert self._control is not None
        self._control.ask(
            lambda channel, answered: channel.queue_declare(queue, passive=True, callback=answered),
            lambda _: self._subscribe(link, queue),
            lambda error: self._on_missing(link, queue, error),
        )

    def _subscribe(self, link: Link, queue: str) -> None:
        if not self._channel.is_open:
            return
        self._channel.basic_consume(
            queue,
            self._on_message,
            consumer_tag=queue,
            callback=lambda _: self._on_subscribed(link, queue),
        )

    def _on_subscribed(self, link: Link, queue: str) -> None:
        with self._changed:
            if link is not self._link:
                return
            self._subscribed.add(queue)
            self._missing.discard(queue)
            if len(self._subscribed | self._missing) == len(self._queues):
                self._pause = _FIRST_PAUSE
            self._changed.notify_all()

    def _on_missing(self, link: Link, queue: str, error: BackendError) -> None:
        with self._changed:
            if link is not self._link:
                return
            if isinstance(error, NotFoundError):
                self._missing.add(queue)
            else:
                self._trouble = error
            self._changed.notify_all()
        link.later(_MISSING_PAUSE, lambda: self._look_again(link, queue))

    def _look_again(self, link: Link, queue: str) -> None:
        with self._changed:
            if link is not self._link:
                return
        self._look_for(link, queue)

    def _on_cancel(self, link: Link, queue: str) -> None:
        """The queue was deleted. What is in the hands of the owner may be acked all the same."""
        with self._changed:
            if link is not self._link or queue not in self._buffer:
                return
            self._buffer[queue].clear()
            for server_tag in [tag for tag, each in self._outstanding.items() if each.delivery.queue == queue]:
                del self._outstanding[server_tag]
            self._subscribed.discard(queue)
        self._look_for(link, queue)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        queue = method.consumer_tag
        about = received(
            queue,
            method.exchange,
            method.routing_key,
            properties,
            redelivered=method.redelivered,
            ours=self._ours,
        )
        published = about.published or time.time_ns() // 1_000_000
        with self._changed:
            if channel is not self._channel or self._closed:
                return
            delivery = Delivery(next(self._tags), queue, body, about.headers, about.deliveries, about.redelivered)
            message = Unacked(delivery, method.delivery_tag, published)
            self._outstanding[method.delivery_tag] = message
            self._buffer[queue].append(message)
            self._changed.notify()
