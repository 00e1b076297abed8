"""Regular expressions on event data: RE2, which is linear in the text whatever the expression, and literal guards.

A guard is a text that every match contains. Looking for it first spares most runs of the automaton.
"""

from __future__ import annotations

import re as pattern_syntax
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2

MAX_LENGTH: Final = 4096
"""Characters of a pattern; the longest of SigmaHQ has about 300."""

_MEMORY = 8 << 20  # of one expression's automaton, in bytes; RE2 keeps to it and slows down instead of growing
_LITERAL_ESCAPES = frozenset("\\.^$|()[]{}*+?/-\"'`:;,<>=!@#%&~_ ")
_INLINE_FLAGS = pattern_syntax.compile(r"\(\?([ims]+)\)", pattern_syntax.ASCII)
_COUNT = pattern_syntax.compile(r"\{([0-9]{0,6})(,[0-9]{0,6})?\}", pattern_syntax.ASCII)


class RegexError(ValueError):
    """The expression is not one that RE2 can run."""


@lru_cache(maxsize=4096)
def searcher(pattern: str, flags: str) -> Callable[[str], bool]:
    """A test whether the expression matches somewhere in a text.

    Args:
        pattern: in RE2's syntax.
        flags: any of i (case is ignored), m (^ and $ match at lines), s (a dot matches a line break).

    Raises:
        RegexError: too long, too large, or of a syntax (look-around, back-reference) that is not linear.
    """
    if len(pattern) > MAX_LENGTH:
        raise RegexError(f"the regular expression has {len(pattern)} characters, more than {MAX_LENGTH}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True  # only whether, not where
    options.case_sensitive = "i" not in flags
    options.dot_nl = "s" in flags
    try:
        search = re2.compile(f"(?m){pattern}" if "m" in flags else pattern, options).search
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise RegexError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error

    def found(value: str) -> bool:
        try:
            return search(value.encode()) is not None
        except UnicodeEncodeError:  # lone surrogates have no UTF-8 form
            return search(value.encode(errors="replace")) is not None

    return found


def guards(pattern: str, flags: str) -> tuple[str, ...]:
    """Lower-case ASCII texts that the lower-cased form of every match contains; the longest first.

    What is not understood gives no guard, never a wrong one.
    """
    inline = _INLINE_FLAGS.match(pattern)
    if inline is not None:
        flags += inline[1]
        pattern = pattern[inline.end() :]
    literals = _Reader(pattern, fold="i" in flags).read()
    unique = dict.fromkeys(literal for literal in literals if literal)
    return tuple(sorted(unique, key=len, reverse=True))


class _Unknown(Exception):  # noqa: N818 # not an error: the pattern merely yields no guards
    """Syntax that the reader does not know."""


class _Reader:
    """Reads a pattern once from left to right and collects the literals of its concatenations.

    `fold` says that letters may match in either case: then "s" ends a literal, for RE2 lets it match U+017F, which
    lower-casing leaves alone.
    """

    def __init__(self, pattern: str, *, fold: bool) -> None:
        self.pattern = pattern
        self.at = 0
        self.fold = fold

    def read(self) -> list[str]:
        """The guards of the whole pattern."""
        try:
            literals = self.alternatives()
        except _Unknown:
            return []
        return literals if self.at == len(self.pattern) else []

    def alternatives(self) -> list[str]:
        """Branches up to the end or a closing bracket; literals of a single branch are mandatory."""
        branches = [self.concatenation()]
        while self.at < len(self.pattern) and self.pattern[self.at] == "|":
            self.at += 1
            branches.append(self.concatenation())
        return branches[0] if len(branches) == 1 else []

    def concatenation(self) -> list[str]:
        """Items one after the other: characters join into a literal, anything else ends it."""
        literals: list[str] = []
        current = ""
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            inner, character = self.item()
            least = self.repetition()
            if character is not None and least == (1, 1):
                current += character
                continue
            literals.append(current)
            current = ""
            if least[0] >= 1:
                literals.extend(inner)
        literals.append(current)
        return literals

    def item(self) -> tuple[list[str], str | None]:
        """One item: its own literals, and its character if it is one that every match has."""
        char = self.pattern[self.at]
        if char == "(":
            return self.group(), None
        self.at += 1
        if char == "[":
            self.skip_class()
            return [], None
        if char == "\\":
            return self.escape()
        if char in ".^$":
            return [], None
        if char in "*+?":
            raise _Unknown
        return self.letter(char)

    def letter(self, char: str) -> tuple[list[str], str | None]:
        low = char.lower()
        if not char.isascii() or (self.fold and low == "s"):
            return [], None
        return [low], low

    def escape(self) -> tuple[list[str], str | None]:
        if self.at >= len(self.pattern):
            raise _Unknown
        char = self.pattern[self.at]
        self.at += 1
        if char in _LITERAL_ESCAPES:
            return [char], char
        if char in "dDsSwWbBAztnrfv":
            return [], None
        raise _Unknown

    def group(self) -> list[str]:
        self.at += 1
        if self.pattern.startswith("?", self.at):
            if not self.pattern.startswith("?:", self.at):
                raise _Unknown
            self.at += 2
        literals = self.alternatives()
        if not self.pattern.startswith(")", self.at):
            raise _Unknown
        self.at += 1
        return literals

    def skip_class(self) -> None:
        if self.pattern.startswith("^", self.at):
            self.at += 1
        if self.pattern.startswith("]", self.at):
            self.at += 1
        while self.at < len(self.pattern) and self.pattern[self.at] != "]":
            if self.pattern.startswith("[:", self.at):
                raise _Unknown
            self.at += 2 if self.pattern[self.at] == "\\" else 1
        if self.at >= len(self.pattern):
            raise _Unknown
        self.at += 1

    def repetition(self) -> tuple[int, int | None]:
        """How often the item just read occurs: at least, at most (None: without end)."""
        least, most = 1, 1
        found = False
        if self.at < len(self.pattern):
            char = self.pattern[self.at]
            if char in "*+?":
                least = 1 if char == "+" else 0
                most = 1 if char == "?" else 0
                self.at += 1
                found = True
            elif char == "{" and (count := _COUNT.match(self.pattern, self.at)):
                least = int(count[1] or 0)
                most = 1 if least == 1 and count[2] is None else 0
                self.at = count.end()
                found = True
        if found and self.pattern.startswith(("?", "+"), self.at):
            self.at += 1
        return (1, 1) if least == 1 and most == 1 else (least, None)
