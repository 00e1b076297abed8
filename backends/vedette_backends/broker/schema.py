"""The embedded broker's tables.

A message's key is `queue id << 40 | number in the queue`, so a queue is one range of the table, in order, without an
index. Bodies are written once and deleted once: what changes with a delivery is in `lease`.
"""

from __future__ import annotations

from pathlib import Path

from vedette_backends.database import Connection, boot_id, connect, create_file, transaction
from vedette_backends.errors import RefusedError
from vedette_backends.liveness import exclusive

FILE_NAME = "broker.db"
CONSUMER_FOLDER = "broker.consumers"

VERSION = 1
SEQUENCE_BITS = 40

# Measured with benchmarks/broker.py on 600 KB bodies: 4 KiB pages cost twice the processor time of 32 KiB ones.
PAGE_BYTES = 32 * 1024
WAL_BYTES = 16 * 1024 * 1024
CACHE_BYTES = 8 * 1024 * 1024

_TABLES = (
    # suspect: messages below this number may have been delivered, whatever `lease` says.
    """CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        max_bytes INTEGER,
        single_active INTEGER NOT NULL,
        sequence INTEGER NOT NULL DEFAULT 0,
        suspect INTEGER NOT NULL DEFAULT 0,
        messages INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        published INTEGER NOT NULL,
        size INTEGER NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE lease (
        message INTEGER PRIMARY KEY,
        consumer INTEGER,
        deliveries INTEGER NOT NULL
    )""",
    "CREATE INDEX lease_consumer ON lease (consumer) WHERE consumer IS NOT NULL",
    "CREATE TABLE consumer (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    """CREATE TABLE subscription (
        consumer INTEGER NOT NULL,
        queue TEXT NOT NULL,
        PRIMARY KEY (queue, consumer)
    ) WITHOUT ROWID""",
    "CREATE TABLE boot (id TEXT NOT NULL)",
)


def first_message(queue_id: int) -> int:
    """The smallest key a message of this queue can have."""
    return queue_id << SEQUENCE_BITS


def queue_of(message_id: int) -> int:
    """The queue that a message's key belongs to."""
    return message_id >> SEQUENCE_BITS


def prepare(folder: Path) -> None:
    """Make or check the database in `folder`. Raises RefusedError for one that a newer program made."""
    folder.mkdir(parents=True, exist_ok=True)
    consumers = folder / CONSUMER_FOLDER
    consumers.mkdir(mode=0o700, exist_ok=True)
    path = folder / FILE_NAME
    with exclusive(consumers):
        create_file(path)
        connection = connect(path, durable=True, cache_bytes=CACHE_BYTES)
        try:
            _migrate(connection, path)
            _mark_suspects(connection)
        finally:
            connection.close()


def _migrate(connection: Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise RefusedError(f"{path} was made by a newer Vedette (format {version}, this one knows {VERSION})")
    if version == VERSION:
        return
    # These two hold only while the file is empty, and only before it turns to write-ahead logging.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _mark_suspects(connection: Connection) -> None:
    """After a power loss: acks and delivery counts of the last moments may be gone, so nothing counts as untouched."""
    now = boot_id()
    known = connection.execute("SELECT id FROM boot").fetchone()
    if known is not None and now and known[0] == now:
        return
    with transaction(connection):
        connection.execute("UPDATE queue SET suspect = sequence + 1")
        connection.execute("DELETE FROM boot")
        connection.execute("INSERT INTO boot VALUES (?)", (now,))
