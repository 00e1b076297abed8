"""What happens on the channels of one connection: confirms of what was published, and one question after the other.

All of it runs in the connection's own thread except where it is said. Channels are those of pika's asynchronous
connections, handed in by `rabbitmq.Connection`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Protocol

from vedette_backends.errors import BackendError, FullError, NotFoundError, RefusedError, UnavailableError

Begin = Callable[[Any, Callable[[Any], None]], None]
"""Asks something: gets an open channel and what is to be called with the answer."""


class Link(Protocol):
    """One connection and the thread that serves it. It lives once: when it is lost, its owner makes another."""

    def run(self, work: Callable[[], None]) -> bool:
        """Have it done in the connection's thread soon; False when the connection is gone. From any thread."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have it done after a while."""

    def channel(self, opened: Callable[[Any], None], closed: Callable[[BackendError], None]) -> None:
        """Open a channel; `closed` also when that fails or the connection is lost."""

    def properties(self, fields: dict[str, Any]) -> Any:
        """A message's properties."""

    def drop(self, error: BackendError) -> None:
        """End the connection without the server's help. From any thread."""

    def close(self) -> None:
        """End the connection in good order, or without the server's help when it does not answer. From any thread."""


@dataclass(frozen=True, slots=True)
class Events:
    """What a connection tells its owner, in its own thread. `blocked`: why publishers have to wait, empty when not."""

    opened: Callable[[Link], None]
    lost: Callable[[Link, BackendError], None]
    blocked: Callable[[str], None] = lambda _reason: None


Connect = Callable[[Events], Link]


def translated(error: object) -> BackendError:
    """A reason of pika for closing something, as the code above sees it. No text of it holds a password."""
    if isinstance(error, BackendError):
        return error
    code = getattr(error, "reply_code", None)
    text = str(getattr(error, "reply_text", "") or error or type(error).__name__)
    if code == 404:
        return NotFoundError(text)
    if code in {403, 406, 530}:
        return RefusedError(text)
    return UnavailableError(text)


class Batch:
    """The messages of one call and what became of them; made in the caller's thread, which waits for `done`."""

    __slots__ = ("done", "error", "left", "messages")

    def __init__(self, messages: Sequence[tuple[str, bytes, dict[str, Any]]]) -> None:
        """`messages`: queue, body, and fields of properties."""
        self.messages = messages
        self.left = len(messages)
        self.error: BackendError | None = None
        self.done = threading.Event()

    def confirm(self, error: BackendError | None) -> None:
        """One message more is settled."""
        self.error = self.error or error
        self.left -= 1
        if self.left == 0:
            self.done.set()

    def fail(self, error: BackendError) -> None:
        """No more is to be heard of any of them."""
        self.error = self.error or error
        self.done.set()


class Publisher:
    """Publishes into queues and awaits the confirms of all callers together."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Any = None
        self._opening = False
        self._waiting: list[Batch] = []
        self._sequence = 0
        self._pending: dict[int, tuple[Batch, str]] = {}
        self._blocked = ""

    def send(self, batch: Batch) -> None:
        """Publish the messages of a call."""
        if self._blocked:
            batch.fail(self._blocked_error())
        elif self._channel is not None:
            self._publish(batch)
        else:
            self._waiting.append(batch)
            if not self._opening:
                self._opening = True
                self._link.channel(self._on_open, self.fail)

    def blocked(self, reason: str) -> None:
        """The server lets publishers wait: whoever waits here is told, the outcome being unknown."""
        self._blocked = reason
        if reason:
            self._fail_all(self._blocked_error())

    def fail(self, error: BackendError) -> None:
        """The channel or the connection is gone."""
        self._channel, self._opening = None, False
        self._fail_all(error)

    def _blocked_error(self) -> UnavailableError:
        return UnavailableError(f"RabbitMQ lets publishers wait: {self._blocked}")

    def _fail_all(self, error: BackendError) -> None:
        failed = [*self._waiting, *(batch for batch, _ in self._pending.values())]
        self._waiting, self._pending = [], {}
        for batch in failed:
            batch.fail(error)

    def _on_open(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._on_ready(channel))

    def _on_ready(self, channel: Any) -> None:
        self._channel, self._opening, self._sequence = channel, False, 0
        waiting, self._waiting = self._waiting, []
        for batch in waiting:
            self._publish(batch)

    def _publish(self, batch: Batch) -> None:
        publish, properties, pending = self._channel.basic_publish, self._link.properties, self._pending
        for queue, body, fields in batch.messages:
            self._sequence += 1
            pending[self._sequence] = (batch, queue)
            publish("", queue, body, properties(fields), mandatory=True)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        refused = method.NAME == "Basic.Nack"
        tags = [method.delivery_tag]
        if method.multiple:
            # In the order of publishing.
            tags = [tag for tag in self._pending if tag <= method.delivery_tag]
        for tag in tags:
            found = self._pending.pop(tag, None)
            if found is not None:
                batch, queue = found
                batch.confirm(FullError(f"queue {queue} is full") if refused else None)

    def _on_return(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        # Its confirm follows. Which of several calls it was is not told: all that wait for this queue try again.
        missing = NotFoundError(f"queue {method.routing_key} is not declared")
        for batch, queue in self._pending.values():
            if queue == method.routing_key:
                batch.error = batch.error or missing


class Control:
    """Questions to the server, one after the other on a channel that is opened anew when an answer closes it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Any = None
        self._asking = False
        self._waiting: deque[tuple[Begin, Callable[[Any], None], Callable[[BackendError], None]]] = deque()

    def ask(self, begin: Begin, answered: Callable[[Any], None], failed: Callable[[BackendError], None]) -> None:
        """Exactly one of `answered` and `failed` is called, with the answer's frame or the reason."""
        self._waiting.append((begin, answered, failed))
        self._next()

    def fail(self, error: BackendError) -> None:
        """The channel or the connection is gone; what was not asked yet is asked on the next channel."""
        self._channel = None
        if self._asking:
            self._asking = False
            self._waiting.popleft()[2](error)
        self._next()

    def abandon(self, error: BackendError) -> None:
        """The connection is gone: nothing is asked any more."""
        self._channel, self._asking = None, False
        waiting, self._waiting = self._waiting, deque()
        for _, _, failed in waiting:
            failed(error)

    def _next(self) -> None:
        if self._asking or not self._waiting:
            return
        self._asking = True
        if self._channel is None:
            self._link.channel(self._on_open, self.fail)
        else:
            self._waiting[0][0](self._channel, self._on_answer)

    def _on_open(self, channel: Any) -> None:
        self._channel = channel
        self._waiting[0][0](channel, self._on_answer)

    def _on_answer(self, frame: Any) -> None:
        self._asking = False
        self._waiting.popleft()[1](frame)
        self._next()


def asked(link: Link, control: Control, begin: Begin, timeout: float) -> Any:
    """The answer of `Control.ask`, waited for in another thread than the connection's.

    Raises:
        BackendError: what the question failed with.
        UnavailableError: no answer in time; the connection is given up.
    """
    future: Future[Any] = Future()
    if not link.run(lambda: control.ask(begin, future.set_result, future.set_exception)):
        raise UnavailableError("the connection to RabbitMQ was lost")
    try:
        return future.result(timeout)
    except FutureTimeoutError:
        error = UnavailableError(f"RabbitMQ did not answer within {timeout:g} s")
        link.drop(error)
        raise error from None
