"""Queues of one namespace in RabbitMQ: declaring, publishing, counting."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.broker.names import check_message, check_queue, encode_headers
from vedette_backends.broker.protocol import Binding, Message, QueueStats
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.broker.rabbitmq_channels import Batch, Connect, Control, Events, Link, Publisher, asked
from vedette_backends.broker.rabbitmq_consumer import RabbitMQConsumer
from vedette_backends.broker.rabbitmq_messages import buried, sent
from vedette_backends.broker.rabbitmq_roles import own_users
from vedette_backends.broker.rabbitmq_topology import Topology
from vedette_backends.errors import BackendError, NotFoundError, RefusedError, UnavailableError

ANSWER_SECONDS = 10.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class _Session:
    """A connection and what it is used for, besides consuming."""

    def __init__(self, connect: Connect) -> None:
        self._opened = threading.Event()
        self._error: BackendError | None = None
        self.known: set[str] = set()
        """Queues that were there when somebody looked."""
        # Bound before the connection exists: its thread may be quicker than this one.
        self._ready = threading.Event()
        self.link: Link = connect(Events(self._on_open, self._on_lost, self._on_blocked))
        self.publisher = Publisher(self.link)
        self.control = Control(self.link)
        self._ready.set()

    @property
    def lost(self) -> bool:
        return self._error is not None

    def wait(self, timeout: float) -> None:
        """Until it is open; raises why it is not."""
        opened = self._opened.wait(timeout)
        if self._error is not None:
            raise self._error
        if not opened:
            error = UnavailableError(f"RabbitMQ did not answer within {timeout:g} s")
            self.link.drop(error)
            raise error

    def _on_open(self, _link: Link) -> None:
        self._opened.set()

    def _on_lost(self, _link: Link, error: BackendError) -> None:
        self._ready.wait()
        self._error = error
        self._opened.set()
        self.publisher.fail(error)
        self.control.abandon(error)

    def _on_blocked(self, reason: str) -> None:
        self._ready.wait()
        self.publisher.blocked(reason)


@dataclass(slots=True)
class _Sizes:
    """Of the messages of a queue that passed through here."""

    messages: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.messages += 1
        self.bytes += size

    def of(self, messages: int) -> int:
        return round(messages * self.bytes / self.messages) if self.messages else 0


class RabbitMQBroker:
    """Queues of one virtual host; threads may share it, a forked child opens its own. Made by `rabbitmq.open_broker`.

    It connects when it is first used and again after every loss, with a growing pause; meanwhile every call raises
    UnavailableError (RefusedError when the server refuses the user or its certificate is not to be trusted).

    A call of `publish` that fails may have been taken in part: RabbitMQ has no transactions over quorum queues. Its
    limits are soft, too: the message that crosses one is taken, the next ones are refused.
    """

    def __init__(
        self, connect: Connect, vhost: str, user: str, admin: RabbitMQAdmin | None, *, confirm_seconds: float
    ) -> None:
        self._connect = connect
        self._vhost = vhost
        self._user = user
        self._admin = admin
        self._confirm_seconds = confirm_seconds
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._open: _Session | None = None
        self._pause = _FIRST_PAUSE
        self._connect_at = 0.0
        self._refused: BackendError | None = None
        self._consumers: weakref.WeakSet[RabbitMQConsumer] = weakref.WeakSet()
        self._topology = Topology(self._ask, vhost, admin)
        self._waiting_since: dict[str, int] = {}
        self._sizes: defaultdict[str, _Sizes] = defaultdict(_Sizes)

    # queues ---------------------------------------------------------------------------------------------------------
    def declare(
        self,
        queue: str,
        *,
        max_bytes: int | None = None,
        single_active_consumer: bool = False,
        bindings: Sequence[Binding] = (),
    ) -> None:
        """Create the queue and its dead-letter queue, set or remove the limit of both, bind it with exactly `bindings`.

        The exchanges are durable topic exchanges and are made when they are missing. One that loses its last binding is
        removed: publishers shall hear of it rather than lose what they send.

        Raises:
            RefusedError: the name cannot be one, the queue or an exchange exists with other properties, or there are a
                limit or bindings and no management API to set them with.
        """
        check_queue(queue)
        self._topology.declare(queue, max_bytes=max_bytes, single=single_active_consumer, bindings=bindings)

    def delete(self, queue: str) -> None:
        """Remove this queue with what is in it. Its dead letters stay until their own queue is deleted."""
        self._session().known.discard(queue)
        self._topology.delete(queue)

    def queues(self) -> list[str]:
        """Names of the declared queues, dead-letter queues included, sorted.

        Raises:
            RefusedError: there is no management API to ask; AMQP itself cannot list queues. `names.existing` tells
                which of some names are declared.
        """
        if self._admin is None:
            raise RefusedError("listing queues needs rabbitmq-management-url")
        self._check_open()
        return [queue.name for queue in self._admin.queues(self._vhost)]

    def stats(self, queue: str) -> QueueStats:
        """How full a queue is. `ready` is exact; the others are as good as what can be known.

        * `unacked`: exact while all consumers of the queue are this broker's; else from the management API, some
          seconds late; without that, those of this broker.
        * `bytes`: of all bodies. What is unacked here is exact, and so is an empty queue; what is ready comes from the
          management API, some seconds late; without that, from the mean size of what passed through here.
        * `oldest`: exact while this broker holds the oldest message and one of ours published it. A foreign one counts
          from its first delivery. While nothing is held here: since when, at the latest, messages wait that no consumer
          takes; or now, where there are consumers elsewhere.

        Raises:
            NotFoundError: it is not declared.
        """
        try:
            frame = self._ask("queue_declare", queue, passive=True)
        except NotFoundError:
            self._forget(queue)
            raise NotFoundError(f"queue {queue} is not declared") from None
        ready, consumers = frame.method.message_count, frame.method.consumer_count
        ours = [consumer for consumer in tuple(self._consumers) if consumer.consumes(queue)]
        held = [message for consumer in ours for message in consumer.unacked(queue)]
        for message in held:
            self._sizes[queue].add(len(message.delivery.body))
        unacked, size = len(held), sum(len(message.delivery.body) for message in held)
        if consumers > len(ours) or ready:
            told = self._told(queue)
            if told is None:
                size += self._sizes[queue].of(ready)
            else:
                size = max(size, told[1])
                if consumers > len(ours):
                    unacked = max(unacked, told[0])
        oldest = min((message.published for message in held), default=None)
        waiting = self._waiting(queue, ready=ready, consumers=consumers)
        return QueueStats(ready, unacked, size, oldest if oldest is not None else waiting)

    # messages -------------------------------------------------------------------------------------------------------
    def publish(self, messages: Sequence[Message]) -> None:
        """Returns when all are durable on a majority of RabbitMQ's nodes.

        Raises:
            FullError: a queue is full.
            NotFoundError: a queue is not declared.
            RefusedError: a message is too large (none was taken), or this user may not publish.
            UnavailableError: the outcome is unknown. Also at once while the server blocks publishers.
        """
        if not messages:
            return
        now = time.time_ns() // 1_000_000
        prepared = []
        for message in messages:
            check_message(message)
            encode_headers(message.headers)
            prepared.append((message.queue, message.body, sent(message.headers, now, self._user)))
        self._publish(prepared, now)

    def consume(self, queues: Sequence[str], *, prefetch: int) -> RabbitMQConsumer:
        """A consumer with at most `prefetch` unacked messages in its owner's hands.

        The server hands over more than that when there are several queues (`rabbitmq_consumer.prefetch_per_queue`).

        Raises:
            NotFoundError: a queue is not declared.
        """
        if not queues or prefetch < 1:
            raise RefusedError("a consumer needs a queue and a prefetch of at least 1")
        self._check_open()
        ours = own_users(self._user, self._vhost)
        consumer = RabbitMQConsumer(self._connect, queues, prefetch=prefetch, bury=self._bury, ours=ours)
        try:
            consumer.settled(ANSWER_SECONDS)
        except BaseException:
            consumer.close()
            raise
        self._consumers.add(consumer)
        return consumer

    def close(self) -> None:
        """Close the consumers made here and the connections. Harmless when repeated."""
        if os.getpid() != self._pid:
            return
        for consumer in tuple(self._consumers):
            consumer.close()
        with self._lock:
            self._closed = True
            session, self._open = self._open, None
        if session is not None:
            session.link.close()
        if self._admin is not None:
            self._admin.close()

    # connection -----------------------------------------------------------------------------------------------------
    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise UnavailableError("a broker does not outlive a fork; open it in the new process")
        if self._closed:
            raise UnavailableError("the broker is closed")

    def _session(self) -> _Session:
        with self._lock:
            self._check_open()
            if self._open is not None and not self._open.lost:
                return self._open
            self._open = None
            if self._refused is not None and time.monotonic() < self._connect_at:
                raise self._refused
            session = _Session(self._connect)
            try:
                session.wait(ANSWER_SECONDS)
            except BackendError as error:
                self._refused = error
                self._connect_at = time.monotonic() + self._pause
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
                raise
            self._refused, self._pause = None, _FIRST_PAUSE
            self._open = session
            return session

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a channel and wait for the answer."""

        def begin(channel: Any, answered: Callable[[Any], None]) -> None:
            getattr(channel, method)(*args, callback=answered, **kwargs)

        session = self._session()
        return asked(session.link, session.control, begin, ANSWER_SECONDS)

    # publishing -----------------------------------------------------------------------------------------------------
    def _publish(self, prepared: Sequence[tuple[str, bytes, dict[str, Any]]], now: int) -> None:
        session = self._session()
        queues = {queue for queue, _, _ in prepared}
        for queue in sorted(queues - session.known):
            # Looked up before the first message, so that of a call with a wrong name nothing is taken.
            self._check_declared(session, queue)
        batch = Batch(prepared)
        if not session.link.run(lambda: session.publisher.send(batch)):
            raise UnavailableError("the connection to RabbitMQ was lost")
        if not batch.done.wait(self._confirm_seconds):
            error = UnavailableError(f"RabbitMQ did not confirm within {self._confirm_seconds:g} s")
            # What waits in the socket's buffer would otherwise pile up.
            session.link.drop(error)
            raise error
        if batch.error is not None:
            if isinstance(batch.error, NotFoundError):
                session.known -= queues
            raise batch.error
        for queue, body, _ in prepared:
            self._sizes[queue].add(len(body))
            self._waiting_since.setdefault(queue, now)

    def _check_declared(self, session: _Session, queue: str) -> None:
        try:
            self._ask("queue_declare", queue, passive=True)
        except NotFoundError:
            raise NotFoundError(f"queue {queue} is not declared") from None
        session.known.add(queue)

    def _bury(self, dead: str, body: bytes, headers: Mapping[str, str], reason: str) -> None:
        now = time.time_ns() // 1_000_000
        self._publish([(dead, body, buried(headers, reason, now, self._user))], now)

    # counting -------------------------------------------------------------------------------------------------------
    def _told(self, queue: str) -> tuple[int, int] | None:
        """Unacked messages and bytes from the management API."""
        if self._admin is None:
            return None
        try:
            found = self._admin.queue(self._vhost, queue)
        except BackendError:
            return None
        return found.unacked, found.bytes

    def _waiting(self, queue: str, *, ready: int, consumers: int) -> int | None:
        now = time.time_ns() // 1_000_000
        if not ready:
            self._waiting_since.pop(queue, None)
            return None
        if consumers:
            self._waiting_since.pop(queue, None)
            return now
        return self._waiting_since.setdefault(queue, now)

    def _forget(self, queue: str) -> None:
        self._waiting_since.pop(queue, None)
        self._sizes.pop(queue, None)
