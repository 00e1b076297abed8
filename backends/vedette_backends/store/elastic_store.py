"""The store of one namespace in Elasticsearch: one part per kind of thing that is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vedette_backends.errors import RefusedError
from vedette_backends.store.elastic_alerts import Alerts
from vedette_backends.store.elastic_blobs import Blobs
from vedette_backends.store.elastic_events import EventReader
from vedette_backends.store.elastic_http import READ_SECONDS, Answer, Api
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_letters import DeadLetters
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_records import Heartbeats, Records
from vedette_backends.store.elastic_snapshot import write_snapshot
from vedette_backends.store.elastic_writer import EventWriter
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
from vedette_engine.query.tree import Query


class _Gate:
    """The cluster as long as the store is open."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._closed = threading.Event()

    def call(
        self, method: str, target: str, body: bytes | None = None, *, seconds: float = READ_SECONDS, once: bool = False
    ) -> Answer:
        if self._closed.is_set():
            raise RefusedError("the store is closed")
        return self._api.call(method, target, body, seconds=seconds, once=once)

    def close(self) -> None:
        self._closed.set()


class ElasticsearchStore:
    """Implements `Store` over one cluster.

    Args:
        api: of the cluster.
        namespace: whose store this is.
        clock: milliseconds since the epoch, for `vedette.stored` and the times of records.
        on_close: what else to release with the store.

    Raises:
        RefusedError: `namespace` is no namespace's name.
    """

    def __init__(
        self, api: Api, namespace: str, clock: Callable[[], int], on_close: Callable[[], None] | None = None
    ) -> None:
        names, gate = Names(namespace), _Gate(api)
        indices = Indices(gate)
        self._names = names
        self._gate = gate
        self._clock = clock
        self._on_close = on_close
        self._writer = EventWriter(gate, names, indices, clock)
        self._events = EventReader(gate, names, indices.forget)
        self._alerts = Alerts(gate, names, indices)
        self._dead_letters = DeadLetters(gate, names, indices)
        self._records = Records(gate, names, indices, clock)
        self._heartbeats = Heartbeats(gate, names, indices)
        self._blobs = Blobs(gate, names, indices, clock)

    # events ---------------------------------------------------------------------------------------------------------
    def create_events(self, retention: str, events: Sequence[NewEvent]) -> list[ItemResult]:
        """Create, never overwrite; durable and searchable when it returns."""
        return self._writer.create(retention, events)

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
        """(retention class, day, events) of every index."""
        return self._events.days()

    def drop_day(self, retention: str, day: str) -> None:
        """Remove an index of events."""
        self._events.drop_day(retention, day)

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
        """Write a consistent copy into the repository `target`, or a new one at that path or address of the servers."""
        write_snapshot(self._gate, self._names, target, self._clock())

    def close(self) -> None:
        """Further calls fail; the connection stays open for the other stores that share it."""
        self._gate.close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None
