"""SQLite as the embedded backends use it: explicit transactions, safe after kill -9, errors of our own."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_backends.liveness import WriteLock

BUSY_SECONDS = 10.0

# A writer that was killed between its commit and being counted is noticed so late.
_SURE_SECONDS = 0.2

# What waiting does not mend: the file is damaged, is no database, may not be written, or holds other tables.
_LASTING = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_ERROR,
    }
)


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk (or the file's permitted size) is exhausted."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def translate(error: sqlite3.Error | OSError, path: Path) -> BackendError:
    """The same failure as code above the backends knows it, with the file's name."""
    code = getattr(error, "sqlite_errorcode", None)
    lasting = isinstance(error, PermissionError) or (code is not None and code & 0xFF in _LASTING)
    return (RefusedError if lasting else UnavailableError)(f"{path}: {error}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Maps what SQLite and the file system raise inside to BackendErrors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error


class Connection(sqlite3.Connection):
    """A connection whose writers queue up before a lock that the kernel hands on at once.

    SQLite's own waiting sleeps longer and longer while a busy writer gets in again and again: measured with two
    publishers at full speed, a consumer waited two seconds and got a third of the messages.
    """

    write_lock: WriteLock

    def close(self) -> None:
        """Release the file."""
        super().close()
        self.write_lock.close()


def connect(path: Path, *, durable: bool, cache_bytes: int) -> Connection:
    """A connection that any one thread at a time may use.

    Args:
        path: the database file; it exists.
        durable: whether a commit survives power loss. Every commit survives the death of the process.
        cache_bytes: most memory for pages.
    """
    lock = WriteLock(path.with_name(path.name + "-lock"))
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=Connection
        )
    except sqlite3.Error:
        lock.close()
        raise
    connection.write_lock = lock
    try:
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA cache_size = -{cache_bytes // 1024}")
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """A write transaction: all of it or, when anything is raised, nothing.

    A process that is stopped (SIGSTOP) in here holds up the others until it goes on or is killed.
    """
    with connection.write_lock:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # A full disk or an I/O error may have rolled back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def create_file(path: Path) -> None:
    """An empty file that only its owner reads, known to the folder before anything in it is confirmed."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def boot_id() -> str:
    """Names this run of the operating system; empty where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Changes:
    """Notices commits of other connections, of any process: at once by the count of writers, surely by SQLite."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writers = -1
        self._sure_at = 0.0
        self._seen = -1

    def any(self) -> bool:
        """Whether somebody else committed since the last call; True at the first."""
        writers = self._connection.write_lock.writers
        now = time.monotonic()
        if writers == self._writers and now < self._sure_at:
            return False
        self._writers = writers
        self._sure_at = now + _SURE_SECONDS
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        changed = version != self._seen
        self._seen = version
        return changed
