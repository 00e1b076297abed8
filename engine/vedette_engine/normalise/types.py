"""Whether a value fits the type of its ECS field, and what it becomes.

A check gives the value itself when it fits, another value when it fits after a conversion that loses nothing
(`"4711"` → 4711), and MISMATCH when it does not fit.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import lru_cache
from typing import Any, Final

import orjson

from vedette_engine.normalise.times import format_time, parse_time

Check = Callable[[Any], object]

MISMATCH: Final = object()

_LONG = range(-(2**63), 2**63)
_JSON_INTEGER = range(-(2**63), 2**64)


def check_text(value: Any) -> object:
    """Text stays; numbers and booleans as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else MISMATCH


def check_long(value: Any) -> object:
    """Whole numbers of 64 bits; `4711`, `"4711"`, 4711.0, but not `"0x1f"` and not `"007"`."""
    if isinstance(value, bool):
        return MISMATCH
    if isinstance(value, int):
        return value if value in _LONG else MISMATCH
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else MISMATCH
    if isinstance(value, str) and len(value) <= 20:
        try:
            number = int(value)
        except ValueError:
            return MISMATCH
        return number if str(number) == value and number in _LONG else MISMATCH
    return MISMATCH


def check_float(value: Any) -> object:
    """Finite numbers, also as text."""
    if isinstance(value, bool):
        return MISMATCH
    if isinstance(value, int):
        return value if value in _LONG else MISMATCH
    if isinstance(value, float):
        return value if math.isfinite(value) else MISMATCH
    if isinstance(value, str) and len(value) <= 32 and value.isascii() and "_" not in value and value == value.strip():
        try:
            number = float(value)
        except ValueError:
            return MISMATCH
        return number if math.isfinite(number) else MISMATCH
    return MISMATCH


def check_boolean(value: Any) -> object:
    """Booleans, also as text."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value, MISMATCH) if isinstance(value, str) else MISMATCH


def check_ip(value: Any) -> object:
    """IPv4 or IPv6 address as text, without a zone."""
    if isinstance(value, str) and len(value) <= 45 and _is_ip(value):
        return value
    return MISMATCH


@lru_cache(maxsize=8192)
def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return getattr(address, "scope_id", None) is None


def check_date(value: Any) -> object:
    """ISO 8601 in UTC stays as it is; what else can be read as a time is written as that."""
    time = parse_time(value, UTC)
    if time is None:
        return MISMATCH
    if isinstance(value, str) and len(value) >= 20 and value[10] == "T" and value[-1] == "Z" and value[4] == "-":
        return value
    return format_time(time)


def check_geo_point(value: Any) -> object:
    """`"latitude,longitude"` in degrees."""
    if not isinstance(value, str) or len(value) > 64:
        return MISMATCH
    latitude, comma, longitude = value.partition(",")
    north, east = check_float(latitude.strip()), check_float(longitude.strip())
    if not comma or not isinstance(north, int | float) or not isinstance(east, int | float):
        return MISMATCH
    return value if abs(north) <= 90 and abs(east) <= 180 else MISMATCH


def check_list(check: Check) -> Check:
    """The check of a list: every element has to fit."""

    def check_all(values: Any) -> object:
        if check is check_text and all(type(value) is str for value in values):
            return values
        checked = [check(value) for value in values]
        if all(new is old for new, old in zip(checked, values, strict=True)):
            return values
        return MISMATCH if any(value is MISMATCH for value in checked) else checked

    return check_all


def check_other(value: Any) -> Any:
    """What a value is stored as below `vedette.other`: as it is, or as text where JSON or a store could not hold it."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if value in _JSON_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [check_other(element) for element in value]
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return repr(value)


CHECKS: Mapping[str, Check] = {
    "keyword": check_text,
    "wildcard": check_text,
    "constant_keyword": check_text,
    "match_only_text": check_text,
    "long": check_long,
    "integer": check_long,
    "float": check_float,
    "double": check_float,
    "scaled_float": check_float,
    "boolean": check_boolean,
    "date": check_date,
    "ip": check_ip,
    "geo_point": check_geo_point,
}
"""Type of the catalogue → check."""
