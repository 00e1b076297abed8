"""What a scheduler counts, per rule. Cumulative per incarnation, so that readers can take differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vedette_workers.metrics import Sample

_METRICS: Final = {
    "rounds": "vedette_scheduler_rounds_total",
    "matches": "vedette_scheduler_rule_matches_total",
    "alerts": "vedette_scheduler_alerts_total",
    "truncated": "vedette_scheduler_truncated_total",
    "skipped": "vedette_scheduler_skipped_groups_total",
    "forgotten": "vedette_scheduler_forgotten_alerts_total",
    "failures": "vedette_scheduler_failures_total",
    "rejected": "vedette_scheduler_rejected_alerts_total",
}


@dataclass(slots=True)
class Figures:
    """Of one rule. Times in ms since the epoch, 0 for never.

    Attributes:
        rounds: rounds that came to their end.
        matches: events that were new in them and matched the query.
        alerts: alerts created; repeats do not count.
        truncated: groups that were not looked at in full, because there were too many of them or of their events.
        skipped: groups that could not be judged at all.
        forgotten: alerts that were forgotten before their time, because there were too many of them.
        failures: rounds that failed.
        rejected: alerts that the store could not hold.
        last_round: when a round ended.
        last_alert: when an alert was created.
        checkpoint: everything that was stored until then has been looked at.
        note: what people should know of the last round.
        error: why rounds fail, where that is the rule's fault and not a backend's; empty after one that did not.
    """

    rounds: int = 0
    matches: int = 0
    alerts: int = 0
    truncated: int = 0
    skipped: int = 0
    forgotten: int = 0
    failures: int = 0
    rejected: int = 0
    last_round: int = 0
    last_alert: int = 0
    checkpoint: int = 0
    note: str = ""
    error: str = ""

    def overdue(self, now: int, every: int, settle: int) -> int:
        """Ms by which the next round is late; 0 while rounds come in time."""
        return max(now - settle - every - self.checkpoint, 0) if self.checkpoint else 0

    def to_json(self, overdue: int) -> dict[str, Any]:
        """For heartbeats; what is 0 or empty is left out."""
        told = {name: getattr(self, name) for name in Figures.__dataclass_fields__}
        return {name: value for name, value in {**told, "lag_ms": overdue}.items() if value}


def samples(rules: Mapping[str, tuple[Figures, int]]) -> Iterator[Sample]:
    """The metrics of rules in force, given with the ms by which each is overdue."""
    yield "vedette_scheduler_rules", (), len(rules)
    for name, (figures, overdue) in rules.items():
        for attribute, metric in _METRICS.items():
            yield metric, (name,), getattr(figures, attribute)
        yield "vedette_scheduler_lag_seconds", (name,), overdue / 1000
