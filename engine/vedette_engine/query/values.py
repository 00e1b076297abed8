"""Comparing values: how text folds, how numbers, dates and addresses are ordered, and where words begin and end."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MILLISECOND = timedelta(milliseconds=1)
_V4_MAPPED = 0xFFFF << 32
_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?"
)
_DOTLESS_I = "\u0131"


def fold(text: str) -> str:
    """Text without case, one character for one (Unicode simple case folding): two texts are equal if this is."""
    if text.isascii():
        return text.lower()
    return "".join(map(_fold_character, text))


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character == _DOTLESS_I:
        return character
    upper = character.upper()
    lower = (upper if len(upper) == 1 else character).lower()
    return lower if len(lower) == 1 else character


def lower(text: str) -> str:
    """Lower case character by character, as word indices do it: a final sigma stays a sigma."""
    return text.lower() if text.isascii() else "".join(character.lower() for character in text)


def words(text: str) -> list[str]:
    """The words of a text in lower case: longest runs of letters and digits."""
    return [word for word in "".join(c if c.isalnum() else " " for c in lower(text)).split(" ") if word]


def leaves(value: Any) -> Iterator[Any]:
    """The scalar values of a field: one, or those of a list, however deep."""
    if isinstance(value, list):
        for element in value:
            yield from leaves(element)
    elif value is not None:
        yield value


def text_of(value: Any) -> str:
    """A scalar as text, the way JSON writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


@lru_cache(maxsize=16384)
def address_number(text: str) -> int | None:
    """An IP address as a number of 128 bits, IPv4 mapped into IPv6; None when it is not an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(address) | _V4_MAPPED if address.version == 4 else int(address)


def network_bounds(text: str) -> tuple[int, int] | None:
    """First and last address of a network, in the numbers of `address_number`; None when it is not a network."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    base = _V4_MAPPED if network.version == 4 else 0
    return int(network[0]) | base, int(network[-1]) | base


def date_bounds(text: str) -> tuple[int, int] | None:
    """First and last millisecond that an ISO 8601 text names: `2026-11-22` is a whole day; None when unreadable.

    Numbers are milliseconds since the epoch when they have more than four digits.
    """
    if text.isascii() and len(text) > 4 and text.removeprefix("-").isdigit() and len(text) <= 16:
        return int(text), int(text)
    found = _DATE.fullmatch(text) if len(text) <= 40 else None
    if found is None:
        return None
    part = {
        name: int(found[name]) if found[name] else None for name in ("year", "month", "day", "hour", "minute", "second")
    }
    fraction = (found["fraction"] or "").ljust(9, "0")
    try:
        start = datetime(
            part["year"] or 0,
            part["month"] or 1,
            part["day"] or 1,
            part["hour"] or 0,
            part["minute"] or 0,
            part["second"] or 0,
            int(fraction[:6]),
            tzinfo=UTC,
        ) - _offset(found["zone"])
        first = (start - EPOCH) // _MILLISECOND
        return first, first + _width(part, found["fraction"], start) - 1
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    amount = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -amount if zone[0] == "-" else amount


def _width(part: dict[str, int | None], fraction: str | None, start: datetime) -> int:
    """Milliseconds that the last given part covers."""
    if fraction:
        return (100, 10, 1)[min(len(fraction), 3) - 1]
    for name, width in (("second", 1000), ("minute", 60_000), ("hour", 3_600_000), ("day", 86_400_000)):
        if part[name] is not None:
            return width
    if part["month"] is not None:
        after = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        after = start.replace(year=start.year + 1)
    return (after - start) // _MILLISECOND
