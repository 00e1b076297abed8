"""`partition.json`: the format of a partition, and bounds of the times inside it.

Bounds are rounded outwards, and written before the commit that needs them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from vedette_backends.errors import RefusedError

FORMAT: Final = 1
META: Final = "partition.json"
_HOUR: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """No event time of the partition lies outside of [low, high], no stamp after `stored` (None: there are none)."""

    low: int
    high: int
    stored: int | None = None

    @staticmethod
    def around(low: int, high: int, stored: int) -> Bounds:
        """Whole hours around the times, so that bounds change seldom."""
        return Bounds(low // _HOUR * _HOUR, (high // _HOUR + 1) * _HOUR, (stored // _HOUR + 1) * _HOUR)

    def union(self, other: Bounds) -> Bounds:
        """Bounds of both."""
        stamps = [stored for stored in (self.stored, other.stored) if stored is not None]
        return Bounds(min(self.low, other.low), max(self.high, other.high), max(stamps, default=None))


def read_bounds(folder: Path) -> Bounds | None:
    """The bounds of a partition; None when it was never written to. Raises RefusedError for another format."""
    try:
        meta = json.loads((folder / META).read_bytes())
        version, low, high, stored = meta["format"], meta["low"], meta["high"], meta.get("stored")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{folder / META} is damaged: restore the partition from a snapshot") from error
    if version != FORMAT:
        raise RefusedError(f"{folder} has format {version}, this version reads format {FORMAT}")
    return Bounds(low, high, stored)


def write_bounds(folder: Path, bounds: Bounds) -> None:
    """Replace the bounds of a partition, durably."""
    path, fresh = folder / META, folder / (META + ".new")
    with fresh.open("wb") as file:
        file.write(orjson.dumps({"format": FORMAT, "low": bounds.low, "high": bounds.high, "stored": bounds.stored}))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
