"""How scheduled searches go, as the schedulers' heartbeats tell it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.store.protocol import Heartbeat
from vedette_operator.verdict import Finding


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of one rule: sums over the schedulers that live, hardly ever more than one.

    Attributes:
        matches: events that matched the query.
        alerts: alerts created.
        last_alert: when the last was, ms since the epoch; 0 for never.
        error: why its rounds fail, where that is the rule's own fault.
        note: what people should know of its last round.
    """

    matches: int = 0
    alerts: int = 0
    last_alert: int = 0
    error: str = ""
    note: str = ""

    @classmethod
    def of(cls, beats: Sequence[Heartbeat], rule: str) -> Schedule:
        """The schedule of one rule."""
        told: list[Mapping[str, Any]] = [beat.body["rules"].get(rule, {}) for beat in beats]
        return cls(
            matches=sum(one.get("matches", 0) for one in told),
            alerts=sum(one.get("alerts", 0) for one in told),
            last_alert=max((one.get("last_alert", 0) for one in told), default=0),
            error=next((one["error"] for one in told if one.get("error")), ""),
            note=next((one["note"] for one in told if one.get("note")), ""),
        )

    def stats(self) -> dict[str, Any]:
        """`status.stats` of an AlertRule, counted since the schedulers began."""
        told: dict[str, Any] = {"matches": self.matches, "alerts": self.alerts}
        if self.last_alert:
            moment = dt.datetime.fromtimestamp(self.last_alert // 1000, dt.UTC)
            told["lastAlertTime"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        return told

    def loaded(self, finding: Finding) -> Finding:
        """The Loaded condition, with what the schedulers have to say of the rule."""
        if finding.status != "True":
            return finding
        if self.error:
            return Finding("Loaded", "False", "WorkerFailed", self.error)
        return Finding("Loaded", "True", finding.reason, self.note)
