"""From a query tree back to the search bar's text, and adding a filter to what stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vedette_engine.query import tree
from vedette_engine.query.fields import Kind, kind_of
from vedette_engine.query.lucene import MAX_TEXT, parse
from vedette_engine.query.patterns import wildcard_parts
from vedette_engine.query.tree import Query, QueryError

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_@.]+")
_WORDS_OF_THE_LANGUAGE = frozenset({"AND", "OR", "NOT", "TO", "_exists_"})
_NEEDS_ESCAPE = re.compile(r'[\s:^~(){}\[\]/"\'+\-\\<>*?!&|]')
_SPACE = re.compile(r"\s")
_EVERYTHING = "*"


def unparse(query: Query) -> str:
    """Text that `lucene.parse` reads as a query with the same meaning.

    Raises:
        QueryError: the language cannot say it: a field's name or a pattern with a line break, or equality of a field
            of words.
    """
    return _WRITERS[type(query)](query)


def with_filter(text: str, field: str, value: str | float | bool, *, negate: bool = False) -> str:  # noqa: FBT001 # true and false are values
    """The search bar's text narrowed to events whose `field` has this value, or has not.

    Raises:
        QueryError: the text cannot be read, becomes too long, or the name cannot be written.
    """
    clause = f"{write_name(field)}:{_value(value)}"
    if negate:
        clause = f"NOT {clause}"
    before = parse(text)
    if isinstance(before, tree.MatchAll):
        return clause
    narrowed = f"{text.strip()} AND {clause}"
    parts = before.parts if isinstance(before, tree.And) else (before,)
    # Brackets only where they are needed: the bar stays readable after many clicks.
    if parse(narrowed) != tree.And((*parts, parse(clause))):
        narrowed = f"({text.strip()}) AND {clause}"
    if len(narrowed) > MAX_TEXT:
        raise QueryError(f"The query would be longer than {MAX_TEXT} characters")
    return narrowed


def write_name(field: str) -> str:
    """A field's name as the language takes it."""
    if _PLAIN_NAME.fullmatch(field) and field not in _WORDS_OF_THE_LANGUAGE:
        return field
    if not field or "\n" in field or field == _EVERYTHING:
        raise QueryError("The field's name cannot be written in a query")
    escaped = _NEEDS_ESCAPE.sub(lambda found: "\\" + found[0], field)
    return "\\" + escaped if field in _WORDS_OF_THE_LANGUAGE else escaped


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(value: str | float | bool) -> str:  # noqa: FBT001 # true and false are values
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quote(value) if isinstance(value, str) else _quote(repr(value))


def _term(query: tree.Term) -> str:
    if kind_of(query.field) is Kind.WORDS:
        raise QueryError(f"{query.field} is searched for words: its whole value cannot be asked for")
    return f"{write_name(query.field)}:{_value(query.value)}"


def _text(query: tree.Text) -> str:
    return _quote(query.text) if query.field is None else f"{write_name(query.field)}:{_quote(query.text)}"


def _wildcard(query: tree.Wildcard) -> str:
    pieces: list[str] = []
    for character, wild in wildcard_parts(query.pattern):
        if character == "\n":
            raise QueryError("A pattern with a line break cannot be written in a query")
        pieces.append(character if wild or not _NEEDS_ESCAPE.match(character) else "\\" + character)
    return f"{write_name(query.field)}:{''.join(pieces)}"


def _regex(query: tree.Regex) -> str:
    if re.search(r"\\\n", query.pattern):
        raise QueryError("A pattern with an escaped line break cannot be written in a query")
    pattern = re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], query.pattern, flags=re.DOTALL)
    return f"{write_name(query.field)}:/{pattern}/"


def _range(query: tree.Range) -> str:
    left, right = "[" if query.include_low else "{", "]" if query.include_high else "}"
    return f"{write_name(query.field)}:{left}{_bound(query.low)} TO {_bound(query.high)}{right}"


def _bound(value: str | float | None) -> str:
    return _EVERYTHING if value is None else _quote(value if isinstance(value, str) else repr(value))


def _and(query: tree.And) -> str:
    if not query.parts:
        return _EVERYTHING
    return unparse(query.parts[0]) if len(query.parts) == 1 else " AND ".join(map(_operand, query.parts))


def _or(query: tree.Or) -> str:
    if not query.parts:
        return f"NOT {_EVERYTHING}"
    return unparse(query.parts[0]) if len(query.parts) == 1 else " OR ".join(map(_operand, query.parts))


def _not(query: tree.Not) -> str:
    return f"NOT {_operand(query.part)}"


def _operand(query: Query) -> str:
    written = unparse(query)
    return f"({written})" if isinstance(query, tree.And | tree.Or) else written


_WRITERS: dict[type, Callable[[Any], str]] = {
    tree.MatchAll: lambda _query: _EVERYTHING,
    tree.Term: _term,
    tree.Text: _text,
    tree.Wildcard: _wildcard,
    tree.Regex: _regex,
    tree.Range: _range,
    tree.Cidr: lambda query: f"{write_name(query.field)}:{_quote(query.network)}",
    tree.Exists: lambda query: f"{write_name(query.field)}:*",
    tree.And: _and,
    tree.Or: _or,
    tree.Not: _not,
}
