"""Connections that cannot be held open for nothing: uvicorn's HTTP protocol with limits on the head and on time."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vedette_workers.gateway.settings import Settings

MAX_HEADERS: Final = 100
_GRACE: Final = 5.0
"""Seconds by which a connection outlives the time for a body, so that the client still gets its 408."""


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers are too large or too late, or whose body never ends.

    The parser collects a header of any length, and neither it nor uvicorn minds a client that sends a byte a minute.
    """

    settings: ClassVar[Settings] = Settings()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self._head = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._watch(self.settings.head_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to a head that is not complete yet."""
        self._head += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head > self.settings.head_bytes and not self.transport.is_closing():
            self._unwatch()
            self.send_400_response("Request line and headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins: its head has a time limit."""
        super().on_message_begin()
        self._in_head = True
        self._watch(self.settings.head_time)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuses headers beyond the hundredth."""
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there, the body has its own time limit."""
        self._in_head, self._head = False, 0
        self._watch(self.settings.body_time + _GRACE)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of the request is there; between requests uvicorn's keep-alive time counts."""
        self._unwatch()
        super().on_message_complete()

    def _watch(self, seconds: float) -> None:
        self._unwatch()
        self._timer = self.loop.call_later(seconds, self._expired)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self.transport.close()


def limited(settings: Settings) -> type[LimitedProtocol]:
    """The protocol with these limits."""
    members: dict[str, Any] = {"settings": settings}
    return type("Limited", (LimitedProtocol,), members)
