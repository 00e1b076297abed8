"""Whether a bulk of events is under way, told to other processes.

A bulk takes its stamp (`vedette.stored`) before its commit makes it visible, and minutes may lie between the two: a
slow disk, a stopped process. Who reads "what was stored until T" must not miss such a bulk. So the one process that
writes counts in a file: odd while a bulk is under way, even otherwise; it takes the stamp only after it made the number
odd.

A reader that looks after T therefore knows: with an even number, every later bulk has a stamp after T. With an odd
one, it waits until the number changes; that bulk is visible then, and the next ones have stamps after T. Readers hold
nobody up, and no reader waits for more than one bulk.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vedette_backends.errors import UnavailableError
from vedette_backends.liveness import is_held

_COUNT: Final = struct.Struct("=Q")
_NAME: Final = ".bulk"
_PAUSE: Final = 0.005
PATIENCE: Final = 30.0
"""Seconds that a reader waits for a bulk."""


class InFlight:
    """Counts the bulks of a namespace; only the process that writes may have one, used by one thread at a time.

    Args:
        folder: of the events.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / _NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        count = _read(self._handle)
        # Odd: its writer was killed in the middle. Nothing of that bulk becomes visible any more.
        self._count = count + count % 2
        self._write()

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Stamps are taken, and commits are made, inside."""
        self._count += 1
        self._write()
        try:
            yield
        finally:
            self._count += 1
            self._write()

    def _write(self) -> None:
        os.pwrite(self._handle, _COUNT.pack(self._count % 2**64), 0)

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def await_bulk(folder: Path, writer_lock: Path, patience: float | None = None) -> None:
    """Return when the bulk that is under way, if there is one, is visible or will never be.

    Args:
        folder: of the events.
        writer_lock: the file that the writing process holds locked.
        patience: seconds, `PATIENCE` by default.

    Raises:
        UnavailableError: it takes longer; its process may be stopped, or its disk.
    """
    path = folder / _NAME
    seen = _count_in(path)
    if seen % 2 == 0:
        return
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    while _count_in(path) == seen and is_held(writer_lock):
        if time.monotonic() > deadline:
            raise UnavailableError(f"the process that stores events in {folder} does not finish what it has begun")
        time.sleep(_PAUSE)


def _count_in(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0  # nobody ever wrote
    try:
        return _read(handle)
    finally:
        os.close(handle)


def _read(handle: int) -> int:
    raw = os.pread(handle, _COUNT.size, 0)
    return int(_COUNT.unpack(raw)[0]) if len(raw) == _COUNT.size else 0
