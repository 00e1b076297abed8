"""What the values of an event are to a rule: texts.

A field has a list of texts: those of its scalar value, or of every scalar in its list. No text means that the field is
absent: null, an empty list and a missing key are the same. An atom holds when it holds for some text.

A dotted name reaches into nested objects, and through lists of objects to each of them; keys that contain dots count
too. So `a.b` finds 1 and 2 in `{"a": [{"b": 1}, {"b": 2}]}`, and 3 in `{"a.b": 3}`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Event = Mapping[str, Any]

OWN_PREFIX = "vedette."
"""Fields that Vedette adds to an event; a keyword does not look into them."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_LONGEST_NUMBER = 64
_LONGEST_TIME = 40
_LONGEST_ADDRESS = 64
_ADDRESS_START = frozenset("0123456789abcdefABCDEF:")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_PER_SECOND = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e20, 1_000_000_000))


def text(value: Any) -> str | None:
    """The text of a scalar; None for null, lists and objects.

    Whole floats lose their fraction, so that 5.0 in an event equals 5 in a rule.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int):
        # Python refuses to write out integers of thousands of digits in decimal.
        return str(value) if value.bit_length() < 8192 else hex(value)
    return None


def texts(value: Any) -> list[str]:
    """The texts of a field's value: one of a scalar, those of all scalars of a list, at any depth of lists."""
    if not isinstance(value, list):
        one = text(value)
        return [] if one is None else [one]
    found: list[str] = []
    waiting = [iter(value)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, list):
                waiting.append(iter(item))
                break
            one = text(item)
            if one is not None:
                found.append(one)
        else:
            waiting.pop()
    return found


def field_texts(event: Event, name: str) -> list[str]:
    """The texts that a field has in an event, nested or flat."""
    found: list[str] = []
    waiting: list[tuple[Any, str]] = [(event, name)]
    while waiting:
        node, rest = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, rest) for item in node if isinstance(item, dict | list))
            continue
        if rest in node:
            found.extend(texts(node[rest]))
        dot = rest.find(".")
        while dot >= 0:
            child = node.get(rest[:dot])
            if isinstance(child, dict | list):
                waiting.append((child, rest[dot + 1 :]))
            dot = rest.find(".", dot + 1)
    return found


def all_texts(event: Event) -> list[str]:
    """The texts of every value of an event, at any depth; fields that Vedette added are left out."""
    found: list[str] = []
    waiting: list[Any] = [value for name, value in event.items() if not name.startswith(OWN_PREFIX)]
    waiting.reverse()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif (one := text(value)) is not None:
            found.append(one)
    return found


def flattened(event: Event, nested: Iterable[str]) -> dict[str, Any]:
    """The event with the objects below the keys `nested` spread out under dotted names.

    Every field has the texts that `field_texts` finds; a name that several places share gets a list.
    """
    flat = dict(event)
    for key in nested:
        value = flat[key]
        if not isinstance(value, dict | list):
            continue
        if isinstance(value, dict):
            del flat[key]
        waiting: list[tuple[str, Any]] = [(key, value)]
        while waiting:
            name, node = waiting.pop()
            if isinstance(node, list):
                waiting.extend((name, item) for item in node if isinstance(item, dict | list))
                continue
            for child, below in node.items():
                place = f"{name}.{child}"
                if isinstance(below, dict):
                    waiting.append((place, below))
                    continue
                if isinstance(below, list):
                    waiting.append((place, below))
                flat[place] = below if place not in flat else [flat[place], below]
    return flat


def number(value: str) -> int | float | None:
    """The number that a decimal text spells, without surrounding spaces; None when it is none."""
    if len(value) > _LONGEST_NUMBER or _NUMBER.fullmatch(value) is None:
        return None
    try:
        return int(value)
    except ValueError:
        return float(value)


def address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is, without anything around it; None when it is none."""
    if len(value) > _LONGEST_ADDRESS or value[:1] not in _ADDRESS_START:
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def moment(value: str) -> datetime | None:
    """The time that a text names: ISO 8601 (UTC where no offset is given), or a Unix time in s, ms, µs or ns."""
    if len(value) > _LONGEST_TIME:
        return None
    since = number(value)
    try:
        if since is not None and len(value.lstrip("+-")) != len("20261122"):
            for limit, per_second in _UNITS_PER_SECOND:
                if abs(since) < limit:
                    return _EPOCH + timedelta(seconds=since / per_second)
            return None
        parsed = datetime.fromisoformat(value.strip().replace(",", "."))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_part(value: str, unit: str) -> int | None:
    """The minute, hour, day, week (ISO 8601), month or year in UTC of the time that a text names."""
    when = moment(value)
    if when is None:
        return None
    if unit == "week":
        return when.isocalendar().week
    part: int = getattr(when, unit)
    return part
