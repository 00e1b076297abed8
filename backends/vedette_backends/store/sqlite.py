"""The database for everything that changes: alerts, dead letters, people's records, heads of blobs, heartbeats.

WAL with `synchronous=FULL`: a commit survives a power cut. Any process may write; transactions are short and
IMMEDIATE, so they queue instead of failing half-way.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vedette_backends.errors import BackendError, FullError, RefusedError, UnavailableError

_BUSY_SECONDS: Final = 10.0

MIGRATIONS: Final = (
    """
    CREATE TABLE counter (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counter VALUES ('change', 0);

    CREATE TABLE alert (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        time INTEGER NOT NULL,
        raised INTEGER NOT NULL,
        rule TEXT NOT NULL,
        severity TEXT NOT NULL,
        title TEXT NOT NULL,
        summary TEXT NOT NULL,
        status TEXT NOT NULL,
        owner TEXT NOT NULL,
        incident TEXT NOT NULL,
        workflow TEXT NOT NULL,
        version INTEGER NOT NULL,
        change INTEGER NOT NULL UNIQUE,
        body BLOB NOT NULL
    );
    CREATE INDEX alert_time ON alert (time DESC, id DESC);
    CREATE INDEX alert_rule ON alert (rule, time);
    CREATE INDEX alert_incident ON alert (incident) WHERE incident <> '';
    CREATE TABLE alert_text (number INTEGER PRIMARY KEY REFERENCES alert (number), text TEXT NOT NULL);

    CREATE TABLE dead_letter (
        id TEXT PRIMARY KEY,
        time INTEGER NOT NULL,
        source TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        original BLOB NOT NULL,
        headers TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX dead_letter_time ON dead_letter (state, time DESC, id DESC);

    CREATE TABLE record (
        number INTEGER PRIMARY KEY,
        collection TEXT NOT NULL,
        parent TEXT NOT NULL,
        id TEXT NOT NULL,
        time INTEGER NOT NULL,
        body TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (collection, parent, id)
    );

    CREATE TABLE head (name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE heartbeat (
        worker TEXT PRIMARY KEY,
        incarnation TEXT NOT NULL,
        time INTEGER NOT NULL,
        body TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""One script per version of the schema; `user_version` counts those that ran."""

_LASTING: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_ERROR}
)


def _translate(error: sqlite3.Error, path: Path) -> BackendError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return FullError(f"{path}: the disk is full")
    return (RefusedError if code in _LASTING else UnavailableError)(f"{path}: {error}")


class Database:
    """One connection, used by one thread at a time; opened with the schema brought up to date.

    Raises:
        RefusedError: the file is damaged, or was written by a newer version.
        UnavailableError: another process holds it for longer than ten seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._errors():
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA trusted_schema = OFF")
                self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except BackendError:
            self._connection.close()
            raise

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction() as connection:
            version = self._version()
            if version > len(MIGRATIONS):
                raise RefusedError(f"{self.path} was written by a newer version of Vedette")
            for script in MIGRATIONS[version:]:
                for statement in script.split(";\n"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        version: int = self.rows("PRAGMA user_version")[0][0]
        return version

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a question."""
        with self._lock, self._errors():
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is written inside, durable when it ends, or nothing."""
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def copy_to(self, target: Path) -> None:
        """A consistent copy, while others go on writing."""
        with self._errors():
            copy = sqlite3.connect(target)
            try:
                with self._lock:
                    self._connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()

    def close(self) -> None:
        """Close the connection; further calls fail."""
        with self._lock:
            self._connection.close()


def next_change(connection: sqlite3.Connection) -> int:
    """The next number of the change feed. Transactions are serial, so numbers become visible in order."""
    row = connection.execute("UPDATE counter SET number = number + 1 WHERE name = 'change' RETURNING number").fetchone()
    number: int = row[0]
    return number


def statement(*parts: str) -> str:
    """An SQL statement from the program's own words; what users give goes in as values, never as a part."""
    return " ".join(part for part in parts if part)


def placeholders(values: Sequence[object]) -> str:
    """`?, ?, ?` for so many values."""
    return ", ".join("?" * len(values))
