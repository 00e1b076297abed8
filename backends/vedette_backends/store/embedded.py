"""The embedded store of one namespace: tantivy for events, SQLite for what changes, files for blobs."""

from __future__ import annotations

import threading
import time as wall
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vedette_backends.errors import RefusedError
from vedette_backends.store.alerts import Alerts
from vedette_backends.store.blobs import Blobs
from vedette_backends.store.bulk import BulkWriter
from vedette_backends.store.deadletters import DeadLetters
from vedette_backends.store.fanout import Fanout
from vedette_backends.store.inflight import InFlight
from vedette_backends.store.partitions import Key, Partitions, Writers, check_retention
from vedette_backends.store.protocol import (
    Alert,
    AlertFilter,
    AlertPage,
    DeadLetter,
    EventPage,
    Group,
    Heartbeat,
    ItemResult,
    NewEvent,
    Record,
    Sort,
    StoredEvent,
    TimeRange,
)
from vedette_backends.store.records import Heartbeats, Records
from vedette_backends.store.self_test import check_index
from vedette_backends.store.snapshot import write_snapshot
from vedette_backends.store.sqlite import Database
from vedette_engine.query.tree import Query

DATABASE = "state.db"
EVENTS = "events"
BLOBS = "blobs"

DEFAULT_HEAP = 48_000_000
MAX_WRITERS = 3


def _now() -> int:
    return wall.time_ns() // 1_000_000


def open_store(
    folder: Path, *, writer: bool, heap: int = DEFAULT_HEAP, clock: Callable[[], int] = _now
) -> EmbeddedStore:
    """The store in `DATA/ns/<namespace>`, made when it does not exist.

    Args:
        folder: of the namespace.
        writer: whether this process creates events; only one process at a time may. All else any process may do.
        heap: bytes that the writer of the current day may gather in memory.
        clock: milliseconds since the epoch, for `vedette.stored` and the time of records.

    Raises:
        RefusedError: another process writes, or what lies in the folder is damaged or newer than this version.
    """
    check_index()
    folder.mkdir(parents=True, exist_ok=True)
    writers = Writers(folder / EVENTS, heap=heap, most=MAX_WRITERS) if writer else None
    try:
        return EmbeddedStore(folder, Database(folder / DATABASE), writers, clock)
    except BaseException:
        if writers is not None:
            writers.close()
        raise


class EmbeddedStore:
    """`Store` on one machine; safe to use from several threads. Make it with `open_store`."""

    def __init__(self, folder: Path, database: Database, writers: Writers | None, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._database = database
        self._writers = writers
        self._write_lock = threading.Lock()
        self._partitions = Partitions(folder / EVENTS)
        self._in_flight = None if writers is None else InFlight(folder / EVENTS)
        self._bulk = (
            None
            if writers is None or self._in_flight is None
            else BulkWriter(writers, self._partitions, self._in_flight, clock)
        )
        self._events = Fanout(self._partitions)
        self._alerts = Alerts(database)
        self._dead_letters = DeadLetters(database)
        self._records = Records(database, clock)
        self._heartbeats = Heartbeats(database)
        self._blobs = Blobs(folder / BLOBS, database)

    # events ---------------------------------------------------------------------------------------------------------
    def create_events(self, retention: str, events: Sequence[NewEvent]) -> list[ItemResult]:
        """Create, never overwrite; durable and searchable when it returns."""
        if self._bulk is None:
            raise RefusedError("this process opened the store for reading")
        with self._write_lock:
            return self._bulk.create(check_retention(retention), events)

    def get_event(self, event_id: str) -> StoredEvent | None:
        """One event by id."""
        return self._events.get(event_id)

    def search_events(
        self, query: Query, time: TimeRange, *, sort: Sort = Sort.NEWEST, size: int = 50, after: str | None = None
    ) -> EventPage:
        """Events that match, by event time."""
        return self._events.search(query, time, sort, size, after)

    def count_events(self, query: Query, time: TimeRange) -> int:
        """Number of matches."""
        return self._events.count(query, time)

    def histogram(self, query: Query, time: TimeRange, interval: int) -> list[tuple[int, int]]:
        """(start, count) of the buckets that are not empty."""
        return self._events.histogram(query, time, interval)

    def top_values(self, query: Query, time: TimeRange, field: str, size: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of a field."""
        return self._events.top_values(query, time, field, size)

    def groups(
        self, query: Query, time: TimeRange, fields: Sequence[str], limit: int = 10_000
    ) -> tuple[list[Group], bool]:
        """The groups that matching events fall into, and whether there are more."""
        return self._events.groups(query, time, fields, limit)

    def days(self) -> list[tuple[str, str, int]]:
        """(retention class, day, events) of every partition."""
        found = [(key, self._partitions.get(key)) for key in self._partitions.all()]
        return sorted((key.retention, key.day, part.events) for key, part in found if part is not None)

    def drop_day(self, retention: str, day: str) -> None:
        """Remove a partition."""
        if self._writers is None:
            raise RefusedError("this process opened the store for reading")
        key = Key(day, check_retention(retention))
        with self._write_lock:
            self._writers.drop(key)
        self._partitions.forget(key)

    # alerts ---------------------------------------------------------------------------------------------------------
    def create_alerts(self, alerts: Sequence[Alert]) -> list[ItemResult]:
        """Create by id; an existing one stays."""
        return self._alerts.create(alerts)

    def get_alert(self, alert_id: str) -> Alert | None:
        """One alert."""
        return self._alerts.get(alert_id)

    def search_alerts(self, where: AlertFilter, *, size: int = 50, after: str | None = None) -> AlertPage:
        """Alerts that match, newest first."""
        return self._alerts.search(where, size, after)

    def count_alerts(self, where: AlertFilter, by: str) -> dict[str, int]:
        """Counts per severity, rule, status or owner."""
        return self._alerts.count(where, by)

    def alert_histogram(self, where: AlertFilter, interval: int) -> list[tuple[int, int]]:
        """As `histogram`, over alerts."""
        return self._alerts.histogram(where, interval)

    def update_alert(self, alert_id: str, version: int, workflow: Mapping[str, Any]) -> Alert:
        """Merge `workflow` under optimistic concurrency."""
        return self._alerts.update(alert_id, version, workflow)

    def alert_changes(self, after: int, limit: int = 500) -> tuple[list[Alert], int]:
        """Alerts changed after a change number, and the new number."""
        return self._alerts.changes(after, limit)

    def latest_change(self) -> int:
        """The newest change number."""
        return self._alerts.latest_change()

    # dead letters ---------------------------------------------------------------------------------------------------
    def put_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Create by id; an existing one stays."""
        self._dead_letters.put(letters)

    def search_dead_letters(
        self,
        *,
        source: str | None = None,
        reason: str | None = None,
        state: str | None = "waiting",
        size: int = 50,
        after: str | None = None,
    ) -> tuple[list[DeadLetter], int, str | None]:
        """(newest first, total, next cursor)."""
        return self._dead_letters.search(source, reason, state, size, after)

    def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        """One dead letter."""
        return self._dead_letters.get(letter_id)

    def mark_dead_letters(self, ids: Sequence[str], state: str) -> int:
        """Set their state; how many exist."""
        return self._dead_letters.mark(ids, state)

    # people's work --------------------------------------------------------------------------------------------------
    def put_record(
        self, collection: str, parent: str, record_id: str, body: Mapping[str, Any], version: int | None = None
    ) -> Record:
        """Create or change under optimistic concurrency."""
        return self._records.put(collection, parent, record_id, body, version)

    def get_record(self, collection: str, parent: str, record_id: str) -> Record | None:
        """One record."""
        return self._records.get(collection, parent, record_id)

    def list_records(self, collection: str, parent: str) -> list[Record]:
        """All records of a parent, oldest first."""
        return self._records.list(collection, parent)

    # blobs ----------------------------------------------------------------------------------------------------------
    def put_blob(self, data: bytes) -> str:
        """Keep under the SHA-256 of the content."""
        return self._blobs.put(data)

    def get_blob(self, digest: str) -> bytes:
        """The content, verified."""
        return self._blobs.get(digest)

    def set_head(self, name: str, digest: str) -> None:
        """Point a name at a blob."""
        self._blobs.set_head(name, digest)

    def head(self, name: str) -> str | None:
        """Where a name points."""
        return self._blobs.head(name)

    # workers --------------------------------------------------------------------------------------------------------
    def put_heartbeat(self, beat: Heartbeat) -> None:
        """Replace the worker's last heartbeat."""
        self._heartbeats.put(beat)

    def heartbeats(self) -> list[Heartbeat]:
        """The last one of each worker."""
        return self._heartbeats.list()

    # housekeeping ---------------------------------------------------------------------------------------------------
    def snapshot(self, target: str) -> None:
        """Write a consistent copy into the empty folder `target`; only the process that writes can."""
        if self._writers is None:
            raise RefusedError("this process opened the store for reading")
        with self._write_lock:
            write_snapshot(self._folder, Path(target), self._database)

    def close(self) -> None:
        """Release files and connections."""
        with self._write_lock:
            if self._writers is not None:
                self._writers.close()
            if self._in_flight is not None:
                self._in_flight.close()
        self._partitions.close()
        self._database.close()
