"""Whether the search of a rule can be run: everything that is wrong with it, told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vedette_crds.alertrule import Comparison, Search
from vedette_crds.duration import format_duration
from vedette_crds.problems import Problem
from vedette_engine.alerting.groups import GROUPABLE
from vedette_engine.alerting.searches import MAX_EVENTS, Limits, SearchSpec
from vedette_engine.query import lucene, tree
from vedette_engine.query.fields import INGESTED, TIME, kind_of
from vedette_engine.query.tree import Query, QueryError

PATH: Final = "spec.search"
SECOND: Final = 1_000
DAY: Final = 86_400_000
BOUNDS: Final[Mapping[str, tuple[int, int]]] = {"every": (SECOND, DAY), "window": (SECOND, 30 * DAY)}
"""How short and how long they may be, ms."""

_STAMPS: Final = frozenset({TIME, INGESTED, "vedette.stored"})


def check_search(search: Search) -> tuple[SearchSpec, list[Problem]]:
    """The search with what is wrong with it; with problems it must not be run. Paths are those of the AlertRule."""
    spec = SearchSpec.of(search)
    return spec, [*_times(spec), *_query(search.query), *_fields(search), *_limits(search)]


def _times(spec: SearchSpec) -> Iterator[Problem]:
    for name, (low, high) in BOUNDS.items():
        value = getattr(spec, name)
        if not low <= value <= high:
            hint = f"{name} is {format_duration(low)} to {format_duration(high)}"
            yield Problem(f"{format_duration(value)} is too {'short' if value < low else 'long'}", "", _at(name), hint)


def _query(text: str) -> Iterator[Problem]:
    path = _at("query")
    try:
        query = lucene.parse(text)
    except QueryError as error:
        place = "" if error.position is None else f", at character {error.position + 1}"
        yield Problem(f"{error}{place}", path=path, hint="queries have Lucene's syntax, as in the search bar")
        return
    for name in sorted(_names(query) & _STAMPS):
        yield Problem(f"the query asks for {name}", path=path, hint="`window` says which times are looked at")


def _names(query: Query) -> set[str]:
    """The fields that a query names."""
    if isinstance(query, tree.And | tree.Or):
        return set().union(*map(_names, query.parts))
    if isinstance(query, tree.Not):
        return _names(query.part)
    field = None if isinstance(query, tree.MatchAll) else query.field
    return set() if field is None else {field}


def _fields(search: Search) -> Iterator[Problem]:
    for index, name in enumerate(search.group_by):
        path = _at(f"groupBy[{index}]")
        if name in search.group_by[:index]:
            yield Problem(f"{name} is named twice", path=path)
        yield from _groupable(name, path)
    if search.condition.distinct is not None:
        yield from _groupable(search.condition.distinct.field, _at("condition.distinct.field"))


def _groupable(name: str, path: str) -> Iterator[Problem]:
    kind = kind_of(name)
    if kind not in GROUPABLE:
        hint = "take a field that holds names, addresses or codes"
        yield Problem(f"{name} is a {kind.value}, whose values hardly ever repeat", path=path, hint=hint)


def _limits(search: Search) -> Iterator[Problem]:
    if search.condition.count is not None:
        yield from _sensible(search.condition.count, _at("condition.count"))
    if search.condition.distinct is not None:
        yield from _sensible(search.condition.distinct, _at("condition.distinct"))


def _sensible(limits: Comparison, path: str) -> Iterator[Problem]:
    """A limit that each window satisfies, or none, is a mistake."""
    given = (("gte", limits.gte, 0.0, MAX_EVENTS), ("gt", limits.gt, -1.0, MAX_EVENTS - 1))
    for name, limit, always, most in given:
        if limit is None:
            continue
        if limit <= always:
            yield Problem(f"any number satisfies {name} {limit:g}", path=f"{path}.{name}", hint="ask for gte 1 or more")
        elif limit > most:
            hint = f"{MAX_EVENTS:,} events of a group are looked at: shorten the window, or group by more fields"
            yield Problem(f"no window satisfies {name} {limit:g}", path=f"{path}.{name}", hint=hint)


def _at(path: str) -> str:
    return f"{PATH}.{path}"


def describe(spec: SearchSpec) -> str:
    """The condition in words, without the query: `at least 5 events within 10m for each source.ip`."""
    parts = [] if spec.count is None else [f"{_amount(spec.count)} events"]
    if spec.distinct is not None:
        parts.append(f"{_amount(spec.distinct[1])} different values of {spec.distinct[0]}")
    each = f" for each {' and '.join(spec.group_by)}" if spec.group_by else ""
    return f"{' with '.join(parts)} within {format_duration(spec.window)}{each}"


def _amount(limits: Limits) -> str:
    given = [("at least", limits.at_least), ("more than", limits.more_than)]
    return " and ".join(f"{word} {limit:g}" for word, limit in given if limit is not None)
