"""One question to many partitions: which of them to ask, in which order, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vedette_backends.store import partition as index
from vedette_backends.store.compile import all_of, compile_query
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.partition import IndexQuery, Row, Searcher
from vedette_backends.store.partitions import Key, Partitions
from vedette_backends.store.protocol import EventPage, Sort, StoredEvent, TimeRange
from vedette_backends.store.tokens import name_of
from vedette_engine.query.fields import INGESTED, TIME
from vedette_engine.query.tree import Query, QueryError

MAX_BUCKETS = 10_000
MAX_SIZE = 10_000
_VALUES_PER_PARTITION = 1000


@dataclass(frozen=True, slots=True)
class _Place:
    """A partition that may hold matches."""

    key: Key
    searcher: Searcher
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Hit:
    row: Row
    searcher: Searcher


class Fanout:
    """Reads all partitions as one."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    def get(self, event_id: str) -> StoredEvent | None:
        """One event by id, the newest day first."""
        for key in reversed(self._partitions.all()):
            partition = self._partitions.get(key)
            found = partition.get(event_id) if partition is not None else None
            if found is not None:
                return found
        return None

    def count(self, query: Query, time: TimeRange) -> int:
        """Number of matches."""
        asked = compile_query(query, time)
        return sum(index.count(place.searcher, asked) for place in self._places(time))

    def histogram(self, query: Query, time: TimeRange, interval: int) -> list[tuple[int, int]]:
        """Counts per interval of event time."""
        if interval < 1:
            raise QueryError("The interval of a histogram is at least one millisecond")
        asked = compile_query(query, time)
        places = list(self._places(time))
        _check_buckets(places, time, interval)
        counts: dict[int, int] = {}
        for place in places:
            for start, amount in index.buckets(place.searcher, asked, interval):
                counts[start] = counts.get(start, 0) + amount
        return sorted(counts.items())

    def top_values(self, query: Query, time: TimeRange, field: str, size: int) -> list[tuple[str, int]]:
        """The most frequent values; of equally frequent ones the first in order."""
        if field in {TIME, INGESTED}:
            raise QueryError(f"{field} has too many values: ask for a histogram")
        asked = compile_query(query, time)
        prefix = name_of(field).prefix
        counts: dict[str, int] = {}
        for place in self._places(time):
            limit = max(_VALUES_PER_PARTITION, 2 * size)
            for value, amount in index.values_with_prefix(place.searcher, prefix, asked, limit):
                counts[value] = counts.get(value, 0) + amount
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max(size, 0)]

    def search(self, query: Query, time: TimeRange, sort: Sort, size: int, after: str | None) -> EventPage:
        """One page."""
        if not 1 <= size <= MAX_SIZE:
            raise QueryError(f"A page has 1 to {MAX_SIZE} events")
        cursor = None if after is None else decode(after)
        places = list(self._places(time))
        bound = cursor.bound if cursor is not None else None
        asked = compile_query(query, time, bound)
        newest = sort is Sort.NEWEST
        totals = {place.key: index.count(place.searcher, asked) for place in places}
        # What the last page did not reach decides whether there is a next one: ask for one hit more than fits.
        hits = _Merge(asked, cursor, newest=newest).first([p for p in places if totals[p.key]], size + 1)
        events = [index.load(hit.searcher, hit.row) for hit in hits]
        events.sort(key=lambda event: (event.time, event.id), reverse=newest)
        page, more = events[:size], len(events) > size
        following = None
        if more:
            last = page[-1]
            following = Cursor(last.time, last.id, bound if cursor is not None else _newest_ingested(places)).encode()
        return EventPage(events=page, total=sum(totals.values()), next=following)

    def _places(self, time: TimeRange) -> Iterator[_Place]:
        for key in self._partitions.all():
            bounds = self._partitions.bounds(key)
            if bounds is None or (time.end is not None and bounds.low >= time.end):
                continue
            if time.start is not None and bounds.high < time.start:
                continue
            partition = self._partitions.get(key)
            if partition is not None and partition.events:
                yield _Place(key, partition.searcher, bounds.low, bounds.high)


def _check_buckets(places: list[_Place], time: TimeRange, interval: int) -> None:
    if not places:
        return
    low = max(min(p.low for p in places), -(2**63) if time.start is None else time.start)
    high = min(max(p.high for p in places), 2**63 if time.end is None else time.end)
    if (high - low) // interval > MAX_BUCKETS:
        raise QueryError(f"A histogram has at most {MAX_BUCKETS} buckets: choose a longer interval or a shorter time")


def _newest_ingested(places: list[_Place]) -> int | None:
    newest = [index.newest_ingested(place.searcher) for place in places]
    return max((stamp for stamp in newest if stamp is not None), default=None)


class _Merge:
    """The first hits over several partitions in the order (time, id), or its reverse.

    Ties are complete: when the last hit shares its time with others, those that come first by id are among the
    result, because rows carry a number that orders as their ids do. Where even that is equal all of them are returned,
    so that the caller, who knows the ids once events are loaded, decides.
    """

    def __init__(self, asked: IndexQuery, cursor: Cursor | None, *, newest: bool) -> None:
        self._asked = asked
        self._cursor = cursor
        self._newest = newest

    def first(self, places: list[_Place], size: int) -> list[_Hit]:
        """At least the first `size` hits after the cursor, if there are so many, and few more."""
        places = sorted(places, key=lambda p: p.high if self._newest else -p.low, reverse=True)
        found: list[_Hit] = []
        for place in places:
            if len(found) >= size and self._is_beyond(place, found[size - 1].row.time):
                break
            found += self._rows(place, size)
            found.sort(key=lambda hit: (hit.row.time, hit.row.tie), reverse=self._newest)
            found = self._cut(found, size)
        return found

    def _is_beyond(self, place: _Place, time: int) -> bool:
        return place.high < time if self._newest else place.low > time

    def _cut(self, hits: list[_Hit], size: int) -> list[_Hit]:
        if len(hits) <= size:
            return hits
        last = hits[size - 1].row
        end = size
        while end < len(hits) and (hits[end].row.time, hits[end].row.tie) == (last.time, last.tie):
            end += 1
        return hits[:end]

    def _rows(self, place: _Place, size: int) -> list[_Hit]:
        """The first hits of one partition that come after the cursor."""
        rows = [] if self._cursor is None else self._rest_of_group(place, self._cursor)
        more = index.first_rows(place.searcher, self._beyond_cursor(), size, newest=self._newest)
        if len(more) >= size:
            edge = more[-1].time
            more = [row for row in more if row.time != edge] + self._group(place, edge)
        hits = [_Hit(row, place.searcher) for row in rows + more]
        hits.sort(key=lambda hit: (hit.row.time, hit.row.tie), reverse=self._newest)
        return self._cut(hits, size)

    def _rest_of_group(self, place: _Place, cursor: Cursor) -> list[Row]:
        """What shares the cursor's time and comes after it by id."""
        rank = index.tie(cursor.id)
        rest: list[Row] = []
        for row in self._group(place, cursor.time):
            if row.tie == rank:
                beyond = index.load(place.searcher, row).id
                taken = beyond < cursor.id if self._newest else beyond > cursor.id
            else:
                taken = row.tie < rank if self._newest else row.tie > rank
            if taken:
                rest.append(row)
        return rest

    def _beyond_cursor(self) -> IndexQuery:
        if self._cursor is None:
            return self._asked
        time = self._cursor.time
        rest = index.time_query("time", None, time - 1) if self._newest else index.time_query("time", time + 1, None)
        return all_of([self._asked, rest])

    def _group(self, place: _Place, time: int) -> list[Row]:
        """All matches of one time."""
        same = all_of([self._asked, index.time_query("time", time, time)])
        amount = index.count(place.searcher, same)
        return index.first_rows(place.searcher, same, amount, newest=self._newest) if amount else []
