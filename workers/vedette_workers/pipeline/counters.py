"""What a worker counts. Cumulative per incarnation, so that readers can take differences and lose nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

RATE_WINDOW = 10_000
"""ms over which a source's rate is taken."""


class SourceCounters:
    """Counters of one LogSource; times in ms since the epoch."""

    def __init__(self) -> None:
        self.events = 0
        self.dead_letters = 0
        self.last_event = 0
        self.last_ingested = 0
        self.lag = 0
        """ms that the oldest message has been waiting in the queue; 0 when none waits."""
        self._marks: list[tuple[int, int]] = []

    def seen(self, number: int, last_event: int, last_ingested: int) -> None:
        """`number` events were stored."""
        self.events += number
        self.last_event = max(self.last_event, last_event)
        self.last_ingested = max(self.last_ingested, last_ingested)

    def to_json(self, now: int) -> dict[str, Any]:
        """Called once per heartbeat; the rate is taken over the last heartbeats."""
        self._marks.append((now, self.events))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_WINDOW:
            self._marks.pop(0)
        then, events = self._marks[0]
        rate = (self.events - events) * 1000 / (now - then) if now > then else 0.0
        return {
            "events": self.events,
            "dead_letters": self.dead_letters,
            "last_event": self.last_event,
            "last_ingested": self.last_ingested,
            "lag_ms": self.lag,
            "rate": round(rate, 1),
        }


class Counters:
    """All counters of one pipeline worker."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.letters: Counter[str] = Counter()
        """Dead letters by reason."""
        self.sources: dict[str, SourceCounters] = {}
        self._rules: dict[str, dict[str, Any]] = {}

    def source(self, name: str) -> SourceCounters:
        """The counters of one source."""
        return self.sources.setdefault(name, SourceCounters())

    def rule_matched(self, name: str, now: int) -> None:
        """An event matched a document of the AlertRule."""
        self._rule(name)["matches"] += 1
        self._rule(name)["last"] = now

    def rule_alerted(self, name: str) -> None:
        """An alert of the AlertRule was created (repeats do not count)."""
        self._rule(name)["alerts"] += 1

    def rule_failures(self, totals: Mapping[str, int]) -> None:
        """How often each AlertRule could not be tried on an event, since the start."""
        for name, total in totals.items():
            self._rule(name)["errors"] = total

    def rules(self) -> list[tuple[str, dict[str, Any]]]:
        """(AlertRule, its counters) of those that matched, or failed, at least once."""
        return [(name, dict(counters)) for name, counters in list(self._rules.items())]

    def _rule(self, name: str) -> dict[str, Any]:
        return self._rules.setdefault(name, {"matches": 0, "alerts": 0, "errors": 0, "last": 0})

    def to_json(self, now: int) -> dict[str, Any]:
        """`counters`, `sources` and `rules` of a heartbeat's body."""
        return {
            "counters": dict(self.totals),
            "sources": {name: counters.to_json(now) for name, counters in list(self.sources.items())},
            "rules": dict(self.rules()),
        }
