"""Durations as users write them: `30s`, `5m`, `1h30m`, `7d`."""

from __future__ import annotations

import re

#: Largest unit first, each at most once. The digits are bounded so that any sum fits the 64 bits of nanoseconds that
#: Kubernetes' own `format: duration` computes with.
PATTERN = r"^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?$"

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

_WHOLE = re.compile(PATTERN.replace("$", r"\Z"))
_PART = re.compile(r"([0-9]+)(ms|[dhms])")


def parse_duration(text: str) -> int:
    """What a duration is in milliseconds.

    Raises:
        ValueError: the text is no duration as `PATTERN` says.
    """
    if not text or len(text) > 40 or not _WHOLE.match(text):
        raise ValueError(f"{text[:60]!r} is not a duration such as 30s, 5m, 1h30m or 7d")
    return sum(int(count) * UNITS[unit] for count, unit in _PART.findall(text))


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads back; the inverse for 0 to 9999 days.

    Raises:
        ValueError: a negative number, or 10,000 days and more.
    """
    if not 0 <= milliseconds < 10_000 * UNITS["d"]:
        raise ValueError(f"{milliseconds} ms cannot be written as a duration")
    parts, rest = [], milliseconds
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
