"""Alerts of scheduled searches: an interval and the events of its opening window become what a responder reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.groups import Group, canonical, group_text, values_of
from vedette_engine.alerting.ids import digest
from vedette_engine.alerting.notices import Notice, group_of
from vedette_engine.alerting.searches import Interval, SearchSpec, Seen
from vedette_engine.alerting.summary import fields_of, render
from vedette_engine.normalise.document import OTHER
from vedette_engine.query.fields import Kind, kind_of, other_name
from vedette_engine.query.values import leaves

KIND: Final = "search"
MAX_EVENTS_KEPT: Final = 20
MAX_BYTES_KEPT: Final = 262_144
"""Of the documents that an alert keeps; the first event is kept however large it is."""
MAX_VALUES: Final = 1000
"""Different values of one field that a summary chooses from."""
DEFAULT_SEVERITY: Final = "medium"


class Found(NamedTuple):
    """One event as it is stored. `time`: of the event, ms since the epoch."""

    time: int
    id: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SearchAlert:
    """An alert, with the meaning that the store's alerts have, which the engine does not know.

    Attributes:
        id: deterministic.
        time: event time of the event that opened it.
        raised: when it was made.
        rule, severity, title, summary: what people read.
        body: `detection` and `events`.
    """

    id: str
    time: int
    raised: int
    rule: str
    severity: str
    title: str
    summary: str
    body: Mapping[str, Any]


def search_alert_id(namespace: str, rule: str, group: Group, opening: str) -> str:
    """Id of the alert of an interval: the AlertRule, the group, and the event that opened it."""
    return digest("search", namespace, rule, group_text(group), opening)


def build_alert(
    rule: BundledRule,
    namespace: str,
    spec: SearchSpec,
    group: Group,
    interval: Interval,
    events: Sequence[Found],
    now: int,
) -> SearchAlert:
    """The alert of a new interval.

    Args:
        rule: the rule in force.
        namespace: of the rule.
        spec: its search.
        group: whose events they are.
        interval: as `searches.intervals` found it.
        events: of the group; those outside the interval's opening window do not count.
        now: ms since the epoch.
    """
    inside = opening_window(spec, interval, events)
    title = rule.title or rule.name
    detection: dict[str, Any] = {
        "kind": KIND,
        "query": spec.query,
        "count": interval.count,
        "window": {"start": interval.start - spec.window, "end": interval.start},
        "group": dict(zip(spec.group_by, group, strict=True)),
        "tags": list(rule.tags),
        "owner": rule.owner,
        "runbook": rule.runbook,
        "rule_hash": rule.hash,
        "rule_version": rule.version,
    }
    if spec.distinct is not None:
        detection["distinct"] = {"field": spec.distinct[0], "count": interval.distinct}
    return SearchAlert(
        id=search_alert_id(namespace, rule.name, group, interval.opening),
        time=interval.start,
        raised=now,
        rule=rule.name,
        severity=rule.severity or DEFAULT_SEVERITY,
        title=title,
        summary=render(rule.summary, summary_view(rule.summary, interval, inside)) if rule.summary else title,
        body={"detection": detection, "events": _kept(inside)},
    )


def build_notice(
    rule: BundledRule, alert: SearchAlert, spec: SearchSpec, group: Group, interval: Interval, events: Sequence[Found]
) -> Notice | None:
    """What the responder is told of an alert; None where the rule opens no incidents by itself.

    Fields that the search groups by have the group's value, others that of the event that opened the alert.
    """
    if not rule.incident:
        return None
    opening = next((found.document for found in events if found.id == interval.opening), {})
    grouped = dict(zip(spec.group_by, group, strict=True))
    names = rule.incident.get("groupBy", ())
    shared = group_of([grouped[name] if name in grouped else _raw(opening, name) for name in names])
    return Notice(alert.id, alert.rule, alert.time, shared, rule.incident["within"])


def opening_window(spec: SearchSpec, interval: Interval, events: Iterable[Found]) -> list[Found]:
    """The events of the window at the moment at which the condition became true, by time."""
    inside = (found for found in events if interval.start - spec.window < found.time <= interval.start)
    return sorted(inside, key=lambda found: (found.time, found.id))


def summary_view(template: str, interval: Interval, events: Sequence[Found]) -> dict[str, Any]:
    """What a summary can name: each field's different values, the most frequent first, and `count` and `distinct`.

    One value stands alone. Only the fields of the template are looked at.
    """
    view = {name: _values(name, events) for name in set(fields_of(template))}
    present = {name: values[0] if len(values) == 1 else values for name, values in view.items() if values}
    return {**present, "count": interval.count, "distinct": interval.distinct}


def _values(name: str, events: Sequence[Found]) -> list[Any]:
    counts: Counter[str] = Counter()
    shown: dict[str, Any] = {}
    for found in events:
        held = [(canonical(name, value), value) for value in leaves(_raw(found.document, name))]
        counts.update(dict.fromkeys(key for key, _ in held).keys())
        for key, value in held:
            shown.setdefault(key, value)
    return [shown[key] for key, _ in counts.most_common(MAX_VALUES)]


def _raw(document: Mapping[str, Any], name: str) -> Any:
    if kind_of(name) is Kind.OTHER or name not in document:
        return document.get(OTHER, {}).get(other_name(name))
    return document[name]


def _kept(events: Sequence[Found]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    size = 0
    for found in events[:MAX_EVENTS_KEPT]:
        size += len(orjson.dumps(found.document))
        if kept and size > MAX_BYTES_KEPT:
            break
        kept.append({"id": found.id, "time": found.time, "document": found.document})
    return kept


def seen(spec: SearchSpec, found: Found) -> Seen:
    """What the condition looks at of an event."""
    return Seen(found.time, found.id, () if spec.distinct is None else values_of(found.document, spec.distinct[0]))
