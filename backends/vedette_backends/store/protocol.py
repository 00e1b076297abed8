"""`Store`: what is kept for searching and for people. Two implementations: embedded and Elasticsearch.

A store object is scoped to one namespace; nothing in it reaches another tenant's data.
Times are integers, milliseconds since the epoch, UTC.

Queries may range over `vedette.stored`, when an event was stored by the clock of who stored it (integers, ms). It is no
part of the document that a store gives back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vedette_engine.query.tree import Query

Document = dict[str, Any]


class Outcome(enum.Enum):
    """What became of one created item."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    """The id is taken by an equal item: nothing to do, the delivery was repeated."""
    COLLISION = "collision"
    """The id is taken by an item with another hash: a dead letter, reason `IdCollision`."""
    REJECTED = "rejected"
    """The document itself cannot be stored; `ItemResult.reason` says why: a dead letter."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """Outcome of one item of a bulk call, in the order of the call."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event to create.

    Attributes:
        id: deterministic id of the delivery (32 hex digits).
        ingested: `event.ingested`; decides the day that the event is kept in.
        time: `@timestamp` for sorting and time ranges (`ingested`, and a mark, where the event has none).
        hash: `event.hash`, taken before enrichment; tells a repeat from a collision.
        document: flat ECS names → values, plus `vedette.other` → flat dict of what is outside the catalogue.
        maybe_repeat: the id may exist already (redelivered message, client's key): look it up before writing.
            False promises that the id is new, and saves the look-up.
    """

    id: str
    ingested: int
    time: int
    hash: str
    document: Document
    maybe_repeat: bool = True


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it was stored."""

    id: str
    time: int
    ingested: int
    document: Document


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half-open range over `@timestamp`, milliseconds; None is open."""

    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Events that agree in the fields they were grouped by.

    Attributes:
        values: one per field, in the spelling of `vedette_engine.alerting.groups.canonical`; None where an event lacks
            the field.
        count: events of the group.
        first, last: event times, ms.
    """

    values: tuple[str | None, ...]
    count: int
    first: int
    last: int


class Sort(enum.Enum):
    """Order of search results, by event time; ties by id, so that paging never jumps."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of search results.

    Attributes:
        events: in the order asked for.
        total: matches in the whole range.
        next: opaque cursor of the next page; None at the end. Stable while events arrive.
    """

    events: Sequence[StoredEvent]
    total: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the store keeps it.

    Attributes:
        id: deterministic (DESIGN §4).
        time: event time of what raised it.
        raised: when it was written.
        rule: name of the AlertRule.
        severity: informational | low | medium | high | critical.
        title: the rule's title.
        summary: the sentence that responders read first.
        body: everything else: `detection` (sigma_id, tags, owner, runbook, rule_hash, source, explanation) and
            `events` (list of {"id", "time", "document"} copies of what raised it).
        workflow: what people decide: `status` (new | acknowledged | closed), `owner`, `disposition`, `incident`.
        version: 1 at creation, +1 with every change.
    """

    id: str
    time: int
    raised: int
    rule: str
    severity: str
    title: str
    summary: str
    body: Mapping[str, Any]
    workflow: Mapping[str, Any] = field(default_factory=lambda: {"status": "new"})
    version: int = 1


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; every given part must hold. `text` is searched in title, summary, rule, and event values."""

    severities: Sequence[str] = ()
    rules: Sequence[str] = ()
    statuses: Sequence[str] = ()
    owner: str | None = None
    incident: str | None = None
    text: str = ""
    time: TimeRange = TimeRange()


@dataclass(frozen=True, slots=True)
class AlertPage:
    """One page of alerts, newest event time first; `next` as in EventPage."""

    alerts: Sequence[Alert]
    total: int
    next: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event (or alert) that could not be processed, kept whole so that it can be fixed and replayed.

    Attributes:
        id: deterministic: H(event id or delivery, reason).
        time: when it was set aside.
        source: LogSource name.
        reason: CamelCase, from a documented list (Malformed, IdCollision, DocumentRejected, Poison, TooLarge …).
        detail: one sentence for people.
        original: the record's bytes as they came.
        headers: what the message said of it (event id, key, ingested …), enough to replay it under the same id.
        state: waiting | replayed | dismissed.
    """

    id: str
    time: int
    source: str
    reason: str
    detail: str
    original: bytes
    headers: Mapping[str, str]
    state: str = "waiting"


@dataclass(frozen=True, slots=True)
class Record:
    """A small versioned document of people's work: notes of an incident, saved searches."""

    collection: str
    parent: str
    id: str
    time: int
    body: Mapping[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last that one worker said of itself. `body`: bundle hash, cumulative counters, errors."""

    worker: str
    incarnation: str
    time: int
    body: Mapping[str, Any]


class Store(Protocol):
    """Kept data of one namespace. Every method may raise UnavailableError and RefusedError."""

    # events ---------------------------------------------------------------------------------------------------------
    def create_events(self, retention: str, events: Sequence[NewEvent]) -> list[ItemResult]:
        """Create, never overwrite; durable and searchable when it returns. Ids may repeat inside one call."""

    def get_event(self, event_id: str) -> StoredEvent | None:
        """One event by id."""

    def search_events(
        self, query: Query, time: TimeRange, *, sort: Sort = Sort.NEWEST, size: int = 50, after: str | None = None
    ) -> EventPage:
        """Events that match; `after` is the `next` of the page before. Raises QueryError for what cannot be asked."""

    def count_events(self, query: Query, time: TimeRange) -> int:
        """Number of matches."""

    def histogram(self, query: Query, time: TimeRange, interval: int) -> list[tuple[int, int]]:
        """(start of bucket, count) for the buckets that are not empty, ascending; `interval` in ms."""

    def top_values(self, query: Query, time: TimeRange, field: str, size: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of a field, with the number of events that hold each."""

    def groups(
        self, query: Query, time: TimeRange, fields: Sequence[str], limit: int = 10_000
    ) -> tuple[list[Group], bool]:
        """The groups that matching events fall into, and whether there are more than `limit`.

        An event belongs to every group that `vedette_engine.alerting.groups.groups_of` says. No fields: one group,
        (), when anything matches. Groups come by their values, None first. Where there are more than `limit`, which of
        them are told is not said, and events may be missing from those. Raises QueryError for fields that are times.
        """

    def days(self) -> list[tuple[str, str, int]]:
        """(retention class, UTC day as yyyy.mm.dd, events) of every partition, ascending."""

    def drop_day(self, retention: str, day: str) -> None:
        """Remove a partition; readers that have it open still answer."""

    # alerts ---------------------------------------------------------------------------------------------------------
    def create_alerts(self, alerts: Sequence[Alert]) -> list[ItemResult]:
        """Create by id; an existing one is DUPLICATE and stays as it is (people may have worked on it)."""

    def get_alert(self, alert_id: str) -> Alert | None:
        """One alert."""

    def search_alerts(self, where: AlertFilter, *, size: int = 50, after: str | None = None) -> AlertPage:
        """Alerts that match, newest first."""

    def count_alerts(self, where: AlertFilter, by: str) -> dict[str, int]:
        """Counts per `severity`, `rule`, `status` or `owner`."""

    def alert_histogram(self, where: AlertFilter, interval: int) -> list[tuple[int, int]]:
        """As `histogram`, over alerts."""

    def update_alert(self, alert_id: str, version: int, workflow: Mapping[str, Any]) -> Alert:
        """Merge `workflow` if `version` is still the current one; raises ConflictError, NotFoundError."""

    def alert_changes(self, after: int, limit: int = 500) -> tuple[list[Alert], int]:
        """Alerts created or changed since the change number `after`, oldest change first, and the new number.

        Numbers grow with every committed change and survive restarts; 0 starts at the beginning.
        """

    def latest_change(self) -> int:
        """The newest change number."""

    # dead letters ---------------------------------------------------------------------------------------------------
    def put_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Create by id; an existing one stays."""

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

    def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        """One dead letter."""

    def mark_dead_letters(self, ids: Sequence[str], state: str) -> int:
        """Set their state; returns how many exist."""

    # people's work --------------------------------------------------------------------------------------------------
    def put_record(
        self, collection: str, parent: str, record_id: str, body: Mapping[str, Any], version: int | None = None
    ) -> Record:
        """Create (`version=None`) or change under optimistic concurrency; raises ConflictError."""

    def get_record(self, collection: str, parent: str, record_id: str) -> Record | None:
        """One record."""

    def list_records(self, collection: str, parent: str) -> list[Record]:
        """All records of a parent, oldest first."""

    # blobs ----------------------------------------------------------------------------------------------------------
    def put_blob(self, data: bytes) -> str:
        """Keep under the SHA-256 (hex) of the content; idempotent."""

    def get_blob(self, digest: str) -> bytes:
        """The content; raises NotFoundError, and RefusedError when what is kept no longer has this hash."""

    def set_head(self, name: str, digest: str) -> None:
        """Point a name at a blob, atomically."""

    def head(self, name: str) -> str | None:
        """Where a name points."""

    # workers --------------------------------------------------------------------------------------------------------
    def put_heartbeat(self, beat: Heartbeat) -> None:
        """Replace the worker's last heartbeat."""

    def heartbeats(self) -> list[Heartbeat]:
        """The last one of each worker."""

    # housekeeping ---------------------------------------------------------------------------------------------------
    def snapshot(self, target: str) -> None:
        """Write a consistent copy into the empty folder or repository `target`."""

    def close(self) -> None:
        """Release files and connections; further calls fail."""
