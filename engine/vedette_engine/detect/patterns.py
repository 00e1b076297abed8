"""Wildcard patterns against whole texts, in time linear in the text."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2

from vedette_engine.detect.ir import MANY, ONE, Pattern

_MEMORY = 8 << 20


def lowered(pattern: Pattern) -> Pattern:
    """The pattern with its literal parts in lower case."""
    return tuple(part.lower() if isinstance(part, str) else part for part in pattern)


def literals(pattern: Pattern) -> list[str]:
    """The literal parts, the longest first."""
    return sorted((part for part in pattern if isinstance(part, str)), key=len, reverse=True)


@lru_cache(maxsize=4096)
def matcher(pattern: Pattern) -> Callable[[str], bool]:
    """A test whether a whole text has the form of the pattern; letters count."""
    return _automaton(pattern) if ONE in pattern else _finder(pattern)


def _finder(pattern: Pattern) -> Callable[[str], bool]:
    """For patterns of texts and MANY only: find the texts one after the other, each as early as possible."""
    parts = [part for part in pattern if isinstance(part, str)]
    head = parts.pop(0) if parts and pattern[0] != MANY else ""
    tail = parts.pop() if parts and pattern[-1] != MANY else ""
    if MANY not in pattern:
        return head.__eq__
    start, end = len(head), len(tail)
    middle = tuple(parts)

    def test(value: str) -> bool:
        if not value.startswith(head):
            return False
        at = start
        for part in middle:
            at = value.find(part, at)
            if at < 0:
                return False
            at += len(part)
        return len(value) - at >= end and value.endswith(tail)

    return test


def _automaton(pattern: Pattern) -> Callable[[str], bool]:
    symbols = {MANY: ".*", ONE: "."}
    source = "".join(re2.escape(part) if isinstance(part, str) else symbols[part] for part in pattern)
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.max_mem = _MEMORY
    match = re2.compile(source, options).fullmatch

    def test(value: str) -> bool:
        try:
            return match(value) is not None
        except UnicodeEncodeError:  # lone surrogates have no UTF-8 form
            return match(value.encode(errors="replace").decode()) is not None

    return test
