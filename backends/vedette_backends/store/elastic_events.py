"""Reading events: all days and retention classes of a namespace as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from vedette_backends.errors import NotFoundError
from vedette_backends.store import elastic_patterns as patterns
from vedette_backends.store.elastic_documents import halves, kv_prefix, read_event
from vedette_backends.store.elastic_groups import read_groups
from vedette_backends.store.elastic_http import ADMIN_SECONDS, Api, good, quoted
from vedette_backends.store.elastic_mapping import HIGH_FIELD, INGESTED_FIELD, KV_FIELD, LOW_FIELD, TIME_FIELD
from vedette_backends.store.elastic_names import Names, parse_events_index
from vedette_backends.store.elastic_query import Dsl, compile_query
from vedette_backends.store.elastic_refresh import Freshness
from vedette_backends.store.elastic_search import MAX_BUCKETS, search, total_of
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.protocol import EventPage, Group, Sort, StoredEvent, TimeRange
from vedette_backends.store.stored import STAMPS
from vedette_engine.query.fields import Kind, kind_of, other_name
from vedette_engine.query.tree import Query, QueryError

MAX_SIZE: Final = 10_000
_VALUES_PER_SHARD: Final = 1000
_ID: Final = re.compile(r"[0-9a-f]{32}")
_NOT_OURS: Final = "The page's cursor is not one of ours: start from the first page"


class EventReader:
    """Searches the events of one namespace.

    Args:
        api: of the cluster.
        names: of the namespace.
        forget: told of an index that was removed.
    """

    def __init__(self, api: Api, names: Names, forget: Callable[[str], None]) -> None:
        self._api = api
        self._names = names
        self._forget = forget
        self._fresh = Freshness(api, names.events)

    def get(self, event_id: str) -> StoredEvent | None:
        """One event by id."""
        if not _ID.fullmatch(event_id):
            return None
        hits = self._search({"query": {"ids": {"values": [event_id]}}, "size": 1})["hits"]["hits"]
        return read_event(hits[0]["_id"], hits[0]["_source"]) if hits else None

    def count(self, query: Query, time: TimeRange) -> int:
        """Number of matches."""
        return total_of(self._search({"query": compile_query(query, time), "size": 0, "track_total_hits": True}))

    def search(self, query: Query, time: TimeRange, sort: Sort, size: int, after: str | None) -> EventPage:
        """One page."""
        if not 1 <= size <= MAX_SIZE:
            raise QueryError(f"A page has 1 to {MAX_SIZE} events")
        cursor = None if after is None else _cursor(after)
        order = "desc" if sort is Sort.NEWEST else "asc"
        body: Dsl = {
            "query": compile_query(query, time, cursor.bound if cursor is not None else None),
            # What the page does not hold decides whether there is a next one: ask for one hit more than fits.
            "size": size + 1,
            "sort": [{field: {"order": order}} for field in (TIME_FIELD, HIGH_FIELD, LOW_FIELD)],
            "track_total_hits": True,
        }
        if cursor is None:
            body["aggs"] = {"newest": {"max": {"field": INGESTED_FIELD}}}
        else:
            body["search_after"] = [cursor.time, *halves(cursor.id)]
        found = self._search(body)
        events = [read_event(hit["_id"], hit["_source"]) for hit in found["hits"]["hits"]]
        following = None
        if len(events) > size:
            bound = cursor.bound if cursor is not None else int(found["aggregations"]["newest"]["value"])
            following = Cursor(events[size - 1].time, events[size - 1].id, bound).encode()
        return EventPage(events=events[:size], total=total_of(found), next=following)

    def histogram(self, query: Query, time: TimeRange, interval: int) -> list[tuple[int, int]]:
        """Counts per interval of event time."""
        if interval < 1:
            raise QueryError("The interval of a histogram is at least one millisecond")
        buckets = {"histogram": {"field": TIME_FIELD, "interval": interval, "min_doc_count": 1}}
        ends = {name: {name: {"field": TIME_FIELD}} for name in ("min", "max")}
        body = {"query": compile_query(query, time), "size": 0, "aggs": {"buckets": buckets, **ends}}
        found = self._search(body).get("aggregations")
        if found is None or found["min"]["value"] is None:
            return []
        if (found["max"]["value"] - found["min"]["value"]) // interval > MAX_BUCKETS:
            raise QueryError(
                f"A histogram has at most {MAX_BUCKETS} buckets: choose a longer interval or a shorter time"
            )
        return [(int(bucket["key"]), bucket["doc_count"]) for bucket in found["buckets"]["buckets"]]

    def top_values(self, query: Query, time: TimeRange, field: str, size: int) -> list[tuple[str, int]]:
        """The most frequent values; of equally frequent ones the first in order."""
        if field in STAMPS:
            raise QueryError(f"{field} has too many values: ask for a histogram")
        if size < 1:
            return []
        terms: Dsl = {"field": field, "size": size, "shard_size": max(_VALUES_PER_SHARD, 2 * size)}
        prefix = ""
        if kind_of(field) is Kind.OTHER:
            prefix = kv_prefix(other_name(field))
            terms |= {"field": KV_FIELD, "include": patterns.escape(prefix) + ".*"}
        body = {"query": compile_query(query, time), "size": 0, "aggs": {"values": {"terms": terms}}}
        found = self._search(body).get("aggregations")
        buckets = found["values"]["buckets"] if found else []
        counts = [(_key(bucket).removeprefix(prefix), bucket["doc_count"]) for bucket in buckets]
        return sorted(counts, key=lambda item: (-item[1], item[0]))

    def groups(self, query: Query, time: TimeRange, fields: Sequence[str], limit: int) -> tuple[list[Group], bool]:
        """Groups of the matches."""
        return read_groups(self._search, compile_query(query, time), fields, limit)

    def days(self) -> list[tuple[str, str, int]]:
        """(retention class, day, events) of every index."""
        self._fresh.ensure()
        path = f"/{self._names.events}/_stats/docs?filter_path=indices.*.primaries.docs.count"
        found = good(self._api.call("GET", path)).get("indices", {})
        parsed = ((parse_events_index(name), stats) for name, stats in found.items())
        return sorted(
            (index[1], index[2], stats["primaries"]["docs"]["count"]) for index, stats in parsed if index is not None
        )

    def drop_day(self, retention: str, day: str) -> None:
        """Remove one index. Raises NotFoundError."""
        index = self._names.day(retention, day)
        self._forget(index)
        answer = self._api.call("DELETE", f"/{quoted(index)}", seconds=ADMIN_SECONDS)
        if answer.status == 404:
            raise NotFoundError(f"there are no events of {retention}/{day}")
        good(answer)

    def _search(self, body: Dsl) -> Any:
        if "search_after" not in body:
            self._fresh.ensure()
        return search(self._api, self._names.events, body)


def _key(bucket: Any) -> str:
    key = bucket.get("key_as_string", bucket["key"])
    return key if isinstance(key, str) else repr(key)


def _cursor(text: str) -> Cursor:
    cursor = decode(text)
    if not _ID.fullmatch(cursor.id) or not -(1 << 63) <= cursor.time < 1 << 63:
        raise QueryError(_NOT_OURS)
    if cursor.bound is None:
        raise QueryError(_NOT_OURS)
    return cursor
