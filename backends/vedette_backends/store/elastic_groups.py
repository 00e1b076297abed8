"""Groups of events, counted by Elasticsearch.

Fields of the catalogue have columns, and a composite aggregation over them gives their combinations page by page. Names
below `vedette.other` share one column, so their values are terms of it with a prefix, counted inside of the others.
The server keeps spellings apart (`Root`, `root`); they are joined here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from vedette_backends.store import elastic_patterns as patterns
from vedette_backends.store.elastic_documents import kv_prefix
from vedette_backends.store.elastic_mapping import KV_FIELD, TIME_FIELD
from vedette_backends.store.elastic_query import Dsl, compile_query
from vedette_backends.store.elastic_search import TooManyPartsError, total_of
from vedette_backends.store.grouping import Grouping, Values, check_fields
from vedette_backends.store.protocol import Group, TimeRange
from vedette_engine.alerting.groups import canonical
from vedette_engine.query import tree
from vedette_engine.query.fields import Kind, kind_of, other_name

_PAGE: Final = 1000
_RECOUNTED: Final = 200
_LEAST: Final = 8
_SPAN: Final[Dsl] = {"first": {"min": {"field": TIME_FIELD}}, "last": {"max": {"field": TIME_FIELD}}}

Ask = Callable[[Dsl], Any]


def read_groups(ask: Ask, query: Dsl, fields: Sequence[str], limit: int) -> tuple[list[Group], bool]:
    """See `Store.groups`.

    Args:
        ask: puts a search to the events of the namespace.
        query: which events.
        fields: what to group by.
        limit: so many groups at most.
    """
    check_fields(fields)
    found = Grouping(limit)
    if fields:
        _Reader(ask, query, tuple(fields), found).read(limit)
    else:
        answer = ask({"query": query, "size": 0, "track_total_hits": True, "aggs": _SPAN})
        if total_of(answer):
            found.add(Group((), total_of(answer), *_span(answer["aggregations"])))
    return found.result()


@dataclass(slots=True)
class _Reader:
    ask: Ask
    query: Dsl
    fields: tuple[str, ...]
    found: Grouping
    joined: dict[Values, None] = field(default_factory=dict)
    """Groups that came in several spellings."""

    def read(self, limit: int) -> None:
        """Gather until the end, or until the limit is passed."""
        columns = [place for place, name in enumerate(self.fields) if kind_of(name) is not Kind.OTHER]
        after: Dsl | None = None
        page, width = _PAGE, limit + 1
        while not self.found.more:
            try:
                answer = self.ask(self._question(columns, after, page, width)).get("aggregations")
            except TooManyPartsError:
                # Shorter pages cost requests only; fewer values of a name may leave groups out, which `more` says.
                if columns and page > 1:
                    page = page // 4 or 1
                elif width > _LEAST:
                    width //= 2
                else:
                    raise
                continue
            if answer is None:
                break
            after = self._take_up(columns, answer)
            if after is None:
                break
        self._recount()

    def _question(self, columns: list[int], after: Dsl | None, page: int, width: int) -> Dsl:
        inner = self._others([place for place in range(len(self.fields)) if place not in columns], width)
        if not columns:
            return {"query": self.query, "size": 0, "aggs": inner}
        sources = [{str(place): {"terms": {"field": self.fields[place], "missing_bucket": True}}} for place in columns]
        composite: Dsl = {"size": page, "sources": sources}
        if after is not None:
            composite["after"] = after
        return {"query": self.query, "size": 0, "aggs": {"groups": {"composite": composite, "aggs": inner}}}

    def _others(self, places: list[int], width: int) -> Dsl:
        """Aggregations over the names below `vedette.other`, one inside the other."""
        if not places:
            return _SPAN
        name = other_name(self.fields[places[0]])
        inner = self._others(places[1:], width)
        include = patterns.escape(kv_prefix(name)) + ".*"
        terms = {"field": KV_FIELD, "include": include, "size": width, "shard_size": width}
        return {
            f"with {places[0]}": {"terms": terms, "aggs": inner},
            f"without {places[0]}": {"filter": {"bool": {"must_not": [_has(name)]}}, "aggs": inner},
        }

    def _take_up(self, columns: list[int], answer: Any) -> Dsl | None:
        """Add what an answer tells; returns where the next page begins, None at the end."""
        blank: list[str | None] = [None] * len(self.fields)
        if not columns:
            self._descend(answer, blank, 1)
            return None
        for bucket in answer["groups"]["buckets"]:
            values = blank.copy()
            for place in columns:
                key = bucket["key"][str(place)]
                values[place] = None if key is None else self._spelled(place, key)
            self._descend(bucket, values, bucket["doc_count"])
        following: Dsl | None = answer["groups"].get("after_key")
        return following

    def _descend(self, level: Any, values: list[str | None], count: int) -> None:
        """Add the groups below one bucket."""
        if "first" in level:
            if count:
                self._add(Group(tuple(values), count, *_span(level)))
            return
        place = min(int(name.split()[1]) for name in level if name.startswith("with "))
        below = level[f"with {place}"]
        self.found.more |= below["sum_other_doc_count"] > 0
        prefix = kv_prefix(other_name(self.fields[place]))
        for bucket in below["buckets"]:
            spelled = self._spelled(place, bucket["key"].removeprefix(prefix))
            self._descend(bucket, [*values[:place], spelled, *values[place + 1 :]], bucket["doc_count"])
        missing = level[f"without {place}"]
        self._descend(missing, values, missing["doc_count"])

    def _add(self, group: Group) -> None:
        if self.found.add(group):
            self.joined[group.values] = None

    def _spelled(self, place: int, key: Any) -> str:
        return canonical(self.fields[place], key)

    def _recount(self) -> None:
        """Count them again: an event may hold more than one of the spellings."""
        joined = iter(self.joined)
        while chunk := list(islice(joined, _RECOUNTED)):
            filters = [{"bool": {"filter": list(self._parts(values))}} for values in chunk]
            counting = {"counts": {"filters": {"filters": filters}}}
            answer = self.ask({"query": self.query, "size": 0, "aggs": counting}).get("aggregations")
            if answer is not None:
                counts = [bucket["doc_count"] for bucket in answer["counts"]["buckets"]]
                self.found.recounted(dict(zip(chunk, counts, strict=True)))

    def _parts(self, values: Values) -> Iterator[Dsl]:
        for name, value in zip(self.fields, values, strict=True):
            if value is not None:
                yield compile_query(tree.Term(name, value), TimeRange())
            elif kind_of(name) is Kind.OTHER:
                yield {"bool": {"must_not": [_has(other_name(name))]}}
            else:
                yield {"bool": {"must_not": [{"exists": {"field": name}}]}}


def _has(name: str) -> Dsl:
    return {"prefix": {KV_FIELD: {"value": kv_prefix(name)}}}


def _span(level: Any) -> tuple[int, int]:
    return int(level["first"]["value"]), int(level["last"]["value"])
