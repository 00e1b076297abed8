"""What is written into `status`: findings become conditions, and Ready is derived from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from vedette_operator.verdict import Finding

READY: Mapping[str, Sequence[str]] = {
    "LogSource": ("Accepted", "Tested", "TopologyReady", "TemplateReady", "Available"),
    "Enrichment": ("Accepted", "Tested", "Loaded"),
    "AlertRule": ("Accepted", "Tested", "Loaded"),
}
"""Which conditions make an object of a kind Ready; the others inform."""

_INFORMED_UNKNOWN = "NotRun"


def ready(kind: str, findings: Sequence[Finding]) -> Finding:
    """The Ready condition: the first condition that does not hold says why."""
    have = {finding.type: finding for finding in findings}
    for name in READY[kind]:
        finding = have.get(name)
        if finding is None:
            return Finding("Ready", "Unknown", "Waiting", f"{name} is not known yet")
        if finding.status != "True" and finding.reason != _INFORMED_UNKNOWN:
            return Finding("Ready", finding.status, finding.reason, finding.message)
    return Finding("Ready", "True", "AllGood", "")


def conditions(
    findings: Sequence[Finding], before: Sequence[Mapping[str, Any]], generation: int, now: int
) -> list[dict[str, Any]]:
    """Conditions as Kubernetes writes them; `lastTransitionTime` stays while the status does. `now` in ms."""
    known = {condition.get("type"): condition for condition in before}
    made = []
    for finding in findings:
        old = known.get(finding.type)
        since = old["lastTransitionTime"] if old and old.get("status") == finding.status else _iso(now)
        made.append(
            {
                "type": finding.type,
                "status": finding.status,
                "reason": finding.reason,
                "message": finding.message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return made


def _iso(now: int) -> str:
    return dt.datetime.fromtimestamp(now // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
