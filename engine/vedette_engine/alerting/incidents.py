"""The Incident that an alert opens: what it says, made from the alert and its events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

FIRST_PHASE: Final = "Identification"
LAST_PHASE: Final = "Closed"
SEVERITIES: Final = ("informational", "low", "medium", "high", "critical")
DEFAULT_SEVERITY: Final = "medium"
RULE_LABEL: Final = "vedette.dev/rule"
ALERT_ANNOTATION: Final = "vedette.dev/first-alert"

ENTITY_FIELDS: Final = (
    "host.name",
    "user.name",
    "user.target.name",
    "source.ip",
    "destination.ip",
    "destination.domain",
    "url.domain",
    "dns.question.name",
    "process.executable",
    "file.path",
    "file.hash.sha256",
    "process.hash.sha256",
    "cloud.account.id",
)
"""Fields that name who and what an alert is about, in the order in which people read them."""
MAX_VALUES: Final = 20
MAX_VALUE: Final = 256
MAX_TITLE: Final = 200
MAX_DESCRIPTION: Final = 4000
"""Characters; the kind allows a few more."""
_SHOWN_VALUES: Final = 5
_FIRST: Final = -62_135_596_800_000
_LAST: Final = 253_402_300_799_999


def timestamp(time: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC; what no calendar holds becomes its first or last moment."""
    within = min(max(time, _FIRST), _LAST)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=within)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{within % 1000:03d}Z".rjust(24, "0")


def entities(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Field → its different values in the events, at most 20 of at most 256 characters, in the order of the fields."""
    found = named(documents, lambda value: _line(str(value), MAX_VALUE))
    return {name: values[:MAX_VALUES] for name, values in found.items()}


def named(documents: Iterable[Mapping[str, Any]], text: Callable[[Any], str]) -> dict[str, list[str]]:
    """Entity field → its different values in the events as texts, in the order of the fields.

    Values that say nothing (`-`, blanks) are left out.

    Args:
        documents: events with flat names.
        text: writes one value.
    """
    found: dict[str, dict[str, None]] = {}
    for document in documents:
        for name in ENTITY_FIELDS:
            value = document.get(name)
            for item in value if isinstance(value, list) else [value]:
                written = "" if item is None else text(item)
                if written.strip("- "):
                    found.setdefault(name, {})[written] = None
    return {name: list(found[name]) for name in ENTITY_FIELDS if name in found}


def describe(*, rule: str, alert: str, summary: str, runbook: str, about: Mapping[str, Iterable[str]]) -> str:
    """What is known when the incident is opened, in a few lines."""
    lines = [_line(summary, 1000), f"Opened by rule {rule} because of alert {alert}."]
    for name, values in about.items():
        listed = list(values)
        more = f" and {len(listed) - _SHOWN_VALUES} more" if len(listed) > _SHOWN_VALUES else ""
        lines.append(f"{name}: {', '.join(listed[:_SHOWN_VALUES])}{more}")
    if runbook:
        lines.append(f"Runbook: {_line(runbook, 1024)}")
    text = "\n".join(line for line in lines if line)
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"


def manifest(
    namespace: str,
    name: str,
    *,
    rule: str,
    alert: str,
    title: str,
    severity: str,
    description: str,
    occurred: int,
    opened: int,
) -> dict[str, Any]:
    """An Incident that nobody works on yet.

    Args:
        namespace: of the object.
        name: of the object.
        rule: the AlertRule that opens it.
        alert: id of the alert behind it.
        title: of the incident; line breaks become blanks.
        severity: of the alert; `medium` stands for one that an incident cannot have.
        description: a few lines.
        occurred: event time of the alert, ms since the epoch.
        opened: now, ms since the epoch.
    """
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {RULE_LABEL: rule},
            "annotations": {ALERT_ANNOTATION: alert},
        },
        "spec": {
            "title": _line(title, MAX_TITLE) or f"Alert of rule {rule}",
            "description": description,
            "severity": severity if severity in SEVERITIES else DEFAULT_SEVERITY,
            "phase": FIRST_PHASE,
            "occurred": timestamp(occurred),
            "opened": timestamp(opened),
        },
    }


def is_open(spec: Mapping[str, Any]) -> bool:
    """Whether people still work on the incident with this spec."""
    return spec.get("phase") != LAST_PHASE


def _line(text: str, limit: int) -> str:
    """One line that every reader of JSON takes: event values hold anything."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    line = " ".join(clean.split()).encode("utf-8", "replace").decode()
    return line if len(line) <= limit else line[: limit - 1] + "…"
