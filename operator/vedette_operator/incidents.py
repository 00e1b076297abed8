"""The status of an Incident: how many alerts, who and what they are about, how long the steps took, whether in time.

Pure. The spec says when a step was reached where somebody wrote that down; else it counts from when the operator first
saw the incident there, and the status remembers it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from vedette_backends.cluster.protocol import Object
from vedette_backends.store.protocol import Alert
from vedette_crds.duration import UNITS, format_duration, parse_duration
from vedette_crds.incident import Incident
from vedette_crds.mistakes import problems_of
from vedette_engine.alerting.incidents import entities, timestamp
from vedette_operator import marks
from vedette_operator.statuses import conditions
from vedette_operator.verdict import MAX_MESSAGE, Finding

_LONGEST = 9_999 * UNITS["d"]

MINUTE, HOUR, DAY = UNITS["m"], UNITS["h"], UNITS["d"]


class Limits(NamedTuple):
    """Time limits from opening, ms; None for none."""

    acknowledge: int | None
    contain: int | None


SLA: Mapping[str, Limits] = {
    "critical": Limits(15 * MINUTE, 4 * HOUR),
    "high": Limits(30 * MINUTE, 8 * HOUR),
    "medium": Limits(4 * HOUR, 2 * DAY),
    "low": Limits(DAY, 7 * DAY),
    "informational": Limits(None, None),
}
"""Within which time somebody takes an incident on, and within which it can no longer spread, by severity."""

_REACHED = {
    "acknowledge": ("Containment", "Eradication", "Recovery", "Lessons Learned", "Closed"),
    "contain": ("Eradication", "Recovery", "Lessons Learned", "Closed"),
    "resolve": ("Lessons Learned", "Closed"),
}
"""Phases in which a step is behind, whether or not somebody wrote its time down."""
_WRITTEN = {"acknowledge": ("acknowledged",), "contain": ("contained",), "resolve": ("resolved", "closed")}


def status(item: Object, alerts: Sequence[Alert], total: int, *, before: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The status of an incident; it changes with the incident and its alerts, and when a time limit passes.

    Args:
        item: the incident.
        alerts: those whose entities count; all, or the newest.
        total: how many alerts belong to it.
        before: the status that was written last; remembers when steps were reached that nobody wrote down.
        now: ms since the epoch.
    """
    spec, metadata = item.manifest.get("spec") or {}, item.manifest["metadata"]
    opened = _first(_time(spec.get("opened")), _time(metadata.get("creationTimestamp")), now)
    timers = _timers(spec, before.get("timers") or {}, opened, now)
    accepted = _accepted(item.manifest)
    findings = [accepted, _ready(accepted, spec, metadata), _sla(spec, timers, opened, now)]
    found: dict[str, Any] = {
        "observedGeneration": item.generation,
        "conditions": conditions(findings, before.get("conditions") or (), item.generation, now),
        "alerts": total,
        "entities": entities(document for alert in alerts for document in _documents(alert)),
    }
    if timers:
        found["timers"] = {name: format_duration(length) for name, length in timers.items()}
    return found


def _documents(alert: Alert) -> Iterator[Mapping[str, Any]]:
    events = alert.body.get("events")
    for event in events if isinstance(events, list) else ():
        document = event.get("document") if isinstance(event, Mapping) else None
        if isinstance(document, Mapping):
            yield document


def _timers(spec: Mapping[str, Any], before: Mapping[str, Any], opened: int, now: int) -> dict[str, int]:
    """Step → ms from opening, of the steps that were reached."""
    found: dict[str, int] = {}
    latest = _LONGEST
    for step in ("resolve", "contain", "acknowledge"):
        written = next((time for name in _WRITTEN[step] if (time := _time(spec.get(name))) is not None), None)
        reached = spec.get("phase") in _REACHED[step] or (step == "acknowledge" and bool(spec.get("assignee")))
        if written is None and not reached:
            continue
        if written is not None:
            length = written - opened
        else:
            # When it was seen first; but whoever wrote down a later step had this one behind them by then.
            length = min(_first(_duration(before.get(step)), now - opened), latest)
        found[step] = min(max(length, 0) // 1000 * 1000, _LONGEST)
        latest = found[step]
    return {step: found[step] for step in _REACHED if step in found}


def _sla(spec: Mapping[str, Any], timers: Mapping[str, int], opened: int, now: int) -> Finding:
    severity = str(spec.get("severity") or "medium")
    late: list[str] = []
    waits: list[tuple[int, str, int]] = []
    for step, limit in SLA.get(severity, SLA["medium"])._asdict().items():
        if limit is None:
            continue
        if step in timers:
            if timers[step] > limit:
                late.append(f"{step} took {format_duration(timers[step])} of {format_duration(limit)}")
        elif now > opened + limit:
            late.append(f"{step} waits for longer than {format_duration(limit)}")
        else:
            waits.append((opened + limit, step, limit))
    if late:
        return Finding("SLA", "False", "Late", "; ".join(late))
    if waits:
        due, step, limit = min(waits)
        return Finding(
            "SLA", "True", "InTime", f"{step} is due by {timestamp(due)}, {format_duration(limit)} after opening"
        )
    return Finding("SLA", "True", "InTime")


def _accepted(manifest: Mapping[str, Any]) -> Finding:
    try:
        Incident.model_validate({name: value for name, value in manifest.items() if name != "status"})
    except ValidationError as error:
        message = "; ".join(f"{one.path}: {one.message}" for one in problems_of(error, Incident))
        return Finding("Accepted", "False", "Invalid", message[:MAX_MESSAGE])
    return Finding("Accepted", "True", "Valid")


def _ready(accepted: Finding, spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> Finding:
    if accepted.status != "True":
        return Finding("Ready", accepted.status, accepted.reason, accepted.message)
    if (metadata.get("annotations") or {}).get(marks.PAUSE) == "true":
        return Finding("Ready", "True", "Paused", f"the annotation {marks.PAUSE} is set")
    if spec.get("phase") == "Closed":
        return Finding("Ready", "True", "Closed", str(spec.get("disposition") or ""))
    return Finding("Ready", "True", "Open", str(spec.get("phase") or "Identification"))


def _first(*times: int | None) -> int:
    return next((time for time in times if time is not None), 0)


def _time(text: Any) -> int | None:
    """Ms since the epoch of a timestamp in a manifest; None for what is no time."""
    if not isinstance(text, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    try:
        return int(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None


def _duration(text: Any) -> int | None:
    try:
        return parse_duration(text) if isinstance(text, str) else None
    except ValueError:
        return None
