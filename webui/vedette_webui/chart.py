"""Histograms over a time range that may be open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vedette_backends.store.protocol import TimeRange
from vedette_webui import timespan

Ask = Callable[[TimeRange, int], list[tuple[int, int]]]
_UNITS = {"second": 1000, "minute": timespan.MINUTE, "hour": timespan.HOUR, "day": timespan.DAY}
_BARS = 60
_FINE = 4_000
"""Bars asked for at once while the ends of an open range are not known; they are merged afterwards."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts per `interval` milliseconds between `start` and `end`; `points` holds the buckets that are not empty."""

    start: int
    end: int
    interval: int
    points: list[tuple[int, int]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """The largest bucket."""
        return max((count for _, count in self.points), default=0)

    def json(self) -> dict[str, Any]:
        """For the script that draws it."""
        return {"start": self.start, "end": self.end, "interval": self.interval, "points": self.points}

    def label(self) -> str:
        """What one bar stands for."""
        exact = next((unit for unit, size in _UNITS.items() if size == self.interval), None)
        return f"per {exact or timespan.ago(self.interval)}"


def histogram(ask: Ask, time: TimeRange, now: int) -> Chart:
    """The histogram of a range in about 60 bars; ends that are open are taken from what is there."""
    if time.start is not None:
        end = time.end if time.end is not None else max(now, time.start + 1)
        interval = timespan.step(max(end - time.start, 1))
        points = ask(time, interval)
        # Clocks of senders run ahead: bars beyond now belong to the picture.
        if time.end is None and points:
            end = max(end, min(points[-1][0] + interval, end + timespan.DAY))
        chart = Chart(time.start, end, interval, points)
        return _merged(chart) if points and end - time.start > interval * 2 * _BARS else chart
    interval, points = timespan.COARSE, ask(time, timespan.COARSE)
    while points:
        start, end = points[0][0], points[-1][0] + interval
        finer = timespan.step(end - start, _FINE)
        if finer >= interval or end - start >= interval * _BARS:
            return _merged(Chart(start, end, interval, points))
        # Only what can hold something: stores bound the number of bars by the range that is asked for.
        inside = TimeRange(start, end if time.end is None else min(end, time.end))
        interval, points = finer, ask(inside, finer)
    return Chart(now - timespan.DAY, now, timespan.HOUR)


def _merged(fine: Chart) -> Chart:
    """The same counts in fewer, rounder bars."""
    ideal = timespan.step(fine.end - fine.start, _BARS)
    times = max(ideal // fine.interval, -(-(fine.end - fine.start) // (fine.interval * 2 * _BARS)), 1)
    interval = fine.interval * times
    merged: dict[int, int] = {}
    for at, count in fine.points:
        start = at // interval * interval
        merged[start] = merged.get(start, 0) + count
    return Chart(min(merged), max(merged) + interval, interval, list(merged.items()))
