"""From a query tree to Elasticsearch's query language: one function per node, after `resolve` has typed the values."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from vedette_backends.store import elastic_patterns as patterns
from vedette_backends.store.elastic_documents import (
    digest_term,
    exists_term,
    kv_prefix,
    long_code,
    phrase_of,
)
from vedette_backends.store.elastic_mapping import (
    INGESTED_FIELD,
    KV_FIELD,
    LONG_FIELD,
    TIME_FIELD,
    WORDS_FIELD,
    WORDS_FIELDS,
)
from vedette_backends.store.protocol import TimeRange
from vedette_engine.query import tree
from vedette_engine.query.fields import INGESTED, TIME, Kind, kind_of, other_name
from vedette_engine.query.resolve import resolve
from vedette_engine.query.tree import Query, QueryError

Dsl = dict[str, Any]

_STAMPS: Final = {TIME: TIME_FIELD, INGESTED: INGESTED_FIELD}
_LONG: Final = (-(2**63), 2**63 - 1)
_DATE: Final = (-(10**16), 10**16)
_ADDRESS: Final = (0, 2**128 - 1)
_ALL: Final[Dsl] = {"match_all": {}}
_NONE: Final[Dsl] = {"match_none": {}}


def compile_query(query: Query, time: TimeRange, ingested_until: int | None = None) -> Dsl:
    """The query of a tree inside a range of event time. Raises QueryError for what cannot be asked."""
    parts = [] if isinstance(query, tree.MatchAll) else [_compile(resolve(query))]
    if time.start is not None or time.end is not None:
        parts.append(_between(TIME_FIELD, time.start, None if time.end is None else time.end - 1, _LONG))
    if ingested_until is not None:
        parts.append(_between(INGESTED_FIELD, None, ingested_until, _LONG))
    return _every(parts)


def _compile(query: Query) -> Dsl:
    return _COMPILERS[type(query)](query)


def _every(parts: list[Dsl]) -> Dsl:
    if not parts:
        return _ALL
    return parts[0] if len(parts) == 1 else {"bool": {"filter": parts}}


def _some(parts: list[Dsl]) -> Dsl:
    if not parts:
        return _NONE
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


def _and(query: tree.And) -> Dsl:
    """Negated parts exclude directly."""
    wanted = [_compile(part) for part in query.parts if not isinstance(part, tree.Not)]
    unwanted = [_compile(part.part) for part in query.parts if isinstance(part, tree.Not)]
    if not unwanted:
        return _every(wanted)
    return {"bool": {"filter": wanted or [_ALL], "must_not": unwanted}}


def _not(query: tree.Not) -> Dsl:
    return {"bool": {"must_not": [_compile(query.part)]}}


def _exists(query: tree.Exists) -> Dsl:
    if query.field in _STAMPS:
        return _ALL
    if kind_of(query.field) is Kind.OTHER:
        name = other_name(query.field)
        short: Dsl = {"prefix": {KV_FIELD: {"value": kv_prefix(name)}}}
        return _some([short, _is(LONG_FIELD, exists_term(long_code(name, other=True)))])
    long = _is(LONG_FIELD, exists_term(long_code(query.field, other=False)))
    return _some([{"exists": {"field": query.field}}, long])


def _is(field: str, value: object) -> Dsl:
    return {"term": {field: {"value": value}}}


def _term(query: tree.Term) -> Dsl:
    value = query.value
    if isinstance(value, str):
        return _text_term(query.field, value)
    if isinstance(value, bool):
        return _is(query.field, value)
    if isinstance(value, float):
        return _between(query.field, value, value, (-_MAX_FLOAT, _MAX_FLOAT))
    return _is(query.field, value) if _LONG[0] <= value <= _LONG[1] else _NONE


def _text_term(field: str, text: str) -> Dsl:
    other = kind_of(field) is Kind.OTHER
    if len(text) > patterns.MAX_FOLDED:
        code = long_code(other_name(field) if other else field, other=other)
        return _is(LONG_FIELD, digest_term(code, text))
    if patterns.has_case(text):
        return _pattern(field, patterns.folded(text))
    return _is(KV_FIELD, kv_prefix(other_name(field)) + text) if other else _is(field, text)


def _wildcard(query: tree.Wildcard) -> Dsl:
    return _pattern(query.field, patterns.wildcard(query.pattern))


def _regex(query: tree.Regex) -> Dsl:
    return _pattern(query.field, patterns.regex(query.pattern))


def _pattern(field: str, expression: str) -> Dsl:
    if kind_of(field) is Kind.OTHER:
        field, expression = KV_FIELD, f"{patterns.escape(kv_prefix(other_name(field)))}({expression or '()'})"
    return {"regexp": {field: {"value": patterns.checked(expression), "flags": "NONE"}}}


def _text(query: tree.Text) -> Dsl:
    words = phrase_of(query.text)
    if not words:
        return _NONE
    fields = [WORDS_FIELD, *WORDS_FIELDS.values()] if query.field is None else [WORDS_FIELDS[query.field]]
    return _some([{"match_phrase": {field: {"query": words}}} for field in fields])


def _range(query: tree.Range) -> Dsl:
    low, high = query.low, query.high
    if isinstance(low, str) or isinstance(high, str):
        raise QueryError("a range was not resolved")
    stamp = _STAMPS.get(query.field)
    if stamp is not None:
        return _between(stamp, low, high, _LONG)
    kind = kind_of(query.field)
    if kind is Kind.IP:
        return _addresses(query.field, low, high)
    if kind is Kind.DATE:
        found = _between(query.field, low, high, _DATE)
        if "range" in found:
            found["range"][query.field]["format"] = "epoch_millis"
        return found
    return _between(query.field, low, high, (-_MAX_FLOAT, _MAX_FLOAT) if kind is Kind.FLOAT else _LONG)


_MAX_FLOAT: Final = 1.7976931348623157e308


def _between(field: str, low: float | None, high: float | None, limits: tuple[float, float]) -> Dsl:
    """Bounds: low ≤ field ≤ high; None is open."""
    first, last = limits[0] if low is None else low, limits[1] if high is None else high
    if first > last or first > limits[1] or last < limits[0]:
        return _NONE
    first, last = max(first, limits[0]), min(last, limits[1])
    if isinstance(limits[0], float):
        # Elasticsearch tells the two zeros apart.
        first, last = -0.0 if first == 0 else first, last + 0.0
    return {"range": {field: {"gte": first, "lte": last}}}


def _addresses(field: str, low: float | None, high: float | None) -> Dsl:
    first, last = _ADDRESS[0] if low is None else int(low), _ADDRESS[1] if high is None else int(high)
    if first > last or first > _ADDRESS[1] or last < 0:
        return _NONE
    first, last = max(first, 0), min(last, _ADDRESS[1])
    return {"range": {field: {"gte": str(ipaddress.IPv6Address(first)), "lte": str(ipaddress.IPv6Address(last))}}}


_COMPILERS: dict[type, Callable[[Any], Dsl]] = {
    tree.MatchAll: lambda _query: _ALL,
    tree.And: _and,
    tree.Or: lambda query: _some([_compile(part) for part in query.parts]),
    tree.Not: _not,
    tree.Exists: _exists,
    tree.Term: _term,
    tree.Text: _text,
    tree.Wildcard: _wildcard,
    tree.Regex: _regex,
    tree.Range: _range,
}
"""`resolve` leaves no other node: networks become ranges."""
