"""Elasticsearch's `filter_path`: the parts of an answer that a client wants to have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

_MAX_LENGTH: Final = 1000
_MAX_PATTERNS: Final = 20
_MAX_PARTS: Final = 8


def filtered(body: dict[str, Any], filter_path: str) -> dict[str, Any]:
    """What of `body` the comma-separated patterns select.

    `*` stands for any part of a name and `**` for any path. With more than 20 patterns or 1,000 characters, a pattern
    of more than eight parts or one that excludes (`-took`), nothing is filtered: the client then gets more than it
    asked for, which it must expect of older servers too.
    """
    patterns = [pattern.split(".") for pattern in filter_path[:_MAX_LENGTH].split(",")]
    if len(filter_path) > _MAX_LENGTH or len(patterns) > _MAX_PATTERNS or not all(map(_supported, patterns)):
        return body
    kept = _kept(body, patterns)
    return kept if isinstance(kept, dict) else {}


def _supported(pattern: Sequence[str]) -> bool:
    return len(pattern) <= _MAX_PARTS and pattern[0][:1] not in ("", "-")


_NOTHING: Final = object()


def _kept(node: Any, patterns: Sequence[Sequence[str]]) -> Any:
    if any(not pattern or list(pattern) == ["**"] for pattern in patterns):
        return node
    if isinstance(node, dict):
        pairs = [(name, _kept(child, _below(name, patterns))) for name, child in node.items()]
        return {name: child for name, child in pairs if child is not _NOTHING} or _NOTHING
    if isinstance(node, list):
        return [child for child in (_kept(child, patterns) for child in node) if child is not _NOTHING] or _NOTHING
    return _NOTHING


def _below(name: str, patterns: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    below: list[Sequence[str]] = []
    for pattern in patterns:
        head, *rest = pattern
        if head == "**":
            below.append(pattern)
            if rest and fnmatchcase(name, rest[0]):
                below.append(rest[1:])
        elif fnmatchcase(name, head):
            below.append(rest)
    return below
