"""From a query tree to a query of the index: one function per node, after `resolve` has typed the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vedette_backends.store.partition import SCHEMA, IndexQuery, Occur, all_of, analyse, time_query
from vedette_backends.store.protocol import TimeRange
from vedette_backends.store.tokens import LONG_CHARACTERS, Name, name_of, order_digits
from vedette_engine.query import tree
from vedette_engine.query.fields import INGESTED, TIME, Kind
from vedette_engine.query.patterns import escape, wildcard_regex
from vedette_engine.query.resolve import resolve
from vedette_engine.query.tree import Query, QueryError
from vedette_engine.query.values import fold, text_of

_STAMPS = {TIME: "time", INGESTED: "ingested"}
_LOW = {Kind.FLOAT: -1.7976931348623157e308, Kind.IP: 0}
_HIGH = {Kind.FLOAT: 1.7976931348623157e308, Kind.IP: 2**128 - 1}
_LONG = 2**63


def compile_query(query: Query, time: TimeRange, ingested_until: int | None = None) -> IndexQuery:
    """The index query of a tree inside a range of event time. Raises QueryError for what cannot be asked."""
    parts = [] if isinstance(query, tree.MatchAll) else [_compile(resolve(query))]
    if time.start is not None or time.end is not None:
        parts.append(time_query("time", time.start, None if time.end is None else time.end - 1))
    if ingested_until is not None:
        parts.append(time_query("ingested", None, ingested_until))
    return all_of(parts)


def _compile(query: Query) -> IndexQuery:
    return _COMPILERS[type(query)](query)


def _and(query: tree.And) -> IndexQuery:
    """Negated parts exclude directly, which is cheaper than building their complement first."""
    clauses: list[tuple[Occur, IndexQuery]] = []
    for part in query.parts:
        if isinstance(part, tree.Not):
            clauses.append((Occur.MustNot, _compile(part.part)))
        else:
            clauses.append((Occur.Must, _compile(part)))
    if not any(occur is Occur.Must for occur, _ in clauses):
        clauses.append((Occur.Must, IndexQuery.all_query()))
    return IndexQuery.boolean_query(clauses)


def _or(query: tree.Or) -> IndexQuery:
    return _any([_compile(part) for part in query.parts])


def _any(parts: list[IndexQuery]) -> IndexQuery:
    if not parts:
        return IndexQuery.empty_query()
    return IndexQuery.boolean_query([(Occur.Should, part) for part in parts])


def _not(query: tree.Not) -> IndexQuery:
    return IndexQuery.boolean_query([(Occur.Must, IndexQuery.all_query()), (Occur.MustNot, _compile(query.part))])


def _exists(query: tree.Exists) -> IndexQuery:
    if query.field in _STAMPS:
        return IndexQuery.all_query()
    return IndexQuery.term_query(SCHEMA, "names", name_of(query.field).code, "basic")


def _term(query: tree.Term) -> IndexQuery:
    name = name_of(query.field)
    text = text_of(query.value)
    if name.kind is Kind.FLOAT and isinstance(query.value, float):
        return _is(name.order(order_digits(Kind.FLOAT, query.value)))
    if len(text) > LONG_CHARACTERS:
        return _is(name.digest(text))
    if fold(text) == fold(text.upper()) == text == text.upper():
        return _is(name.value(text))
    return _pattern(name, f"(?i:{escape(text)})")


def _is(term: str) -> IndexQuery:
    return IndexQuery.term_query(SCHEMA, "kv", term, "basic")


def _wildcard(query: tree.Wildcard) -> IndexQuery:
    return _pattern(name_of(query.field), f"(?i:{wildcard_regex(query.pattern)})")


def _regex(query: tree.Regex) -> IndexQuery:
    return _pattern(name_of(query.field), f"(?:{query.pattern})")


def _pattern(name: Name, pattern: str) -> IndexQuery:
    return _matching(f"(?s){escape(name.prefix)}{pattern}")


def _matching(pattern: str) -> IndexQuery:
    try:
        return IndexQuery.regex_query(SCHEMA, "kv", pattern)
    except ValueError as error:
        raise QueryError("The pattern is too long or too intricate: shorten it, or ask for one of its parts") from error


def _text(query: tree.Text) -> IndexQuery:
    words = analyse(query.text)
    if not words:
        return IndexQuery.empty_query()
    fields = ("text", "message") if query.field is None else ("message",)
    return _any([_phrase(field, words) for field in fields])


def _phrase(field: str, words: list[str]) -> IndexQuery:
    if len(words) == 1:
        return IndexQuery.term_query(SCHEMA, field, words[0], "basic")
    return IndexQuery.phrase_query(SCHEMA, field, list(words))


def _range(query: tree.Range) -> IndexQuery:
    low, high = query.low, query.high
    if isinstance(low, str) or isinstance(high, str):
        raise QueryError("a range was not resolved")
    stamp = _STAMPS.get(query.field)
    if stamp is not None:
        return time_query(stamp, _clamped(low), _clamped(high))
    name = name_of(query.field)
    first = _LOW.get(name.kind, -_LONG) if low is None else low
    last = _HIGH.get(name.kind, _LONG - 1) if high is None else high
    if name.kind not in _LOW:
        first, last = max(first, -_LONG), min(last, _LONG - 1)
    if first > last or (name.kind is Kind.IP and (first >= 2**128 or last < 0)):
        return IndexQuery.empty_query()
    start, end = order_digits(name.kind, first), order_digits(name.kind, last)
    return (
        _is(name.order(start))
        if start == end
        else _matching(f"(?s){escape(name.order(''))}{digits_between(start, end)}")
    )


def _clamped(bound: float | None) -> int | None:
    return None if bound is None else min(max(int(bound), -_LONG), _LONG - 1)


def digits_between(low: str, high: str) -> str:
    """A regular expression for the hex numbers from `low` to `high`, all of one width (lower-case digits)."""
    shared = 0
    while shared < len(low) and low[shared] == high[shared]:
        shared += 1
    head, low, high = low[:shared], low[shared:], high[shared:]
    if not low:
        return head
    branches = [f"{low[0]}{_from(low[1:])}", f"{high[0]}{_up_to(high[1:])}"]
    if int(high[0], 16) - int(low[0], 16) > 1:
        branches.append(f"{_digits(int(low[0], 16) + 1, int(high[0], 16) - 1)}{_rest(len(low) - 1)}")
    return f"{head}(?:{'|'.join(branches)})"


def _from(low: str) -> str:
    """All numbers ≥ `low`."""
    if not low.strip("0"):
        return _rest(len(low))
    digit = int(low[0], 16)
    branches = [low[0] + _from(low[1:])]
    if digit < 15:
        branches.append(_digits(digit + 1, 15) + _rest(len(low) - 1))
    return f"(?:{'|'.join(branches)})"


def _up_to(high: str) -> str:
    """All numbers ≤ `high`."""
    if not high.strip("f"):
        return _rest(len(high))
    digit = int(high[0], 16)
    branches = [high[0] + _up_to(high[1:])]
    if digit > 0:
        branches.append(_digits(0, digit - 1) + _rest(len(high) - 1))
    return f"(?:{'|'.join(branches)})"


def _digits(first: int, last: int) -> str:
    return "[" + "0123456789abcdef"[first : last + 1] + "]"


def _rest(width: int) -> str:
    return f"[0-9a-f]{{{width}}}" if width else ""


_COMPILERS: dict[type, Callable[[Any], IndexQuery]] = {
    tree.MatchAll: lambda _query: IndexQuery.all_query(),
    tree.And: _and,
    tree.Or: _or,
    tree.Not: _not,
    tree.Exists: _exists,
    tree.Term: _term,
    tree.Text: _text,
    tree.Wildcard: _wildcard,
    tree.Regex: _regex,
    tree.Range: _range,
}
"""`resolve` leaves no other node: networks become ranges."""
