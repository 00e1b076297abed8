"""Wildcards and regular expressions of queries, in the form that every engine below reads the same way.

RE2, Lucene and Rust's regex agree on a core only; `canonical_regex` refuses what is outside of it and rewrites what
they spell differently. All of them run in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette_engine.query.tree import QueryError

MAX_PATTERN = 1000
"""Characters of a pattern."""

_SPECIAL = frozenset("\\.^$*+?()[]{}|")
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\\t\\n\\f\\r "}
_CONTROLS = {"t": "\\t", "n": "\\n", "r": "\\r", "f": "\\f"}
_IN_CLASS_SPECIAL = frozenset("\\[]^-&~")
_QUANTIFIERS = frozenset("*+?{")


def escape(text: str) -> str:
    """The text as a regular expression that matches just it."""
    return "".join("\\" + character if character in _SPECIAL else character for character in text)


def wildcard_parts(pattern: str) -> Iterator[tuple[str, bool]]:
    """(character, whether it is a wildcard) of a wildcard pattern, escapes resolved; a last backslash is itself."""
    escaped = False
    for character in pattern:
        if escaped:
            yield character, False
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            yield character, character in "*?"
    if escaped:
        yield "\\", False


def wildcard_literal(pattern: str) -> str | None:
    """The text that the pattern stands for if it has no wildcard."""
    parts = list(wildcard_parts(pattern))
    return None if any(wild for _, wild in parts) else "".join(character for character, _ in parts)


def escape_wildcard(text: str) -> str:
    """The text as a wildcard pattern that matches just it."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


def wildcard_regex(pattern: str) -> str:
    """A wildcard pattern as a regular expression for the whole value (`.` taken to match newlines too)."""
    pieces: list[str] = []
    for character, wild in wildcard_parts(pattern):
        if not wild:
            pieces.append(escape(character))
        elif character == "?":
            pieces.append(".")
        elif not pieces or pieces[-1] != ".*":
            pieces.append(".*")
    return "".join(pieces)


def canonical_regex(pattern: str) -> str:
    """The expression in the common core. Raises QueryError for what one of the engines does not know."""
    if len(pattern) > MAX_PATTERN:
        raise QueryError(f"The regular expression is longer than {MAX_PATTERN} characters")
    pieces: list[str] = []
    at = 0
    while at < len(pattern):
        piece, at = _next_piece(pattern, at)
        pieces.append(piece)
    return "".join(pieces)


def _next_piece(pattern: str, at: int) -> tuple[str, int]:
    character = pattern[at]
    if character == "\\":
        return _escape_sequence(pattern, at)
    if character == "[":
        return _character_class(pattern, at)
    if character in "^$":
        raise QueryError(f"A regular expression is compared with the whole value: leave out “{character}”")
    if pattern.startswith("(?", at):
        if not pattern.startswith("(?:", at):
            raise QueryError("Groups that begin with “(?” are not supported in regular expressions")
        return "(", at + 3
    return character, at + 1


def _escape_sequence(pattern: str, at: int) -> tuple[str, int]:
    follow = pattern[at + 1 : at + 2]
    if not follow:
        raise QueryError("The regular expression ends with a backslash")
    if follow in _CLASSES:
        return f"[{_CLASSES[follow]}]", at + 2
    if follow.lower() in _CLASSES:
        return f"[^{_CLASSES[follow.lower()]}]", at + 2
    if follow in _CONTROLS:
        return _CONTROLS[follow], at + 2
    if follow.isalnum():
        raise QueryError(f"“\\{follow}” is not supported in regular expressions")
    return escape(follow), at + 2


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    pieces = ["["]
    at += 1
    if pattern.startswith("^", at):
        pieces.append("^")
        at += 1
    empty = True
    while at < len(pattern):
        character = pattern[at]
        if character == "]" and not empty:
            return "".join(pieces) + "]", at + 1
        empty = False
        if character == "\\":
            piece, at = _class_escape(pattern, at)
            pieces.append(piece)
        elif character == "-":
            is_range = len(pieces[-1]) >= 1 and pieces[-1] not in {"[", "^"} and not pattern.startswith("]", at + 1)
            pieces.append("-" if is_range else "\\-")
            at += 1
        elif character == "[" and pattern[at + 1 : at + 2] in {":", ".", "="}:
            raise QueryError("Named classes such as [:alpha:] are not supported in regular expressions")
        else:
            pieces.append("\\" + character if character in _IN_CLASS_SPECIAL else character)
            at += 1
    raise QueryError("A “[” in the regular expression is not closed")


def _class_escape(pattern: str, at: int) -> tuple[str, int]:
    follow = pattern[at + 1 : at + 2]
    if follow in _CLASSES:
        return _CLASSES[follow], at + 2
    if follow in _CONTROLS:
        return _CONTROLS[follow], at + 2
    if not follow or follow.isalnum():
        raise QueryError(f"“\\{follow}” is not supported inside [ ] of a regular expression")
    return ("\\" + follow if follow in _IN_CLASS_SPECIAL else follow), at + 2
