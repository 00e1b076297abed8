r"""The search bar's language: Lucene's query string syntax, as Kibana takes it.

    failed password                     both words, anywhere          "failed password"     the phrase
    host.name:web1  user.name:"a b"     a value, case does not matter host.name:web*        * any run, ? one character
    source.port:>=1024                  also <, <=, >, [1 TO 9], {1 TO 9}, [1 TO *]
    source.ip:192.0.2.0/24              a network
    file.name:/inv-[0-9]+\.exe/         a regular expression for the whole value, case matters
    user.name:*  _exists_:user.name     has a value                   user.name:(root OR admin)
    AND OR NOT + - ( )                  words beside each other mean AND

Differences from Lucene, on purpose: a backslash before a letter or digit is a backslash, so that Windows paths need no
doubling; there are no scores, so boosts and fuzziness are refused instead of ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from luqum import tree as luqum
from luqum.exceptions import ParseError
from luqum.thread import parse as parse_syntax

from vedette_engine.query.fields import Kind, kind_of
from vedette_engine.query.patterns import wildcard_parts
from vedette_engine.query.resolve import MAX_DEPTH, resolve
from vedette_engine.query.tree import (
    And,
    Cidr,
    Exists,
    MatchAll,
    Not,
    Or,
    Query,
    QueryError,
    Range,
    Regex,
    Term,
    Text,
    Wildcard,
)

MAX_TEXT = 8192
"""Characters of a query."""

_POSITION = re.compile(r"at position ([0-9]{1,5})!?\Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_EXISTS = "_exists_"


def parse(text: str) -> Query:
    """The query that the text asks for; an empty text asks for everything.

    Raises:
        QueryError: the text cannot be read or asked; `position` says where.
    """
    if len(text) > MAX_TEXT:
        raise QueryError(f"The query is longer than {MAX_TEXT} characters", MAX_TEXT)
    if not text.strip():
        return MatchAll()
    try:
        syntax = parse_syntax(text)
    except ParseError as error:
        raise _syntax_error(text, error) from error
    except (ArithmeticError, ValueError) as error:  # the library lets `a^.` and `a~.` through to Decimal
        raise QueryError("A number is expected after ^ and ~") from error
    query = _Reader().read(syntax, None, 0)
    resolve(query)
    return query


def _syntax_error(text: str, error: Exception) -> QueryError:
    found = _POSITION.search(str(error))
    if found is None:
        return QueryError("The query ends too early: something is missing, perhaps a closing bracket", len(text))
    position = int(found[1])
    character = text[position : position + 1]
    if character == '"':
        return QueryError("A quotation mark is not closed", position)
    return QueryError(f"“{character}” is not expected here: escape it with \\, or put the value into quotes", position)


class _Reader:
    """One method per kind of syntax node. `field` is the field whose value is being read, None outside of any."""

    def read(self, node: Any, field: str | None, depth: int) -> Query:
        if depth > MAX_DEPTH:
            raise QueryError(f"The query is nested more than {MAX_DEPTH} levels deep", node.pos)
        method = _READERS.get(type(node))
        if method is None:
            raise QueryError(_REFUSED.get(type(node), "This cannot be asked"), node.pos)
        return method(self, node, field, depth)

    def group(self, node: Any, field: str | None, depth: int) -> Query:
        return self.read(node.children[0], field, depth + 1)

    def all_of(self, node: Any, field: str | None, depth: int) -> Query:
        return And(self.parts(node, field, depth, And))

    def any_of(self, node: Any, field: str | None, depth: int) -> Query:
        return Or(self.parts(node, field, depth, Or))

    def parts(self, node: Any, field: str | None, depth: int, kind: type[And | Or]) -> tuple[Query, ...]:
        """The operands; those that are of the same kind are taken apart, so that chains stay flat."""
        parts: list[Query] = []
        for child in node.children:
            part = self.read(child, field, depth + 1)
            parts += part.parts if isinstance(part, kind) else (part,)
        return tuple(parts)

    def negation(self, node: Any, field: str | None, depth: int) -> Query:
        return Not(self.read(node.children[0], field, depth + 1))

    def field(self, node: Any, field: str | None, depth: int) -> Query:
        if field is not None:
            raise QueryError("A value that contains a colon has to be put into quotes", node.pos)
        if node.name == _EXISTS:
            return self.existence(node)
        name = _field_name(node.name, node.pos)
        value = node.children[0]
        if name == "*":
            if type(value) is luqum.Word and value.value == "*":
                return MatchAll()
            raise QueryError("Name a field, or leave out “*:” to search all values", node.pos)
        if type(value) is luqum.Prohibit and type(value.children[0]) is luqum.Word:
            return _leaf(value.pos, _word, name, "-" + value.children[0].value)
        return self.read(value, name, depth + 1)

    def existence(self, node: Any) -> Query:
        value = node.children[0]
        if type(value) is luqum.Word:
            return Exists(_field_name(value.value, value.pos))
        if type(value) is luqum.Phrase:
            return Exists(_unescape(value.value[1:-1]))
        raise QueryError("_exists_: is followed by the name of a field", value.pos)

    def word(self, node: Any, field: str | None, _depth: int) -> Query:
        return _leaf(node.pos, _word, field, node.value)

    def phrase(self, node: Any, field: str | None, _depth: int) -> Query:
        return _leaf(node.pos, _phrase, field, node.value[1:-1])

    def regex(self, node: Any, field: str | None, _depth: int) -> Query:
        return _leaf(node.pos, _regex, field, node.value[1:-1])

    def range(self, node: Any, field: str | None, _depth: int) -> Query:
        name = _needs_field(field, node.pos)
        low, high = _bound(node.low), _bound(node.high)
        return _leaf(node.pos, _checked, Range(name, low, high, node.include_low, node.include_high))

    def at_least(self, node: Any, field: str | None, _depth: int) -> Query:
        name = _needs_field(field, node.pos)
        return _leaf(node.pos, _checked, Range(name, _bound(node.children[0]), None, include_low=node.include))

    def at_most(self, node: Any, field: str | None, _depth: int) -> Query:
        name = _needs_field(field, node.pos)
        return _leaf(node.pos, _checked, Range(name, None, _bound(node.children[0]), include_high=node.include))


_READERS: dict[type, Callable[[_Reader, Any, str | None, int], Query]] = {
    luqum.Word: _Reader.word,
    luqum.Phrase: _Reader.phrase,
    luqum.Regex: _Reader.regex,
    luqum.SearchField: _Reader.field,
    luqum.Group: _Reader.group,
    luqum.FieldGroup: _Reader.group,
    luqum.AndOperation: _Reader.all_of,
    luqum.UnknownOperation: _Reader.all_of,
    luqum.OrOperation: _Reader.any_of,
    luqum.Plus: _Reader.group,
    luqum.Not: _Reader.negation,
    luqum.Prohibit: _Reader.negation,
    luqum.Range: _Reader.range,
    luqum.From: _Reader.at_least,
    luqum.To: _Reader.at_most,
}

_REFUSED: dict[type, str] = {
    luqum.Fuzzy: "Fuzzy words (~) are not supported: use * and ?",
    luqum.Proximity: "Proximity (~) is not supported: ask for the words one by one",
    luqum.Boost: "Boosts (^) have no meaning here: events are ordered by time",
}


def _leaf(position: int | None, make: Callable[..., Query], *arguments: Any) -> Query:
    """The leaf, checked against its field's type while its position is known."""
    try:
        return _checked(make(*arguments))
    except QueryError as error:
        if error.position is None:
            raise QueryError(str(error), position) from error
        raise


def _checked(query: Query) -> Query:
    resolve(query)
    return query


def _word(field: str | None, value: str) -> Query:
    pattern = _windows_paths(value)
    if field is None:
        if value == "*":
            return MatchAll()
        if any(wild for _, wild in wildcard_parts(pattern)):
            raise QueryError("Patterns need a field, such as process.name:power*")
        return Text(_unescape(value))
    if value == "*":
        return Exists(field)
    if any(wild for _, wild in wildcard_parts(pattern)):
        return Wildcard(field, pattern)
    return _phrase(field, value)


def _windows_paths(value: str) -> str:
    """The pattern in which a backslash before a letter or digit stands for itself."""
    return _ESCAPE.sub(lambda found: "\\" + found[0] if found[1].isalnum() else found[0], value)


def _phrase(field: str | None, value: str) -> Query:
    text = _unescape(value)
    if field is None:
        return Text(text)
    kind = kind_of(field)
    if kind is Kind.IP and "/" in text:
        return Cidr(field, text)
    return Text(text, field) if kind is Kind.WORDS else Term(field, text)


def _regex(field: str | None, pattern: str) -> Query:
    if field is None:
        raise QueryError("Regular expressions need a field, such as process.name:/cmd[0-9]/")
    return Regex(field, pattern.replace("\\/", "/"))


def _unescape(value: str) -> str:
    """A value without its escapes; a backslash before a letter or digit stands for itself."""
    return _ESCAPE.sub(lambda found: found[0] if found[1].isalnum() else found[1], value)


def _field_name(text: str, position: int | None) -> str:
    if text == "*":
        return text
    if any(wild for _, wild in wildcard_parts(text)):
        raise QueryError("Names of fields cannot hold wildcards", position)
    return _ESCAPE.sub(r"\1", text)


def _needs_field(field: str | None, position: int | None) -> str:
    if field is None:
        raise QueryError("A range needs a field, such as source.port:[1 TO 1023]", position)
    return field


def _bound(node: Any) -> str | None:
    """The end of a range; None is open."""
    if isinstance(node, luqum.Prohibit):
        return "-" + (_bound(node.children[0]) or "")
    if isinstance(node, luqum.Phrase):
        return _unescape(node.value[1:-1])
    return None if node.value == "*" else _unescape(node.value)
