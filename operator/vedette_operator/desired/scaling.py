"""How many workers: more while events wait too long, fewer after a calm time, never back and forth.

Lag says when workers are too few, but not by how many they are too many. So the rate per worker at which lag grew is
remembered, and workers are taken away only if the others stay clear of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LOW_WATER = 0.25
"""Lag below this part of the target counts as calm."""
MARGIN = 0.8
"""Workers are taken away only if the rest then stays below this part of the rate at which lag grew."""
STEP = 2.0
"""At most so many times as many workers in one step."""
UP_AFTER = 30.0
"""Seconds between two steps up: new workers need some to show their effect."""
DOWN_AFTER = 300.0
"""Seconds of calm before a step down."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the user asked for: bounds, and seconds that events may wait."""

    least: int
    most: int
    target: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is seen: seconds that the oldest event has waited, events per second; `lag` None when nobody knows."""

    lag: float | None
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What must be remembered between two looks.

    Attributes:
        replicas: decided last.
        capacity: events per second and worker at which lag grew; None as long as it did not.
        changed: when `replicas` changed last, in seconds of any clock that never goes back.
        calm: since when lag is low; None while it is not.
    """

    replicas: int
    capacity: float | None = None
    changed: float = -math.inf
    calm: float | None = None


def replicas(current: int, load: Load, scaling: Scaling, capacity: float | None = None) -> int:
    """How many workers there should be, whatever was decided before."""
    if load.lag is None:
        wanted = current
    elif load.lag > scaling.target:
        factor = min(load.lag / scaling.target, STEP) if scaling.target else STEP
        wanted = max(current + 1, math.floor(current * factor))
    elif load.lag <= scaling.target * LOW_WATER and _fewer_suffice(current, load, capacity):
        wanted = current - 1
    else:
        wanted = current
    return min(max(wanted, scaling.least), scaling.most)


def _fewer_suffice(current: int, load: Load, capacity: float | None) -> bool:
    if current <= 1:
        return load.rate == 0 and load.lag == 0  # to none: only where nothing comes, and `least` allows it
    return capacity is None or load.rate / (current - 1) < capacity * MARGIN


def step(pace: Pace, load: Load, scaling: Scaling, now: float) -> Pace:
    """The decision at a time, from the last one; `now` in seconds of the clock of `pace`."""
    high = load.lag is not None and load.lag > scaling.target
    low = load.lag is not None and load.lag <= scaling.target * LOW_WATER
    calm = (pace.calm if pace.calm is not None else now) if low else None
    capacity = load.rate / pace.replicas if high and pace.replicas and load.rate else pace.capacity
    wanted = replicas(pace.replicas, load, scaling, capacity)
    within = scaling.least <= pace.replicas <= scaling.most
    too_early = (wanted > pace.replicas > 0 and now - pace.changed < UP_AFTER) or (
        wanted < pace.replicas and (calm is None or now - calm < DOWN_AFTER or now - pace.changed < DOWN_AFTER)
    )
    if wanted == pace.replicas or (too_early and within):
        return replace(pace, capacity=capacity, calm=calm)
    return Pace(wanted, capacity, now, None)
