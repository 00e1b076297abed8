"""From what was asked to what every store answers the same way: values of the field's type, and refusals.

`resolve` is the first step of each store's compiler and of the naive evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

from vedette_engine.query import tree
from vedette_engine.query.fields import ORDERED_KINDS, TEXT_KINDS, Kind, kind_of
from vedette_engine.query.patterns import (
    MAX_PATTERN,
    canonical_regex,
    escape_wildcard,
    wildcard_literal,
    wildcard_parts,
)
from vedette_engine.query.tree import Query, QueryError
from vedette_engine.query.values import address_number, date_bounds, network_bounds, text_of

MAX_DEPTH = 64
"""Levels of a tree; deeper ones are refused, so that no walk over a tree can exhaust the stack."""

MAX_NODES = 2048

_LONG = (-(2**63), 2**63 - 1)


def resolve(query: Query) -> Query:
    """The same question with typed values: str for text, int, float, bool; dates as ms, addresses as 128-bit numbers.

    In the result:
        Term: the field is of a text kind (str), INTEGER (int), FLOAT (float) or BOOLEAN (bool).
        Range: the field is INTEGER, FLOAT, DATE or IP; bounds are closed numbers, None is open.
        Wildcard: a text kind, with at least one wildcard, nothing escaped needlessly.
        Regex: a text kind, in the form of `patterns.canonical_regex`.
        Cidr never occurs (it is a Range), nor do And, Or with one part.

    Raises:
        QueryError: the field's type cannot do this, the value is not of its type, or the tree is too large.
    """
    return _Resolver().resolve(query, 0)


@dataclass(slots=True)
class _Resolver:
    nodes: int = 0

    def resolve(self, query: Query, depth: int) -> Query:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise QueryError("The query is too large or too deeply nested")
        if isinstance(query, tree.And | tree.Or):
            parts = tuple(self.resolve(part, depth + 1) for part in query.parts)
            return parts[0] if len(parts) == 1 else type(query)(parts)
        if isinstance(query, tree.Not):
            return tree.Not(self.resolve(query.part, depth + 1))
        typed = _LEAVES.get(type(query))
        return query if typed is None else typed(query)


def _term(query: tree.Term) -> Query:
    kind = kind_of(query.field)
    text = text_of(query.value).strip() if kind not in TEXT_KINDS else text_of(query.value)
    if kind is Kind.DATE:
        return tree.Range(query.field, *_date(query.field, text))
    if kind is Kind.IP:
        if "/" in text:
            return _cidr(tree.Cidr(query.field, text))
        number = _address(query.field, text)
        return tree.Range(query.field, number, number)
    if kind is Kind.BOOLEAN:
        if text not in {"true", "false"}:
            raise QueryError(f"{query.field} is true or false")
        return tree.Term(query.field, text == "true")
    if kind in {Kind.INTEGER, Kind.FLOAT}:
        return tree.Term(query.field, _number(query.field, kind, text))
    return tree.Term(query.field, text)


def _text(query: tree.Text) -> Query:
    if query.field is not None and kind_of(query.field) is not Kind.WORDS:
        raise QueryError(f"Words are looked for in all values or in message; write a pattern for {query.field}: *word*")
    return query


def _wildcard(query: tree.Wildcard) -> Query:
    kind = kind_of(query.field)
    if query.pattern.strip("*") == "" and query.pattern:
        return tree.Exists(query.field)
    literal = wildcard_literal(query.pattern)
    if literal is not None:
        return _term(tree.Term(query.field, literal))
    if kind not in TEXT_KINDS:
        hint = ": ask for a network such as 192.0.2.0/24" if kind is Kind.IP else ": ask for a range"
        raise QueryError(f"{query.field} does not hold text, so * and ? cannot be used{hint}")
    if len(query.pattern) > MAX_PATTERN:
        raise QueryError(f"The pattern is longer than {MAX_PATTERN} characters")
    parts = wildcard_parts(query.pattern)
    return tree.Wildcard(query.field, "".join(part if wild else escape_wildcard(part) for part, wild in parts))


def _regex(query: tree.Regex) -> Query:
    if kind_of(query.field) not in TEXT_KINDS:
        raise QueryError(f"{query.field} does not hold text, so regular expressions cannot be used")
    pattern = canonical_regex(query.pattern)
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        raise QueryError(f"The regular expression cannot be read: {_reason(error)}") from error
    return tree.Regex(query.field, pattern)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _range(query: tree.Range) -> Query:
    kind = kind_of(query.field)
    if kind not in ORDERED_KINDS:
        raise QueryError(f"{query.field} holds text: ranges are for numbers, dates and addresses")
    lower = _lower_bound(kind)
    low = None if query.low is None else lower(query.field, text_of(query.low).strip(), query.include_low)
    upper = _upper_bound(kind)
    high = None if query.high is None else upper(query.field, text_of(query.high).strip(), query.include_high)
    return tree.Range(query.field, low, high)


_Bound = Callable[[str, str, bool], int | float]


def _lower_bound(kind: Kind) -> _Bound:
    if kind is Kind.DATE:
        return lambda field, text, closed: _date(field, text)[0] if closed else _date(field, text)[1] + 1
    if kind is Kind.IP:
        return lambda field, text, closed: _address(field, text) + (not closed)
    if kind is Kind.FLOAT:
        return lambda field, text, closed: _float_bound(field, text, closed, math.inf)
    return _integer_low


def _upper_bound(kind: Kind) -> _Bound:
    if kind is Kind.DATE:
        return lambda field, text, closed: _date(field, text)[1] if closed else _date(field, text)[0] - 1
    if kind is Kind.IP:
        return lambda field, text, closed: _address(field, text) - (not closed)
    if kind is Kind.FLOAT:
        return lambda field, text, closed: _float_bound(field, text, closed, -math.inf)
    return _integer_high


def _float_bound(field: str, text: str, closed: bool, towards: float) -> float:  # noqa: FBT001 # a bound is closed or not
    number = _float(field, text)
    return number if closed else math.nextafter(number, towards)


def _integer_low(field: str, text: str, closed: bool) -> int:  # noqa: FBT001 # a bound is closed or not
    number = _integer_or_float(field, text)
    if isinstance(number, int):
        return number + (not closed)
    return math.ceil(number)


def _integer_high(field: str, text: str, closed: bool) -> int:  # noqa: FBT001 # a bound is closed or not
    number = _integer_or_float(field, text)
    if isinstance(number, int):
        return number - (not closed)
    return math.floor(number)


def _cidr(query: tree.Cidr) -> Query:
    if kind_of(query.field) is not Kind.IP:
        raise QueryError(f"{query.field} does not hold IP addresses, so it cannot be compared with a network")
    bounds = network_bounds(query.network.strip())
    if bounds is None:
        raise QueryError(f"“{query.network[:64]}” is not a network such as 192.0.2.0/24")
    return tree.Range(query.field, *bounds)


def _number(field: str, kind: Kind, text: str) -> int | float:
    if kind is Kind.FLOAT:
        return _float(field, text)
    number = _integer_or_float(field, text)
    if isinstance(number, float):
        if not number.is_integer():
            raise QueryError(f"{field} holds whole numbers")
        return int(number)
    return number


def _integer_or_float(field: str, text: str) -> int | float:
    if len(text) <= 20 and text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
        return min(max(int(text), _LONG[0] - 1), _LONG[1] + 1)
    return _float(field, text)


def _float(field: str, text: str) -> float:
    try:
        number = float(text) if len(text) <= 64 and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise QueryError(f"{field} holds numbers; “{text[:64]}” is not one")
    return number + 0.0


def _address(field: str, text: str) -> int:
    number = address_number(text) if len(text) <= 64 else None
    if number is None:
        raise QueryError(f"{field} holds IP addresses; “{text[:64]}” is not one")
    return number


def _date(field: str, text: str) -> tuple[int, int]:
    bounds = date_bounds(text)
    if bounds is None:
        raise QueryError(f"{field} holds dates; “{text[:64]}” is not one such as 2026-11-22T10:00:00Z")
    return bounds


_LEAVES: dict[type, Callable[[Any], Query]] = {
    tree.Term: _term,
    tree.Text: _text,
    tree.Wildcard: _wildcard,
    tree.Regex: _regex,
    tree.Range: _range,
    tree.Cidr: _cidr,
}
