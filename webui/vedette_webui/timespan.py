"""The one time picker: a relative range stays relative in the address, an absolute one is two UTC times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vedette_backends.store.protocol import TimeRange

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

RANGES = {
    "15m": ("last 15 minutes", 15 * MINUTE),
    "1h": ("last hour", HOUR),
    "6h": ("last 6 hours", 6 * HOUR),
    "24h": ("last 24 hours", DAY),
    "7d": ("last 7 days", 7 * DAY),
    "30d": ("last 30 days", 30 * DAY),
    "all": ("any time", 0),
}
_STEPS = (
    *(s * 1000 for s in (1, 2, 5, 10, 15, 30)),
    *(m * MINUTE for m in (1, 2, 5, 10, 15, 30)),
    *(h * HOUR for h in (1, 2, 3, 6, 12)),
    *(d * DAY for d in (1, 2, 7, 14, 30, 90, 180, 365)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COARSE = 400 * DAY
"""First look at an open range: fewer than 10,000 bars between the years 1 and 9999, which is what stores answer."""


@dataclass(frozen=True, slots=True)
class Span:
    """A chosen range.

    Attributes:
        name: key of `RANGES`, or `custom`.
        label: for people.
        time: what the store is asked, milliseconds.
        params: the query parameters that say the same.
    """

    name: str
    label: str
    time: TimeRange
    params: Mapping[str, str]


def parse(params: Mapping[str, str], default: str, now: int) -> Span:
    """The span in a page's query parameters (`range`, or `from` and `to`); what cannot be read is the default."""
    start, end = moment(params.get("from", "")), moment(params.get("to", ""))
    if start is not None or end is not None:
        shown = {key: params[key] for key in ("from", "to") if params.get(key)}
        label = f"{short(start)} to {short(end)}"
        return Span("custom", label, TimeRange(start, end), shown)
    name = params.get("range", "")
    chosen = name if name in RANGES else default
    label, length = RANGES[chosen]
    # Clocks of senders run ahead by a little: a relative range has no end.
    time = TimeRange(now - length, None) if length else TimeRange()
    return Span(chosen, label, time, {} if chosen == default else {"range": chosen})


def moment(text: str) -> int | None:
    """Milliseconds of an ISO 8601 time (UTC where it names no zone); None when it is none."""
    try:
        read = datetime.fromisoformat(text[:40])
    except ValueError:
        return None
    aware = read if read.tzinfo else read.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def iso(time: int) -> str:
    """A time as documents write it; the ends of the calendar stand for what lies beyond them."""
    try:
        text = (_EPOCH + timedelta(milliseconds=time)).isoformat(timespec="milliseconds")
    except OverflowError:
        return "9999-12-31T23:59:59.999Z" if time > 0 else "0001-01-01T00:00:00.000Z"
    return text.replace("+00:00", "Z")


def short(time: int | None) -> str:
    """A UTC time to the second, `…` for an open end."""
    return "…" if time is None else iso(time)[:19].replace("T", " ")


def ago(milliseconds: float) -> str:
    """A length of time in one unit: `4 min`."""
    seconds = max(milliseconds, 0) / 1000
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size * 1.5:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s" if seconds >= 1 else f"{round(milliseconds)} ms"


def step(length: int, buckets: int = 60) -> int:
    """The roundest interval that cuts `length` into about `buckets` pieces."""
    return next((size for size in _STEPS if size * buckets >= length), _STEPS[-1])
