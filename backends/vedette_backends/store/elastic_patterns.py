"""Wildcards and regular expressions in Lucene's syntax, with case folded character by character.

Lucene folds ASCII only, and differently in every version; so every letter is written out as the class of all that fold
alike, and the answer is the one that every other engine of this program gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from vedette_backends.store.elastic_mapping import MAX_REGEX
from vedette_engine.query.patterns import wildcard_parts
from vedette_engine.query.tree import QueryError
from vedette_engine.query.values import fold

MAX_FOLDED: Final = 1000
"""So long a text is looked for as a pattern of classes; a longer one by its digest."""

INTRICATE: Final = "The pattern is too long or too intricate: shorten it, or ask for one of its parts"

_SPECIAL: Final = frozenset('\\.^$*+?()[]{}|&~<>#@"')
_IN_CLASS: Final = frozenset("\\[]^-&~")
_LAST_CASED: Final = 0x1F000
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def escape(text: str) -> str:
    """The text as an expression that matches just it."""
    return "".join("\\" + character if character in _SPECIAL else character for character in text)


@cache
def _families() -> dict[str, str]:
    """Folded character → all that fold to it, for those that have relatives."""
    families: dict[str, str] = {}
    for number in range(_LAST_CASED):
        character = chr(number)
        folded = fold(character)
        if folded != character:
            families[folded] = families.get(folded, folded) + character
    return families


def has_case(text: str) -> bool:
    """Whether another text folds to the same."""
    return any(fold(character) in _families() for character in text)


def folded(text: str) -> str:
    """The text as an expression that matches it in any case."""
    return "".join(map(_any_case, text))


@cache
def _any_case(character: str) -> str:
    family = _families().get(fold(character))
    return escape(character) if family is None else f"[{family}]"


def wildcard(pattern: str) -> str:
    """A wildcard pattern as an expression for the whole value, in any case."""
    pieces: list[str] = []
    for character, wild in wildcard_parts(pattern):
        if not wild:
            pieces.append(_any_case(character))
        elif character == "?":
            pieces.append(".")
        elif not pieces or pieces[-1] != ".*":
            pieces.append(".*")
    return checked("".join(pieces))


def checked(expression: str) -> str:
    """The expression if the index takes its length. Raises QueryError."""
    if len(expression.encode("utf-16-le", "surrogatepass")) // 2 > MAX_REGEX:
        raise QueryError(INTRICATE)
    return expression


def regex(pattern: str) -> str:
    """An expression in the form of `patterns.canonical_regex`, which RE2 has read, as Lucene writes it.

    Lucene knows no escapes for control characters, no empty alternatives, and takes every brace for a repetition.
    """
    pieces: list[str] = []
    empty = True
    for kind, token in _tokens(pattern):
        if empty and kind in {"|", ")"}:
            pieces.append("()")
        pieces.append(token)
        empty = kind in {"|", "("}
    if empty:
        pieces.append("()")
    return checked("".join(pieces))


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """(`|`, `(`, `)` or something else, the token as Lucene writes it)."""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            follow = pattern[at + 1]
            yield "", _CONTROLS[follow] if follow in _CONTROLS else "\\" + follow
            at += 2
        elif character == "[":
            token, at = _class(pattern, at)
            yield "", token
        elif character == "{":
            end = _repetition(pattern, at)
            yield "", pattern[at:end] if end else "\\{"
            at = end or at + 1
        elif character in "|()":
            yield character, character
            at += 1
        elif character in ".*+?":
            yield "", character
            at += 1
        else:
            yield "", escape(character)
            at += 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    pieces = ["["]
    at += 1
    if pattern[at] == "^":
        pieces.append("^")
        at += 1
    first = True
    while first or pattern[at] != "]":
        character = pattern[at]
        if character == "\\":
            follow = pattern[at + 1]
            character, at = _CONTROLS.get(follow, "\\" + follow), at + 1
        elif character in _IN_CLASS and character != "-":
            character = "\\" + character
        pieces.append(character)
        at += 1
        first = False
    return "".join(pieces) + "]", at + 1


def _repetition(pattern: str, at: int) -> int:
    """Where the repetition that begins here ends; 0 when the brace is itself, as RE2 reads it."""
    end = pattern.find("}", at)
    low, comma, high = pattern[at + 1 : end].partition(",") if end > 0 else ("", "", "")
    numbers = low.isascii() and low.isdigit() and (not high or (high.isascii() and high.isdigit()))
    return end + 1 if numbers and (comma or not high) else 0
