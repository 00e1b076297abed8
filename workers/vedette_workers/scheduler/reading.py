"""What a round reads: which groups have new events, and the events of a group that decide about it.

Nothing here is exact about what is *not* true: a round may look at fewer events than there are, since a condition that
can only grow is never true of fewer events and false of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vedette_backends.store.protocol import Sort, Store, TimeRange
from vedette_engine.alerting.groups import Group, canonical_group, group_query
from vedette_engine.alerting.search_alerts import Found, seen
from vedette_engine.alerting.searches import MAX_EVENTS, Interval, Limits, SearchSpec, Seen
from vedette_engine.query import tree
from vedette_engine.query.tree import Query

STORED: Final = "vedette.stored"
PAGE: Final = 500
MOST_GROUPS: Final = 10_000
WORTH_COUNTING: Final = 8
"""From so many groups on one more question tells which of them can fulfil the condition at all."""
FAR: Final = 86_400_000
"""ms beyond which event times count as stray: they are read apart from the others."""
BUCKETS: Final = 1000
TILES: Final = 32
"""Pieces of event time of one group that are read one by one."""


@dataclass(frozen=True, slots=True)
class Span:
    """First and last event time of a group's new events, in ms, and their number."""

    first: int
    last: int
    count: int

    def plus(self, other: Span) -> Span:
        """Of both."""
        return Span(min(self.first, other.first), max(self.last, other.last), self.count + other.count)


@dataclass(frozen=True, slots=True)
class Reading:
    """The events of a group that were looked at.

    Attributes:
        seen: what the condition looks at of each.
        events: the events themselves; None where there are too many to keep them.
        truncated: there are more than were looked at.
    """

    seen: list[Seen]
    events: list[Found] | None
    truncated: bool


class Reader:
    """Asks the store for one search. Every method may raise BackendError and QueryError.

    Args:
        store: of the namespace.
        spec: the search.
        query: its query, parsed.
        breathe: called before each question; may raise to end the round.
    """

    def __init__(self, store: Store, spec: SearchSpec, query: Query, breathe: Callable[[], object]) -> None:
        self._store = store
        self._spec = spec
        self._query = query
        self._breathe = breathe

    # which groups ---------------------------------------------------------------------------------------------------
    def changed(self, after: int, until: int) -> tuple[dict[Group, Span], bool]:
        """Groups with events that were stored in (after, until], and whether there are more than were read."""
        self._breathe()
        query = tree.And((self._query, tree.Range(STORED, after, until, include_low=False)))
        return self._groups(query, TimeRange())

    def candidates(self, changed: Mapping[Group, Span], until: int) -> Iterator[tuple[Group, Span]]:
        """Those that can fulfil the condition, by the number of their events; the order is that of the groups."""
        counts = self._counts(changed, until)
        needed = least_events(self._spec)
        for group, span in changed.items():
            if counts is None or self._is_stray(span, until) or counts.get(group, 0) >= needed:
                yield group, span

    def _counts(self, changed: Mapping[Group, Span], until: int) -> Mapping[Group, int] | None:
        """Events of each group that a window of a new event may hold, or more; None where it is not known."""
        near = [span for span in changed.values() if not self._is_stray(span, until)]
        if least_events(self._spec) <= 1 or len(near) < WORTH_COUNTING:
            return None
        first, last = min(span.first for span in near), max(span.last for span in near)
        self._breathe()
        found, more = self._groups(self._query, self._around(first, last))
        return None if more else {group: span.count for group, span in found.items()}

    def _groups(self, query: Query, time: TimeRange) -> tuple[dict[Group, Span], bool]:
        fields = self._spec.group_by
        listed, more = self._store.groups(query, time, fields, MOST_GROUPS)
        found: dict[Group, Span] = {}
        for one in listed:
            group, span = canonical_group(fields, one.values), Span(one.first, one.last, one.count)
            found[group] = found[group].plus(span) if group in found else span
        return found, more

    def _is_stray(self, span: Span, until: int) -> bool:
        far = max(FAR, 2 * self._spec.window)
        return span.first < until - far or span.last > until + far

    # events of a group ----------------------------------------------------------------------------------------------
    def read(self, group: Group, span: Span, after: int, until: int) -> Reading:
        """The group's events that share a window with one that was stored in (after, until].

        Those whose time is nearest to that of storing come first, so that events with strange times keep nobody from
        seeing the others.
        """
        query = self._of(group)
        found: list[Seen] = []
        kept: list[Found] | None = []
        for piece in self._pieces(query, span, after, until):
            for event in self._events(query, piece):
                if len(found) >= MAX_EVENTS:
                    return Reading(found, None, truncated=True)
                found.append(seen(self._spec, event))
                if kept is not None:
                    kept.append(event)
                    kept = kept if len(kept) <= PAGE else None
        return Reading(found, kept, truncated=False)

    def opening(self, group: Group, interval: Interval) -> list[Found]:
        """Events of the interval's opening window, the earliest of them, and the one that opened it."""
        window = TimeRange(interval.start - self._spec.window + 1, interval.start + 1)
        self._breathe()
        page = self._store.search_events(self._of(group), window, sort=Sort.OLDEST, size=PAGE)
        found = [Found(event.time, event.id, event.document) for event in page.events]
        if all(event.id != interval.opening for event in found):
            event = self._store.get_event(interval.opening)
            found += [] if event is None else [Found(event.time, event.id, event.document)]
        return found

    def _of(self, group: Group) -> Query:
        return tree.And((self._query, group_query(self._spec.group_by, group)))

    def _pieces(self, query: Query, span: Span, after: int, until: int) -> list[TimeRange]:
        """Stretches of event time around the new events, those nearest to `until` first."""
        if span.last - span.first <= 2 * (self._spec.window + self._spec.every):
            return [self._around(span.first, span.last)]
        step = max(self._spec.window, -(-(span.last - span.first + 1) // BUCKETS))
        new = tree.And((query, tree.Range(STORED, after, until, include_low=False)))
        self._breathe()
        starts = [start for start, _ in self._store.histogram(new, TimeRange(span.first, span.last + 1), step)]
        pieces = _joined(self._around(start, start + step - 1) for start in starts)
        tiles = _tiles(pieces, 4 * self._spec.window)
        return sorted(tiles, key=lambda tile: _distance(tile, until))

    def _around(self, first: int, last: int) -> TimeRange:
        return TimeRange(first - self._spec.window + 1, last + self._spec.window)

    def _events(self, query: Query, piece: TimeRange) -> Iterator[Found]:
        cursor: str | None = None
        while True:
            self._breathe()
            page = self._store.search_events(query, piece, sort=Sort.OLDEST, size=PAGE, after=cursor)
            for event in page.events:
                yield Found(event.time, event.id, event.document)
            cursor = page.next
            if cursor is None:
                return


def least_events(spec: SearchSpec) -> int:
    """How many events a window holds at least that fulfils the condition; an event may have many distinct values."""
    limits = spec.count or Limits()
    at_least = math.ceil(limits.at_least) if limits.at_least is not None else 1
    more_than = math.floor(limits.more_than) + 1 if limits.more_than is not None else 1
    return max(at_least, more_than, 1)


def _joined(pieces: Iterable[TimeRange]) -> list[tuple[int, int]]:
    """Pieces that overlap become one; given by start."""
    joined: list[tuple[int, int]] = []
    for piece in pieces:
        start, end = piece.start or 0, piece.end or 0
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _tiles(pieces: Sequence[tuple[int, int]], length: int) -> list[TimeRange]:
    """The same times in pieces of at most `length`, or more where they would become too many."""
    longest = max(length, -(-sum(end - start for start, end in pieces) // TILES))
    return [TimeRange(at, min(at + longest, end)) for start, end in pieces for at in range(start, end, longest)]


def _distance(piece: TimeRange, moment: int) -> int:
    start, end = piece.start or 0, piece.end or 0
    return max(start - moment, moment - end, 0)
