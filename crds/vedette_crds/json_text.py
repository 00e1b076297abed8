"""JSON as YAML: the few things that YAML's reader does not take over from JSON."""

from __future__ import annotations

import re

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ONLY_JSON = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def as_yaml(text: str) -> str:
    r"""A text that is JSON by its first character, so that YAML's reader understands it; another one as it is.

    Pairs of escapes such as `\ud83d\ude00` become the one character that they mean, and characters that YAML forbids or
    takes for the end of a line become escapes. Lines stay where they are. A key may still have
    only 1,024 characters, as it is written.
    """
    if text.lstrip()[:1] != "{":
        return text
    return _ONLY_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", _PAIR.sub(_join, text))


def _join(match: re.Match[str]) -> str:
    slashes, high, low = match.groups()
    code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    return f"{slashes}{chr(code)}"
