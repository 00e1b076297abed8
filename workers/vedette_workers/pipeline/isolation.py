"""A disposable child that tries events one by one, so that one which kills a process is found and set aside.

A batch that was delivered again and again has probably killed the workers before. From the third delivery its events
are first processed here; an event that ends the child, or keeps it busy for too long, is poison. A child that cannot
even start says nothing about events: then none is set aside.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

from vedette_engine.wire import Record
from vedette_workers.pipeline.effects import Arrival

log = logging.getLogger(__name__)

SECONDS_PER_EVENT = 20.0
SECONDS_TO_START = 60.0
CHILD_MEMORY = 2 << 30
FROM_DELIVERY = 3

_READY: Final = b"ready"
_DONE: Final = b"done"

Try = Callable[[Record, Arrival], None]
"""Processes the event and forgets the outcome."""
MakeTry = Callable[..., Try]


class Isolation:
    """Asks a child whether events are harmless. `make` runs in the child: it must be importable by name.

    Args:
        make: called with `args` in the child, gives the function that tries one event.
        seconds: that one event may take.
    """

    def __init__(self, make: MakeTry, *args: Any, seconds: float = SECONDS_PER_EVENT) -> None:
        self._make = make
        self._args = args
        self._seconds = seconds
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def verdict(self, record: Record, arrival: Arrival) -> str:
        """Empty when the child survived the event, or could not be started; otherwise what became of the child."""
        pipe = self._running()
        if pipe is None:
            return ""
        try:
            pipe.send((tuple(record), arrival))
            if pipe.poll(self._seconds):
                pipe.recv_bytes()
                return ""
            why = f"was not done after {self._seconds:.0f} s"
        except (EOFError, OSError):
            why = "ended the process that tried it"
        self._end()
        log.error("event %s of source %s is poison: it %s", record.id, arrival.source, why)
        return why

    def _running(self) -> Connection | None:
        """The way to a child that waits for an event; None when there can be none."""
        if self._broken:
            return None
        if self._child is not None and self._child.is_alive() and self._pipe is not None:
            return self._pipe
        pipe = self._begin()
        with contextlib.suppress(EOFError, OSError):  # told below, as when it was too slow
            if pipe.poll(SECONDS_TO_START) and pipe.recv_bytes() == _READY:
                return pipe
        log.error("the process that should try events one by one does not start; they are processed untried")
        self._broken = True
        self._end()
        return None

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
    pipe.send_bytes(_READY)
    for record, arrival in _received(pipe):
        attempt(Record(*record), arrival)
        pipe.send_bytes(_DONE)


def _received(pipe: Connection) -> Iterator[tuple[tuple[Any, ...], Arrival]]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return
