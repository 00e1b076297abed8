"""The consuming half of the embedded broker."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vedette_backends.broker import schema
from vedette_backends.broker.names import DEAD_SUFFIX, encode_headers, with_reason
from vedette_backends.broker.protocol import Delivery
from vedette_backends.database import Changes, Connection, connect, transaction, translated
from vedette_backends.errors import FullError, NotFoundError, UnavailableError
from vedette_backends.liveness import Lease, is_held

# How soon a commit of another process is noticed: quickly while messages flow, cheaply when none came for a while.
_BUSY_POLL_SECONDS = 0.005
_IDLE_POLL_SECONDS = 0.02
_BUSY_FOR_SECONDS = 1.0
_REAP_SECONDS = 0.1

# A drained backlog is given back to the disk in steps of this size, when little of the file is in use.
_SHRINK_PAGES = 1024
_SHRINK_FROM_BYTES = 64 * 1024 * 1024

_CACHE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: int
    queue: str
    published: int
    size: int
    deliveries: int
    suspect: bool


class EmbeddedConsumer:
    """Takes messages of some queues of one folder; made by `EmbeddedBroker.consume`.

    Several threads may use it. What it holds is released when its process ends, however that happens.
    """

    def __init__(self, folder: Path, queues: Sequence[str], *, prefetch: int) -> None:
        self._folder = folder
        self._path = folder / schema.FILE_NAME
        self._queues = tuple(dict.fromkeys(queues))
        self._names = json.dumps(self._queues)
        self._prefetch = prefetch
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._tags = itertools.count(1)
        self._unacked: dict[int, _Candidate] = {}
        self._look = True
        self._freed = 0
        self._last_found = self._next_reap = time.monotonic()
        with contextlib.ExitStack() as undo, translated(self._path):
            self._connection = connect(self._path, durable=False, cache_bytes=_CACHE_BYTES)
            undo.callback(self._connection.close)
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {schema.WAL_BYTES // schema.PAGE_BYTES}")
            self._changes = Changes(self._connection)
            self._id, self._lease = self._register()
            undo.pop_all()

    def _register(self) -> tuple[int, Lease]:
        lease = None
        try:
            with transaction(self._connection) as connection:
                number = connection.execute("INSERT INTO consumer DEFAULT VALUES").lastrowid
                assert number is not None
                for name in self._queues:
                    _require(connection, name)
                    connection.execute("INSERT INTO subscription VALUES (?, ?)", (number, name))
                # Held before others can read the row, or they would take this consumer for dead.
                lease = Lease(lease_path(self._folder, number))
        except BaseException:
            if lease is not None:
                lease.close()
            raise
        return number, lease

    def fetch(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` messages, oldest first; waits at most `timeout` seconds for the first."""
        deadline = time.monotonic() + timeout
        self._check_open()
        while True:
            with self._lock, translated(self._path):
                if self._closed.is_set():
                    return []
                found = self._take(min(limit, self._prefetch - len(self._unacked)))
                now = time.monotonic()
                if found:
                    self._last_found = now
                    return found
                if now >= deadline:
                    return []
                self._shrink(idle=True)
            idle = now - self._last_found > _BUSY_FOR_SECONDS
            pause = _IDLE_POLL_SECONDS if idle else _BUSY_POLL_SECONDS
            if self._closed.wait(min(pause, deadline - now)):
                return []

    def ack(self, tags: Sequence[int]) -> None:
        """They are done and forgotten. NotFoundError: a tag is not of an unacked delivery; then nothing was done."""
        if not tags:
            return
        with self._lock, translated(self._path):
            done = self._held(tags)
            with transaction(self._connection) as connection:
                remove(connection, ((message.id, message.size) for message in done))
            self._forget(tags)
            self._freed += sum(message.size for message in done)
            self._shrink(idle=False)

    def reject(self, tag: int, reason: str) -> None:
        """Moves the message to `<queue>.dead`; a dead letter itself cannot be rejected (NotFoundError).

        FullError: the dead-letter queue is full; the message stays with this consumer.
        """
        with self._lock, translated(self._path):
            (message,) = self._held([tag])
            if message.queue.endswith(DEAD_SUFFIX):
                raise NotFoundError(f"{message.queue} has no dead-letter queue: acknowledge or release the message")
            with transaction(self._connection) as connection:
                self._bury(connection, message, reason)
                remove(connection, [(message.id, message.size)])
            self._forget([tag])

    def _bury(self, connection: Connection, message: _Candidate, reason: str) -> None:
        row = connection.execute("SELECT headers FROM message WHERE id = ?", (message.id,)).fetchone()
        if row is None:  # its queue was deleted meanwhile
            return
        headers = encode_headers(with_reason(json.loads(row[0]), reason))
        dead = message.queue + DEAD_SUFFIX
        connection.execute("INSERT OR IGNORE INTO queue (name, single_active) VALUES (?, 0)", (dead,))
        number, sequence, used, most = connection.execute(
            "SELECT id, sequence, bytes, max_bytes FROM queue WHERE name = ?", (dead,)
        ).fetchone()
        if most is not None and used + message.size > most:
            raise FullError(f"queue {dead} is full ({used} of {most} bytes)")
        connection.execute(
            "INSERT INTO message SELECT ?, ?, size, ?, body FROM message WHERE id = ?",
            (schema.first_message(number) + sequence + 1, time.time_ns() // 1_000_000, headers, message.id),
        )
        connection.execute(
            "UPDATE queue SET sequence = sequence + 1, messages = messages + 1, bytes = bytes + ? WHERE id = ?",
            (message.size, number),
        )

    def release(self, tags: Sequence[int]) -> None:
        """Gives them back undone, to be delivered again."""
        if not tags:
            return
        with self._lock, translated(self._path):
            undone = self._held(tags)
            with transaction(self._connection) as connection:
                connection.executemany(
                    "UPDATE lease SET consumer = NULL WHERE message = ?", [(message.id,) for message in undone]
                )
            self._forget(tags)
            self._look = True

    def close(self) -> None:
        """Stops consuming; what was not acked is released. Harmless when repeated."""
        self._closed.set()
        if os.getpid() != self._pid:
            return
        with self._lock, translated(self._path):
            if self._lease.closed:
                return
            try:
                with transaction(self._connection) as connection:
                    unregister(connection, self._id)
            finally:
                # Without the lease the others release what could not be released here.
                self._lease.close()
                self._connection.close()
                self._unacked.clear()

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise UnavailableError(f"{self._path}: a consumer does not outlive a fork; make one in the new process")
        if self._closed.is_set():
            raise UnavailableError(f"{self._path}: the consumer is closed")

    def _held(self, tags: Sequence[int]) -> list[_Candidate]:
        self._check_open()
        unknown = [tag for tag in tags if tag not in self._unacked]
        if unknown:
            raise NotFoundError(f"no unacked delivery has the tag {unknown[0]}")
        return [self._unacked[tag] for tag in dict.fromkeys(tags)]

    def _forget(self, tags: Iterable[int]) -> None:
        for tag in tags:
            self._unacked.pop(tag, None)

    def _take(self, most: int) -> list[Delivery]:
        now = time.monotonic()
        if now >= self._next_reap:
            self._next_reap = now + _REAP_SECONDS
            if reap(self._connection, self._folder, but=self._id):
                self._look = True
        # Asked every time, before the look itself: a commit after it counts as the next change.
        changed = self._changes.any()
        if most <= 0:
            self._look |= changed
            return []
        if not (self._look or changed):
            return []
        self._look = False
        if not self._candidates(most):
            return []
        with transaction(self._connection) as connection:
            taken = self._candidates(most)
            connection.executemany(
                "INSERT INTO lease VALUES (?, ?, 1)"
                " ON CONFLICT (message) DO UPDATE SET consumer = excluded.consumer, deliveries = deliveries + 1",
                [(message.id, self._id) for message in taken],
            )
            # Inside, so that what cannot be read is not held either.
            found = [self._deliver(message) for message in taken]
        self._unacked.update(zip((delivery.tag for delivery in found), taken, strict=True))
        self._look = True
        return found

    def _deliver(self, message: _Candidate) -> Delivery:
        headers, body = self._connection.execute(
            "SELECT headers, body FROM message WHERE id = ?", (message.id,)
        ).fetchone()
        deliveries = message.deliveries + 1
        redelivered = deliveries > 1 or message.suspect
        return Delivery(next(self._tags), message.queue, body, json.loads(headers), deliveries, redelivered)

    def _candidates(self, most: int) -> list[_Candidate]:
        """The oldest messages nobody holds. In a queue the order is that of publishing, among queues that of time."""
        queues = self._connection.execute(
            "SELECT id, name, suspect FROM queue"
            " WHERE messages > 0 AND name IN (SELECT value FROM json_each(?))"
            " AND (single_active = 0 OR ? = (SELECT min(consumer) FROM subscription WHERE queue = queue.name))",
            (self._names, self._id),
        ).fetchall()
        streams = [self._oldest(number, name, suspect, most) for number, name, suspect in queues]
        merged = heapq.merge(*streams, key=lambda message: message.published)
        return list(itertools.islice(merged, most))

    def _oldest(self, number: int, name: str, suspect: int, most: int) -> list[_Candidate]:
        rows = self._connection.execute(
            "SELECT message.id, published, size, coalesce(deliveries, 0)"
            " FROM message LEFT JOIN lease ON lease.message = message.id"
            " WHERE message.id >= ? AND message.id < ? AND consumer IS NULL ORDER BY message.id LIMIT ?",
            (schema.first_message(number), schema.first_message(number + 1), most),
        )
        untouched = schema.first_message(number) + suspect
        return [_Candidate(row[0], name, row[1], row[2], row[3], row[0] < untouched) for row in rows]

    def _shrink(self, *, idle: bool) -> None:
        if self._freed < _SHRINK_FROM_BYTES and not (idle and self._freed):
            return
        self._freed = 0
        free: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        pages: int = self._connection.execute("PRAGMA page_count").fetchone()[0]
        if free * schema.PAGE_BYTES < _SHRINK_FROM_BYTES or free < 0.8 * pages:
            return
        with self._connection.write_lock:
            # `execute` would stop after the first page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")
        self._freed = 1  # there may be more: look again at the next idle moment


def _require(connection: Connection, queue: str) -> None:
    if connection.execute("SELECT 1 FROM queue WHERE name = ?", (queue,)).fetchone() is None:
        raise NotFoundError(f"queue {queue} is not declared")


def lease_path(folder: Path, consumer: int) -> Path:
    """The file that a consumer locks as long as it lives."""
    return folder / schema.CONSUMER_FOLDER / str(consumer)


def reap(connection: Connection, folder: Path, *, but: int | None = None) -> bool:
    """Release what dead consumers held; says whether there were any."""
    known = [row[0] for row in connection.execute("SELECT id FROM consumer")]
    dead = [number for number in known if number != but and not is_held(lease_path(folder, number))]
    if not dead:
        return False
    with transaction(connection):
        for number in dead:
            unregister(connection, number)
    for number in dead:
        lease_path(folder, number).unlink(missing_ok=True)
    return True


def unregister(connection: Connection, consumer: int) -> None:
    """Forget a consumer inside a transaction; what it held is ready again."""
    connection.execute("UPDATE lease SET consumer = NULL WHERE consumer = ?", (consumer,))
    connection.execute("DELETE FROM subscription WHERE consumer = ?", (consumer,))
    connection.execute("DELETE FROM consumer WHERE id = ?", (consumer,))


def remove(connection: Connection, messages: Iterable[tuple[int, int]]) -> None:
    """Delete messages, given as (key, size), inside a transaction and keep the queues' totals right."""
    counts: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for number, size in messages:
        if connection.execute("DELETE FROM message WHERE id = ?", (number,)).rowcount:
            counts[schema.queue_of(number)] += 1
            sizes[schema.queue_of(number)] += size
        connection.execute("DELETE FROM lease WHERE message = ?", (number,))
    connection.executemany(
        "UPDATE queue SET messages = messages - ?, bytes = bytes - ? WHERE id = ?",
        [(counts[queue], sizes[queue], queue) for queue in counts],
    )
