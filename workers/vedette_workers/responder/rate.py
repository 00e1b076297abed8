"""How many incidents a rule may open: beyond the limit its alerts join the last one, so that people can still see.

A rule that goes wild would otherwise bury them under incidents. The limit is by the wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

COLLECTION: Final = "incident-rates"
RECORD: Final = "opened"
MOST: Final = 500
"""Names that a record keeps; a limit may not be larger."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `incidents` of one rule within `per` ms."""

    incidents: int = 20
    per: int = 3_600_000

    def __str__(self) -> str:
        minutes = self.per // 60_000
        return f"{self.incidents} incidents within {minutes} minutes"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a rule opened lately.

    Attributes:
        names: of incidents → when they were counted, by the wall clock.
        last: the newest of all times.
        buckets: names → buckets of the groups that the incidents are for.
    """

    names: Mapping[str, int]
    last: str = ""
    buckets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, body: Mapping[str, Any] | None) -> Opened:
        """From a record; None where there is none yet."""
        return cls({}) if body is None else cls(body["names"], body["last"], body.get("buckets", {}))

    def write(self) -> dict[str, Any]:
        """As a record."""
        return {"v": 1, "names": dict(self.names), "last": self.last, "buckets": dict(self.buckets)}

    def full(self, name: str, now: int, limit: Limit) -> bool:
        """Whether another incident would be one too many; one that is among them already never is."""
        if name in self.names:
            return False
        return sum(now - then < limit.per for then in self.names.values()) >= limit.incidents

    def plus(self, name: str, bucket: str, now: int, limit: Limit) -> Opened:
        """With another one; what is older than the limit looks back is forgotten."""
        recent = {other: then for other, then in self.names.items() if now - then < limit.per}
        newest = dict(sorted({**recent, name: now}.items(), key=lambda item: item[1])[-MOST:])
        buckets = {**self.buckets, name: bucket}
        return Opened(newest, name, {other: buckets[other] for other in newest if other in buckets})

    def newest_first(self) -> list[str]:
        """The incidents."""
        return sorted(self.names, key=lambda name: (name != self.last, -self.names[name]))
