"""Histograms over a time range that may be open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vedette_backends.store.protocol import TimeRange
from vedette_webui import timespan

Ask = Callable[[TimeRange, int], list[tuple[int, int]]]
_UNITS = {"second": 1000, "minute": timespan.MINUTE, "hour": timespan.HOUR, "day": timespan.DAY}
_MOST = 120
_LOOKS = 4
"""Each look at an open range narrows it by 60; four take 8,000 years down to hours."""


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
        return Chart(time.start, end, interval, points)
    interval, points = timespan.COARSE, ask(time, timespan.COARSE)
    for _ in range(_LOOKS):
        if not points:
            break
        start, end = points[0][0], points[-1][0] + interval
        finer = timespan.step(end - start)
        if finer >= interval:
            break
        interval, points = finer, ask(TimeRange(start, end if time.end is None else min(end, time.end)), finer)
    if not points:
        return Chart(now - timespan.DAY, now, timespan.HOUR)
    return _merged(Chart(points[0][0], points[-1][0] + interval, interval, points))


def _merged(wide: Chart) -> Chart:
    """The same counts in fewer bars, where a stray time (year 1, year 9999) makes the range enormous."""
    times = -(-(wide.end - wide.start) // (wide.interval * _MOST))
    if times <= 1:
        return wide
    interval = wide.interval * times
    merged: dict[int, int] = {}
    for at, count in wide.points:
        start = wide.start + (at - wide.start) // interval * interval
        merged[start] = merged.get(start, 0) + count
    return Chart(wide.start, wide.end, interval, list(merged.items()))
