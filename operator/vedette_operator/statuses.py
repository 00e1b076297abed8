"""What is written into `status`: findings become conditions, and Ready is derived from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vedette_crds.conditions import MAX_MESSAGE
from vedette_operator.verdict import Finding

READY: Mapping[str, Sequence[str]] = {
    "LogSource": ("Accepted", "Tested", "TopologyReady", "TemplateReady", "Available"),
    "Enrichment": ("Accepted", "Tested", "Loaded"),
    "AlertRule": ("Accepted", "Tested", "Loaded"),
}
"""Which conditions make an object of a kind Ready; the others inform."""

_INFORMED_UNKNOWN = "NotRun"
_PASSING = frozenset({"Waiting", "Starting"})
"""Reasons that go by themselves, so that no Event tells of them."""


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
    """Conditions as Kubernetes writes them.

    Args:
        findings: one of each type, in the order in which they are to stand.
        before: conditions that were written last: `lastTransitionTime` stays while the status does.
        generation: of the object that was looked at.
        now: ms since the epoch.
    """
    known = {condition.get("type"): condition for condition in before}
    made = []
    for finding in findings:
        message = finding.message
        old = known.get(finding.type)
        since = old["lastTransitionTime"] if old and old.get("status") == finding.status else _iso(now)
        made.append(
            {
                "type": finding.type,
                "status": finding.status,
                "reason": finding.reason,
                "message": message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…",
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return made


def event_type(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Literal["Normal", "Warning"] | None:
    """The type of the Event that a turn of Ready is worth, None for none.

    That all is well from the beginning is none, nor is what is not known yet or passes by itself.

    Args:
        before: the Ready condition that was written last; None for the first one.
        now: the one that is written now.
    """
    if now["status"] == "True":
        return None if before is None or before["status"] == "True" else "Normal"
    return None if now["status"] == "Unknown" or now["reason"] in _PASSING else "Warning"


def _iso(now: int) -> str:
    return dt.datetime.fromtimestamp(now // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
