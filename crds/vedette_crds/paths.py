"""Paths inside a manifest: `spec.tests[2].expect["source.ip"]` and the steps that it stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

#: Field names and list indices, from the outermost in.
Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z_<][-A-Za-z0-9_<]*\Z")
_STEP = re.compile(r'\.?([A-Za-z_<][-A-Za-z0-9_<]*)|\[([0-9]{1,9})\]|\.?\[("(?:[^"\\]|\\.)*")\]')


def write(path: Iterable[str | int]) -> str:
    """The path as text; names that are no plain words stand in brackets and quotes."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN.match(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(parts)


def parse(text: str) -> Path:
    """The steps of a path that `write` wrote; reading stops at what it never writes."""
    steps: list[str | int] = []
    position = 0
    while match := _STEP.match(text, position):
        name, index, quoted = match.groups()
        steps.append(name if name is not None else int(index) if index is not None else json.loads(quoted))
        position = match.end()
    return tuple(steps)
