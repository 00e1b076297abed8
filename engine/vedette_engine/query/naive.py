"""What a query means: the specification that every store is tested against, one document at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import re2

from vedette_engine.query import tree
from vedette_engine.query.fields import (
    INGESTED,
    OTHER,
    SEARCHABLE_CHARACTERS,
    TIME,
    WORD_CHARACTERS,
    Kind,
    kind_of,
    other_name,
)
from vedette_engine.query.patterns import wildcard_regex
from vedette_engine.query.resolve import resolve
from vedette_engine.query.tree import Query
from vedette_engine.query.values import address_number, date_bounds, fold, leaves, text_of, words

Document = Mapping[str, Any]
Matcher = Callable[[Document], bool]

_STAMPS = frozenset({TIME, INGESTED})


def matches(query: Query, document: Document) -> bool:
    """Whether the stored document satisfies the query. Raises QueryError for what cannot be asked."""
    return matcher(query)(document)


def matcher(query: Query) -> Matcher:
    """The query as a predicate over stored documents."""
    return _compile(resolve(query))


def _compile(query: Query) -> Matcher:
    return _COMPILERS[type(query)](query)


def _values(field: str) -> Callable[[Document], Iterator[Any]]:
    """The scalars of a field."""
    if kind_of(field) is Kind.OTHER:
        name = other_name(field)
        return lambda document: leaves(document.get(OTHER, {}).get(name))
    return lambda document: leaves(document.get(field))


def _and(query: tree.And) -> Matcher:
    parts = [_compile(part) for part in query.parts]
    return lambda document: all(part(document) for part in parts)


def _or(query: tree.Or) -> Matcher:
    parts = [_compile(part) for part in query.parts]
    return lambda document: any(part(document) for part in parts)


def _not(query: tree.Not) -> Matcher:
    part = _compile(query.part)
    return lambda document: not part(document)


def _exists(query: tree.Exists) -> Matcher:
    if query.field in _STAMPS:
        return lambda _document: True
    values = _values(query.field)
    return lambda document: next(values(document), None) is not None


def _term(query: tree.Term) -> Matcher:
    values, wanted = _values(query.field), query.value
    if isinstance(wanted, str):
        folded = fold(wanted)
        return lambda document: any(fold(text_of(value)) == folded for value in values(document))
    is_flag = isinstance(wanted, bool)
    return lambda document: any(value == wanted and isinstance(value, bool) == is_flag for value in values(document))


def _wildcard(query: tree.Wildcard) -> Matcher:
    return _pattern(query.field, f"(?is){wildcard_regex(query.pattern)}")


def _regex(query: tree.Regex) -> Matcher:
    return _pattern(query.field, f"(?s){query.pattern}")


def _pattern(field: str, pattern: str) -> Matcher:
    values, compiled = _values(field), re2.compile(pattern)

    def match(document: Document) -> bool:
        texts = map(text_of, values(document))
        return any(compiled.fullmatch(text) for text in texts if len(text) <= SEARCHABLE_CHARACTERS)

    return match


def _range(query: tree.Range) -> Matcher:
    values, number, low, high = _values(query.field), _NUMBERS[kind_of(query.field)], query.low, query.high

    def match(document: Document) -> bool:
        numbers = map(number, values(document))
        return any(
            n is not None and (low is None or low <= n) and (high is None or n <= high)  # type: ignore[operator]  # resolved bounds are numbers
            for n in numbers
        )

    return match


def _plain_number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _date_number(value: Any) -> int | None:
    bounds = date_bounds(value) if isinstance(value, str) else None
    return bounds[0] if bounds else None


def _address(value: Any) -> int | None:
    return address_number(value) if isinstance(value, str) else None


_NUMBERS: Mapping[Kind, Callable[[Any], float | None]] = {
    Kind.INTEGER: _plain_number,
    Kind.FLOAT: _plain_number,
    Kind.DATE: _date_number,
    Kind.IP: _address,
}


def _text(query: tree.Text) -> Matcher:
    wanted = words(query.text)
    if not wanted:
        return lambda _document: False
    texts = _all_texts if query.field is None else _texts_of(_values(query.field))
    return lambda document: any(_holds(words(text[:WORD_CHARACTERS]), wanted) for text in texts(document))


def _texts_of(values: Callable[[Document], Iterator[Any]]) -> Callable[[Document], Iterator[str]]:
    return lambda document: (text_of(value) for value in values(document) if not isinstance(value, bool | float))


def _all_texts(document: Document) -> Iterator[str]:
    """Every text and whole number of a document but the two time stamps."""
    for field, value in document.items():
        found = document[OTHER].values() if field == OTHER else () if field in _STAMPS else (value,)
        for one in found:
            yield from (text_of(leaf) for leaf in leaves(one) if not isinstance(leaf, bool | float))


def _holds(all_words: list[str], wanted: list[str]) -> bool:
    """Whether the words stand in the list in this order, one after the other."""
    width = len(wanted)
    return any(all_words[at : at + width] == wanted for at in range(len(all_words) - width + 1))


_COMPILERS: Mapping[type, Callable[[Any], Matcher]] = {
    tree.MatchAll: lambda _query: lambda _document: True,
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
