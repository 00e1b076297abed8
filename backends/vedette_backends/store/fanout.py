"""One question to many partitions: which of them to ask, in which order, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vedette_backends.store import partition as index
from vedette_backends.store.compile import compile_query
from vedette_backends.store.grouping import Grouping, check_fields
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.partition import IndexQuery, Row, Searcher
from vedette_backends.store.partitions import Key, Partitions
from vedette_backends.store.protocol import EventPage, Group, Sort, StoredEvent, TimeRange
from vedette_backends.store.stored import STAMPS, asked_of, for_unstamped
from vedette_backends.store.tokens import name_of
from vedette_engine.query.tree import Query, QueryError

MAX_BUCKETS = 10_000
MAX_SIZE = 10_000
_VALUES_PER_PARTITION = 1000
_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class _Place:
    """A partition that may hold matches of `asked`."""

    key: Key
    searcher: Searcher
    asked: IndexQuery
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
        return sum(index.count(place.searcher, place.asked) for place in self._places(query, time))

    def histogram(self, query: Query, time: TimeRange, interval: int) -> list[tuple[int, int]]:
        """Counts per interval of event time."""
        if interval < 1:
            raise QueryError("The interval of a histogram is at least one millisecond")
        places = self._places(query, time)
        _check_buckets(places, time, interval)
        counts: dict[int, int] = {}
        for place in places:
            for start, amount in index.buckets(place.searcher, place.asked, interval):
                counts[start] = counts.get(start, 0) + amount
        return sorted(counts.items())

    def top_values(self, query: Query, time: TimeRange, field: str, size: int) -> list[tuple[str, int]]:
        """The most frequent values; of equally frequent ones the first in order."""
        if field in STAMPS:
            raise QueryError(f"{field} has too many values: ask for a histogram")
        prefix = name_of(field).prefix
        counts: dict[str, int] = {}
        for place in self._places(query, time):
            limit = max(_VALUES_PER_PARTITION, 2 * size)
            for value, amount in index.values_with_prefix(place.searcher, prefix, place.asked, limit):
                counts[value] = counts.get(value, 0) + amount
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max(size, 0)]

    def groups(self, query: Query, time: TimeRange, fields: Sequence[str], limit: int) -> tuple[list[Group], bool]:
        """Groups of the matches. Documents are read one by one: the index does not know which values go together."""
        check_fields(fields)
        found = Grouping(limit)
        for place in self._places(query, time):
            if not fields:
                _add_span(found, place)
                continue
            for rows in index.row_pages(place.searcher, place.asked, _ROWS):
                for row in rows:
                    found.add_event(index.load(place.searcher, row).document, row.time, fields)
        return found.result()

    def search(self, query: Query, time: TimeRange, sort: Sort, size: int, after: str | None) -> EventPage:
        """One page."""
        if not 1 <= size <= MAX_SIZE:
            raise QueryError(f"A page has 1 to {MAX_SIZE} events")
        cursor = None if after is None else decode(after)
        bound = cursor.bound if cursor is not None else None
        places = self._places(query, time, bound)
        newest = sort is Sort.NEWEST
        totals = {place.key: index.count(place.searcher, place.asked) for place in places}
        # What the last page did not reach decides whether there is a next one: ask for one hit more than fits.
        hits = _Merge(cursor, newest=newest).first([p for p in places if totals[p.key]], size + 1)
        events = [index.load(hit.searcher, hit.row) for hit in hits]
        events.sort(key=lambda event: (event.time, event.id), reverse=newest)
        page, more = events[:size], len(events) > size
        following = None
        if more:
            last = page[-1]
            following = Cursor(last.time, last.id, bound if cursor is not None else _newest_ingested(places)).encode()
        return EventPage(events=page, total=sum(totals.values()), next=following)

    def _places(self, query: Query, time: TimeRange, ingested_until: int | None = None) -> list[_Place]:
        """The partitions that may hold matches, each with the question as it has to be put to it."""
        compiled = compile_query(query, time, ingested_until)
        stamp = asked_of(query)
        if stamp.at_all:
            self._partitions.await_bulk()
        places: list[_Place] = []
        for key in self._partitions.all():
            bounds = self._partitions.bounds(key)
            if bounds is None or (time.end is not None and bounds.low >= time.end):
                continue
            if time.start is not None and bounds.high < time.start:
                continue
            if stamp.since is not None and self._is_older(key, stamp.since):
                continue
            partition = self._partitions.get(key)
            if partition is None or not partition.events:
                continue
            searcher, asked = partition.searcher, compiled
            if stamp.at_all and not index.all_stamped(searcher):
                asked = compile_query(for_unstamped(query), time, ingested_until)
            places.append(_Place(key, searcher, asked, bounds.low, bounds.high))
        return places

    def _is_older(self, key: Key, since: int) -> bool:
        newest = self._partitions.newest_stored(key)
        return newest is not None and newest < since


def _add_span(found: Grouping, place: _Place) -> None:
    amount = index.count(place.searcher, place.asked)
    if amount:
        ends = [index.first_rows(place.searcher, place.asked, 1, newest=newest)[0].time for newest in (False, True)]
        found.add(Group((), amount, *ends))


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

    def __init__(self, cursor: Cursor | None, *, newest: bool) -> None:
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
        more = index.first_rows(place.searcher, self._beyond_cursor(place), size, newest=self._newest)
        if len(more) >= size:
            edge = more[-1].time
            more = [row for row in more if row.time != edge] + index.rows_at(place.searcher, place.asked, edge)
        hits = [_Hit(row, place.searcher) for row in rows + more]
        hits.sort(key=lambda hit: (hit.row.time, hit.row.tie), reverse=self._newest)
        return self._cut(hits, size)

    def _rest_of_group(self, place: _Place, cursor: Cursor) -> list[Row]:
        """What shares the cursor's time and comes after it by id."""
        rank = index.tie(cursor.id)
        rest: list[Row] = []
        for row in index.rows_at(place.searcher, place.asked, cursor.time):
            if row.tie == rank:
                beyond = index.load(place.searcher, row).id
                taken = beyond < cursor.id if self._newest else beyond > cursor.id
            else:
                taken = row.tie < rank if self._newest else row.tie > rank
            if taken:
                rest.append(row)
        return rest

    def _beyond_cursor(self, place: _Place) -> IndexQuery:
        if self._cursor is None:
            return place.asked
        time = self._cursor.time
        rest = index.time_query("time", None, time - 1) if self._newest else index.time_query("time", time + 1, None)
        return index.all_of([place.asked, rest])
