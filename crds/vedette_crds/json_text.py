"""JSON as YAML: the one thing that YAML's reader does not take over from JSON."""

from __future__ import annotations

import re

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def join_surrogates(text: str) -> str:
    r"""In a text that is JSON by its first character, pairs of escapes such as `\ud83d\ude00` as the one they mean.

    JSON writes characters beyond U+FFFF so, YAML does not know it. Lines stay where they are.
    """
    is_json = text.lstrip()[:1] == "{"
    return _PAIR.sub(_join, text) if is_json else text


def _join(match: re.Match[str]) -> str:
    slashes, high, low = match.groups()
    code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    return f"{slashes}{chr(code)}"
