"""What belongs to a namespace in Elasticsearch, by name.

A `.` cannot occur in a namespace's name, so no pattern of one namespace matches an index of another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from vedette_backends.errors import RefusedError

PREFIX: Final = "vedette-"
EVENTS: Final = "vedette-events."
SINGLE: Final = ("alerts", "deadletters", "records", "blobs", "state")
"""Kinds of which a namespace has one index each."""

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_RETENTION: Final = re.compile(r"[a-z0-9]{1,16}")
_DAY: Final = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_EVENTS_INDEX: Final = re.compile(rf"vedette-events\.({_NAMESPACE.pattern})\.({_RETENTION.pattern})\.({_DAY.pattern})")


@dataclass(frozen=True, slots=True)
class Names:
    """The indices of one namespace. Raises RefusedError for what is no namespace's name."""

    namespace: str

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise RefusedError(f"{self.namespace[:80]!r} is not a namespace")

    @property
    def events(self) -> str:
        """Pattern of all events."""
        return f"{EVENTS}{self.namespace}.*"

    def day(self, retention: str, day: str) -> str:
        """The index of one retention class and day. Raises RefusedError for names that are none."""
        if not _DAY.fullmatch(day):
            raise RefusedError(f"{day[:40]!r} is not a day such as 2026.11.22")
        return f"{EVENTS}{self.namespace}.{check_retention(retention)}.{day}"

    def single(self, kind: str) -> str:
        """The one index of a kind."""
        return f"{PREFIX}{kind}.{self.namespace}"

    @property
    def alerts(self) -> str:
        """Index of the alerts."""
        return self.single("alerts")

    @property
    def dead_letters(self) -> str:
        """Index of the dead letters."""
        return self.single("deadletters")

    @property
    def records(self) -> str:
        """Index of people's work."""
        return self.single("records")

    @property
    def blobs(self) -> str:
        """Index of the blobs."""
        return self.single("blobs")

    @property
    def state(self) -> str:
        """Index of heads and heartbeats."""
        return self.single("state")

    def all(self) -> str:
        """Everything of the namespace, as a list of patterns for a path."""
        return ",".join([self.events, *map(self.single, SINGLE)])


def check_retention(retention: str) -> str:
    """The retention class if it can be part of an index's name. Raises RefusedError."""
    if not _RETENTION.fullmatch(retention):
        raise RefusedError(f"{retention[:40]!r} is not a retention class such as 30d")
    return retention


def day_of(ingested: int) -> str:
    """The UTC day of a time in milliseconds, as yyyy.mm.dd. Raises ValueError outside of the calendar."""
    try:
        day = _EPOCH + timedelta(milliseconds=ingested)
    except OverflowError as error:
        raise ValueError(f"{ingested} ms is outside of the calendar") from error
    return f"{day.year:04}.{day.month:02}.{day.day:02}"


def parse_events_index(name: str) -> tuple[str, str, str] | None:
    """(namespace, retention class, day) of an index of events; None for another."""
    found = _EVENTS_INDEX.fullmatch(name)
    return None if found is None else (found[1], found[2], found[3])


def namespace_of(name: str) -> str | None:
    """Whose index or template this is; None for what is not ours."""
    kind, dot, rest = name.removeprefix(PREFIX).partition(".")
    if not dot or not name.startswith(PREFIX) or kind not in {"events", *SINGLE}:
        return None
    namespace = rest.partition(".")[0]
    return namespace if _NAMESPACE.fullmatch(namespace) else None
