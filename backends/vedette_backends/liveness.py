"""Who is alive, and whose turn it is: file locks that the kernel drops with the process, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path

_COUNT = struct.Struct("=Q")


class Lease:
    """Held as long as this object is open and its process lives; a forked child does not hold it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Waits for a reader that is just asking whether it is held.
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except OSError:
            self.forget()
            raise
        _shared.add(self)

    @property
    def closed(self) -> bool:
        """Whether it was given up."""
        return self._handle < 0

    def close(self) -> None:
        """Give it up and remove its file; harmless when repeated."""
        if self._handle < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.forget()

    def __del__(self) -> None:
        # A consumer that was dropped without a word is dead to the others.
        self.forget()

    def forget(self) -> None:
        """Give it up and leave its file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class WriteLock:
    """One writer at a time, among threads that have one each and among processes; the kernel hands it on at once.

    Its file counts the writers, in memory that all share: to look for news costs no call to the system.
    """

    def __init__(self, path: Path) -> None:
        self._handle = -1
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        _shared.add(self)
        if os.fstat(self._handle).st_size < _COUNT.size:
            # Written, not only made longer: on a full disk this fails here and not later in the mapped memory.
            os.pwrite(self._handle, _COUNT.pack(0), 0)
        self._count = mmap.mmap(self._handle, _COUNT.size)

    @property
    def writers(self) -> int:
        """How many have been inside; a writer that was killed inside may not have been counted."""
        count: int = _COUNT.unpack(self._count[:])[0]
        return count

    def __enter__(self) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._count[:] = _COUNT.pack((self.writers + 1) % 2**64)
        # Closed meanwhile by a fork of the thread inside: then it is given up already.
        if self._handle >= 0:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    forget = __del__ = close


_shared: weakref.WeakSet[Lease | WriteLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    # flock belongs to the open file, which a fork shares: a child would go on holding what its dead parent held.
    for lock in tuple(_shared):
        lock.forget()


os.register_at_fork(after_in_child=_forget_in_child)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lease at `path`; a missing file is held by nobody."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two that ask at once do not take each other for the holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One process at a time inside, for the moments when a file is made."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
