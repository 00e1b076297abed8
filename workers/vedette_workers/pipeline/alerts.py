"""Alerts of single events: who matched becomes what a responder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.store.protocol import Alert
from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.ids import alert_id
from vedette_engine.alerting.notices import Notice, group_of
from vedette_engine.alerting.summary import fields_of, render
from vedette_engine.detect.explain import explain_briefly, explainable
from vedette_engine.detect.ir import Node
from vedette_engine.detect.naming import ECS
from vedette_engine.detect.rule import Rule
from vedette_workers.pipeline.effects import Arrival

DEFAULT_SEVERITY = "medium"


@dataclass(frozen=True, slots=True)
class _Known:
    rule: BundledRule
    document: str
    resolve: Mapping[str, str]
    group: tuple[str, ...] = ()
    """Names in the event of the fields whose values alerts of one incident share."""


class Alerting:
    """Knows the AlertRules in force and writes their alerts. Keys are `<AlertRule>/<index of the document>`."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: dict[str, _Known] = {}
        self._conditions: dict[str, Node] = {}
        """For explanations; made at a rule's first alert, since most rules never raise one."""

    def learn(self, rule: BundledRule, documents: Sequence[Rule]) -> None:
        """A new or changed AlertRule with its compiled documents."""
        for sigma, document in zip(documents, _identities(documents), strict=True):
            resolve = {name: ECS.field(sigma.logsource, name) for name in fields_of(rule.summary)}
            group = tuple(ECS.field(sigma.logsource, name) for name in rule.incident.get("groupBy", ()))
            self._known[sigma.key] = _Known(rule, document, resolve, group)

    def forget(self, name: str) -> None:
        """An AlertRule that is gone or about to be replaced."""
        for key in [key for key, known in self._known.items() if known.rule.name == name]:
            del self._known[key]
            self._conditions.pop(key, None)

    def alert(
        self, sigma: Rule, event: Mapping[str, Any], event_id: str, arrival: Arrival, document: Mapping[str, Any]
    ) -> Alert:
        """The alert that `event` raises under the matched rule; `document` is the event as it is stored."""
        time = event["@timestamp"]
        known = self._known[sigma.key]
        rule = known.rule
        title = rule.title or sigma.title
        return Alert(
            id=alert_id(self._namespace, rule.name, known.document, event_id),
            time=time,
            raised=arrival.now,
            rule=rule.name,
            severity=rule.severity or sigma.level or DEFAULT_SEVERITY,
            title=title,
            summary=render(rule.summary, event, known.resolve) if rule.summary else title,
            body={
                "detection": {
                    "sigma_id": sigma.id,
                    "tags": list(dict.fromkeys((*sigma.tags, *rule.tags))),
                    "owner": rule.owner,
                    "runbook": rule.runbook,
                    "rule_hash": rule.hash,
                    "rule_version": rule.version,
                    "source": arrival.source,
                    "explanation": explain_briefly(self._condition(sigma), event).to_json(),
                },
                "events": [{"id": event_id, "time": time, "document": document}],
            },
        )

    def notice(self, sigma: Rule, event: Mapping[str, Any], alert: Alert) -> Notice | None:
        """What the responder is told of the alert; None where the rule opens no incidents by itself."""
        known = self._known[sigma.key]
        if not known.rule.incident:
            return None
        group = group_of([event.get(name) for name in known.group])
        return Notice(alert.id, alert.rule, alert.time, group, known.rule.incident["within"])

    def _condition(self, sigma: Rule) -> Node:
        if sigma.key not in self._conditions:
            self._conditions[sigma.key] = explainable(sigma)
        return self._conditions[sigma.key]


def _identities(documents: Sequence[Rule]) -> list[str]:
    """What tells the documents of one AlertRule apart: their ids; their places where an id is missing or repeated."""
    ids = [sigma.id for sigma in documents]
    return [one if one and ids.count(one) == 1 else f"#{index}" for index, one in enumerate(ids)]
