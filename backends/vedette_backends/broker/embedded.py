"""`Broker` on one machine: a durable queue in SQLite that several processes share."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vedette_backends.broker import schema
from vedette_backends.broker.consumer import EmbeddedConsumer, reap
from vedette_backends.broker.names import DEAD_SUFFIX, check_message, check_queue, encode_headers
from vedette_backends.broker.protocol import Binding, Message, QueueStats
from vedette_backends.database import Connection, connect, is_full, transaction, translated
from vedette_backends.errors import FullError, NotFoundError, RefusedError, UnavailableError


def open_broker(folder: Path) -> EmbeddedBroker:
    """The queues kept in `folder` (of one namespace), which is made when it is missing.

    Raises:
        RefusedError: the file is damaged, not writable, or made by a newer program.
        UnavailableError: another process holds it for too long, or the disk cannot be read.
    """
    with translated(folder / schema.FILE_NAME):
        schema.prepare(folder)
        return EmbeddedBroker(folder)


class EmbeddedBroker:
    """Queues of one namespace; threads may share it, a forked child opens its own. Made by `open_broker`.

    `publish` returns when the messages survive power loss. Acks and counts of deliveries survive the death of every
    process; after power loss the last of them may be gone, and what is left is delivered with `redelivered`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / schema.FILE_NAME
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._open: Connection | None = None
        self._consumers: weakref.WeakSet[EmbeddedConsumer] = weakref.WeakSet()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if os.getpid() != self._pid:
            raise UnavailableError(f"{self._path}: a broker does not outlive a fork; open it in the new process")
        with self._lock, translated(self._path):
            if self._closed:
                raise UnavailableError(f"{self._path}: the broker is closed")
            if self._open is None:
                self._open = connect(self._path, durable=True, cache_bytes=schema.CACHE_BYTES)
                self._open.execute(f"PRAGMA wal_autocheckpoint = {schema.WAL_BYTES // schema.PAGE_BYTES}")
                self._open.execute(f"PRAGMA journal_size_limit = {schema.WAL_BYTES}")
            try:
                yield self._open
            except sqlite3.Error:
                # Whatever state it is in, the next call starts afresh.
                self._open.close()
                self._open = None
                raise

    def declare(
        self,
        queue: str,
        *,
        max_bytes: int | None = None,
        single_active_consumer: bool = False,
        bindings: Sequence[Binding] = (),
    ) -> None:
        """Create the queue and its dead-letter queue, or change the limit of both.

        Raises:
            RefusedError: the name cannot be one, there are bindings, or the queue exists with another
                `single_active_consumer`.
        """
        check_queue(queue)
        if bindings:
            raise RefusedError("the embedded broker takes no foreign publishers; bindings need RabbitMQ")
        with self._connection() as connection, transaction(connection):
            for name, single in ((queue, single_active_consumer), (queue + DEAD_SUFFIX, False)):
                row = connection.execute("SELECT single_active FROM queue WHERE name = ?", (name,)).fetchone()
                if row is None:
                    connection.execute(
                        "INSERT INTO queue (name, max_bytes, single_active) VALUES (?, ?, ?)", (name, max_bytes, single)
                    )
                elif bool(row[0]) != single:
                    raise RefusedError(f"queue {name} exists with another single_active_consumer; delete it first")
                else:
                    connection.execute("UPDATE queue SET max_bytes = ? WHERE name = ?", (max_bytes, name))

    def delete(self, queue: str) -> None:
        """Remove this queue with what is in it. Its dead letters stay until their own queue is deleted."""
        with self._connection() as connection, transaction(connection):
            row = connection.execute("SELECT id FROM queue WHERE name = ?", (queue,)).fetchone()
            if row is None:
                return
            every = (schema.first_message(row[0]), schema.first_message(row[0] + 1))
            connection.execute("DELETE FROM message WHERE id >= ? AND id < ?", every)
            connection.execute("DELETE FROM lease WHERE message >= ? AND message < ?", every)
            connection.execute("DELETE FROM queue WHERE id = ?", (row[0],))

    def queues(self) -> list[str]:
        """Names of the declared queues, dead-letter queues included, sorted."""
        with self._connection() as connection:
            return [row[0] for row in connection.execute("SELECT name FROM queue ORDER BY name")]

    def publish(self, messages: Sequence[Message]) -> None:
        """Returns when all are durable.

        Raises:
            FullError: a queue or the disk is full.
            NotFoundError: a queue is not declared.
            RefusedError: a message is too large. In all three cases none was taken.
            UnavailableError: the outcome is unknown.
        """
        if not messages:
            return
        by_queue: defaultdict[str, list[Message]] = defaultdict(list)
        for message in messages:
            check_message(message)
            by_queue[message.queue].append(message)
        with self._connection() as connection:
            try:
                with transaction(connection):
                    for queue, group in by_queue.items():
                        _append(connection, queue, group)
            except sqlite3.Error as error:
                if is_full(error):
                    raise FullError(f"{self._path}: {error}") from error
                raise

    def consume(self, queues: Sequence[str], *, prefetch: int) -> EmbeddedConsumer:
        """A consumer with at most `prefetch` unacked messages. Raises NotFoundError for an undeclared queue."""
        if not queues or prefetch < 1:
            raise RefusedError("a consumer needs a queue and a prefetch of at least 1")
        if os.getpid() != self._pid or self._closed:
            raise UnavailableError(f"{self._path}: the broker is closed, or of another process")
        consumer = EmbeddedConsumer(self._folder, queues, prefetch=prefetch)
        self._consumers.add(consumer)
        return consumer

    def stats(self, queue: str) -> QueueStats:
        """Raises NotFoundError. `bytes` are those of all bodies, unacked ones included, as `max_bytes` counts them."""
        with self._connection() as connection:
            reap(connection, self._folder)
            row = connection.execute("SELECT id, messages, bytes FROM queue WHERE name = ?", (queue,)).fetchone()
            if row is None:
                raise NotFoundError(f"queue {queue} is not declared")
            every = (schema.first_message(row[0]), schema.first_message(row[0] + 1))
            unacked = connection.execute(
                "SELECT count(*) FROM lease WHERE message >= ? AND message < ? AND consumer IS NOT NULL", every
            ).fetchone()[0]
            oldest = connection.execute(
                "SELECT published FROM message WHERE id >= ? AND id < ? ORDER BY id LIMIT 1", every
            ).fetchone()
            return QueueStats(row[1] - unacked, unacked, row[2], oldest[0] if oldest else None)

    def close(self) -> None:
        """Close the consumers made here and the files. Harmless when repeated."""
        if os.getpid() != self._pid:
            return
        for consumer in tuple(self._consumers):
            consumer.close()
        with self._lock, translated(self._path):
            self._closed = True
            if self._open is not None:
                self._open.close()
                self._open = None


def _append(connection: Connection, queue: str, messages: Sequence[Message]) -> None:
    row = connection.execute("SELECT id, sequence, bytes, max_bytes FROM queue WHERE name = ?", (queue,)).fetchone()
    if row is None:
        raise NotFoundError(f"queue {queue} is not declared")
    number, sequence, used, most = row
    size = sum(len(message.body) for message in messages)
    if most is not None and used + size > most:
        raise FullError(f"queue {queue} is full ({used} of {most} bytes, {size} more were published)")
    now = time.time_ns() // 1_000_000
    start = schema.first_message(number) + sequence + 1
    connection.executemany(
        "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
        (
            (start + offset, now, len(message.body), encode_headers(message.headers), message.body)
            for offset, message in enumerate(messages)
        ),
    )
    connection.execute(
        "UPDATE queue SET sequence = ?, messages = messages + ?, bytes = bytes + ? WHERE id = ?",
        (sequence + len(messages), len(messages), size, number),
    )
