"""A disposable child that tries events one by one, so that one which kills a process is found and set aside.

A batch that was delivered again and again has probably killed the workers before. From the third delivery its events
are first processed here; an event that ends the child, or keeps it busy for too long, is poison.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from vedette_engine.wire import Record
from vedette_workers.pipeline.effects import Arrival

log = logging.getLogger(__name__)

SECONDS_PER_EVENT = 20.0
CHILD_MEMORY = 2 << 30
FROM_DELIVERY = 3

Try = Callable[[Record, Arrival], None]
"""Processes the event and forgets the outcome."""
MakeTry = Callable[..., Try]


class Isolation:
    """Asks a child whether events are harmless. `make` runs in the child: it must be importable by name."""

    def __init__(self, make: MakeTry, *args: Any) -> None:
        self._make = make
        self._args = args
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def verdict(self, record: Record, arrival: Arrival) -> str:
        """Empty when the child survived the event; otherwise what became of the child."""
        pipe = self._pipe if self._child is not None and self._child.is_alive() and self._pipe else self._begin()
        try:
            pipe.send((tuple(record), arrival))
            if pipe.poll(SECONDS_PER_EVENT):
                pipe.recv_bytes()
                return ""
            why = f"was not done after {SECONDS_PER_EVENT:.0f} s"
        except (EOFError, OSError):
            why = "ended the process that tried it"
        self._end()
        log.error("event %s of source %s is poison: it %s", record.id, arrival.source, why)
        return why

    def _begin(self) -> Connection:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self._make, self._args), daemon=True)
        self._child.start()
        theirs.close()
        return self._pipe

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._child is not None:
            with contextlib.suppress(ValueError):
                self._child.kill()
            self._child.join()
            self._child.close()
            self._child = None


def _serve(pipe: Connection, make: MakeTry, args: tuple[Any, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    attempt = make(*args)
    for record, arrival in _received(pipe):
        attempt(Record(*record), arrival)
        pipe.send_bytes(b"ok")


def _received(pipe: Connection) -> Iterator[tuple[tuple[Any, ...], Arrival]]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return
