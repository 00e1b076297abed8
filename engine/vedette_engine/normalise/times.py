"""Reading and writing points in time.

Inside the program a time is an integer, milliseconds since the epoch, UTC; in documents it is ISO 8601 with `Z`.
What lies before 1970 or after 2199 is taken for a fault of the sender (year 0, year 9999), not for a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = 7_258_118_400_000
"""First millisecond that is no longer accepted: 2200-01-01."""

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = 64
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_FILETIME_EPOCH = 116_444_736_000_000_000
_FILETIME_END = _FILETIME_EPOCH + END * 10_000

# All patterns are anchored and each repeated class is followed by something outside of it: linear time.
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]{1,2})?")
_MICROSOFT = re.compile(r"/Date\((-?[0-9]+)(?:[+-][0-9]{4})?\)/")
_RFC3164 = re.compile(
    r"(?P<month>[A-Za-z]{3}) {1,2}(?P<day>[0-9]{1,2}) (?:(?P<year>[0-9]{4}) )?"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?"
    r"(?: (?P<late_year>[0-9]{4}))?(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
)
_DAY_FIRST = re.compile(
    r"(?P<day>[0-9]{1,2})[ /-](?P<month>[A-Za-z]{3})[ /-](?P<year>[0-9]{4})[ :]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?"
    r"(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
)
_COMPACT = re.compile(r"[0-9]{14}")
_SLASHES = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}")
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? ")
_TAIL = re.compile(r"(?P<head>.*[0-9]) ?(?P<zone>[Zz]|UTC|GMT|utc|gmt|[+-][0-9]{2}(?::?[0-9]{2})?)")
_LEAP_SECOND = re.compile(r"(?P<head>.*[0-9]{2}:[0-9]{2}):60(?P<tail>(?:[.,][0-9]+)?.*)")


def read_zone(name: str) -> tzinfo:
    """The time zone of a name (`Europe/Berlin`, `UTC`) or an offset (`+02:00`). Raises ValueError."""
    if name in {"", "UTC", "Z"}:
        return UTC
    fixed = re.fullmatch(r"([+-])([0-9]{2}):?([0-9]{2})", name)
    if fixed:
        sign, hours, minutes = fixed.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}") from error


def parse_time(value: object, zone: tzinfo = UTC, near: int | None = None) -> int | None:
    """Milliseconds since the epoch, or None when the value cannot be read as a time.

    Reads ISO 8601 in its common variants, seconds, milli-, micro- and nanoseconds since the epoch as number or text
    (told apart by magnitude), Windows FILETIME, `/Date(…)/`, RFC 3164, RFC 5322 and Common Log Format dates.

    Args:
        value: as the sender wrote it.
        zone: of times that do not name one.
        near: milliseconds; a date without a year gets the year that puts it nearest to this. None: such a date
            cannot be read.
    """
    if isinstance(value, str):
        return _parse_text(value, zone, near)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_number(value)
    return None


def format_time(time: int) -> str:
    """ISO 8601, UTC, milliseconds: `2026-11-22T10:00:00.000Z`."""
    seconds, milliseconds = divmod(time, 1000)
    return f"{_format_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _format_second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def has_finer_digits(text: str) -> bool:
    """Whether an ISO 8601 text holds digits below a millisecond, which `parse_time` cuts off."""
    if len(text) <= 24:
        return False
    start = max(text.find(".", 10), text.find(",", 10)) + 1
    return start > 0 and text[start + 3 : start + 4].isdigit()


def _in_range(time: int) -> int | None:
    return time if 0 <= time < END else None


def _from_number(number: float) -> int | None:
    """By magnitude: seconds below 1e11, then milli-, micro-, nanoseconds; FILETIME where nanoseconds mean 1973-76."""
    if not 0 <= number < 1e20:
        return None
    if number < 1e11:
        # Through microseconds, so that 1505701210.155 does not become …154 by its binary form.
        return _in_range(number * 1000 if isinstance(number, int) else round(number * 1e6) // 1000)
    whole = int(number)
    if whole < 10**14:
        return _in_range(whole)
    if whole < 10**17:
        return _in_range(whole // 1000)
    if _FILETIME_EPOCH <= whole < _FILETIME_END:
        return (whole - _FILETIME_EPOCH) // 10_000
    return _in_range(whole // 1_000_000)


def _parse_text(text: str, zone: tzinfo, near: int | None) -> int | None:
    if len(text) > _LONGEST:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _parse_odd_text(text.strip(), zone, near)
    if "-" not in text and ":" not in text:
        return _parse_odd_text(text, zone, near)  # digits only: an epoch, not the basic format
    return _from_datetime(moment, zone)


def _from_datetime(moment: datetime, zone: tzinfo) -> int | None:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        return _in_range((moment - EPOCH) // _MILLISECOND)
    except OverflowError:
        return None


def _parse_odd_text(text: str, zone: tzinfo, near: int | None) -> int | None:
    for read in _READERS:
        found = read(text, zone, near)
        if found is not None:
            return found
    return None


def _read_number(text: str, zone: tzinfo, _near: int | None) -> int | None:
    if not _NUMBER.fullmatch(text):
        return None
    found = _from_number(int(text) if text.isdigit() else float(text))
    if found is None and _COMPACT.fullmatch(text):
        found = _iso(f"{text[:8]}T{text[8:]}", zone)
    return found


def _read_microsoft(text: str, _zone: tzinfo, _near: int | None) -> int | None:
    match = _MICROSOFT.fullmatch(text)
    return _in_range(int(match[1])) if match else None


def _read_loose_iso(text: str, zone: tzinfo, _near: int | None) -> int | None:
    """ISO 8601 with the liberties people take: lower case, slashes, a blank before the zone, UTC, second 60."""
    if not text[:4].isdigit():
        return None
    if _SLASHES.match(text):
        text = text.replace("/", "-", 2)
    tail = _TAIL.fullmatch(text)
    if tail:
        named = tail["zone"].upper()
        text = tail["head"] + ("Z" if named in {"UTC", "GMT"} else named)
    leap = _LEAP_SECOND.fullmatch(text)
    if leap:
        found = _iso(f"{leap['head']}:59{leap['tail']}", zone)
        return None if found is None else _in_range(found + 1000)
    return _iso(text, zone)


def _iso(text: str, zone: tzinfo) -> int | None:
    try:
        return _from_datetime(datetime.fromisoformat(text), zone)
    except ValueError:
        return None


def _read_calendar(text: str, zone: tzinfo, near: int | None) -> int | None:
    """Dates with the month's name: RFC 3164 and asctime, RFC 5322, Common Log Format."""
    weekday = _WEEKDAY.match(text)
    if weekday:
        text = text[weekday.end() :]
    match = _RFC3164.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if not match:
        return None
    parts = match.groupdict()
    month = _MONTHS.get(parts["month"].lower())
    if month is None:
        return None
    clock = (int(parts["hour"]), int(parts["minute"]), int(parts["second"]))
    micro = int((parts.get("fraction") or "0").ljust(6, "0")[:6])
    named = parts["zone"]
    where = zone if named is None else UTC if named in {"Z", "UTC", "GMT"} else read_zone(named)
    year = parts.get("year") or parts.get("late_year")
    if year:
        return _make((int(year), month, int(parts["day"])), clock, micro, where)
    if near is None:
        return None
    return _nearest(near, lambda guess: _make((guess, month, int(parts["day"])), clock, micro, where))


def _nearest(near: int, make: Callable[[int], int | None]) -> int | None:
    """The candidate nearest to `near`; up to eight years back, so that a 29th of February finds its leap year."""
    this_year = (EPOCH + timedelta(milliseconds=near)).year
    for years in (range(this_year - 1, this_year + 2), range(this_year - 8, this_year - 1)):
        found = [time for year in years if (time := make(year)) is not None]
        if found:
            return min(found, key=lambda time: abs(time - near))
    return None


def _make(day: tuple[int, int, int], clock: tuple[int, int, int], micro: int, zone: tzinfo) -> int | None:
    hour, minute, second = clock
    leap = second == 60
    try:
        moment = datetime(*day, hour, minute, 59 if leap else second, micro, tzinfo=zone)
    except ValueError:
        return None
    found = _from_datetime(moment, zone)
    return None if found is None else _in_range(found + 1000 * leap)


_READERS = (_read_number, _read_microsoft, _read_loose_iso, _read_calendar)
