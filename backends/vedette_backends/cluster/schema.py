"""The embedded cluster's tables: objects, the log of their changes, and what is known about a folder's files."""

from __future__ import annotations

from pathlib import Path

from vedette_backends.database import Connection, connect, create_file, transaction
from vedette_backends.errors import RefusedError
from vedette_backends.liveness import exclusive

VERSION = 1
CACHE_BYTES = 8 * 1024 * 1024

_TABLES = (
    # file, line: where a person finds it; NULL for what the program made itself.
    """CREATE TABLE object (
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        manifest TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT '{}',
        generation INTEGER NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        manager TEXT NOT NULL DEFAULT '',
        file TEXT,
        line INTEGER,
        PRIMARY KEY (kind, namespace, name)
    )""",
    "CREATE INDEX object_file ON object (file) WHERE file IS NOT NULL",
    # last: the object as it was, for deletions only.
    """CREATE TABLE change (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        change TEXT NOT NULL,
        last TEXT
    )""",
    "CREATE INDEX change_object ON change (kind, namespace, name, version)",
    # mark: changes whenever the content may have; digest: names the content; settled: 0 when the next look must read
    # the file again although it did not change.
    """CREATE TABLE file (
        path TEXT PRIMARY KEY,
        mark TEXT NOT NULL,
        digest TEXT NOT NULL,
        settled INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # part: 'file' for what is wrong in a file, 'folder' for what could not be looked at.
    """CREATE TABLE problem (
        part TEXT NOT NULL,
        file TEXT NOT NULL,
        position INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (part, file, position)
    ) WITHOUT ROWID""",
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)


def prepare(path: Path) -> None:
    """Make or check the database at `path`. Raises RefusedError for one that a newer program made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.parent):
        create_file(path)
        connection = connect(path, durable=True, cache_bytes=CACHE_BYTES)
        try:
            _migrate(connection, path)
        finally:
            connection.close()


def _migrate(connection: Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise RefusedError(f"{path} was made by a newer Vedette (format {version}, this one knows {VERSION})")
    if version == VERSION:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
