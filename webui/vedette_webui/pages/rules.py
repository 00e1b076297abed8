"""Rules: which run, which do not and why, what they found; and what is wrong in the manifests' files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from starlette.responses import Response

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.protocol import AlertFilter
from vedette_webui import health, searched, timespan
from vedette_webui.health import State
from vedette_webui.pages.alerts import alert_chart
from vedette_webui.render import SEVERITIES
from vedette_webui.visit import PageError, Visit

PAGE = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One rule in the list."""

    name: str
    title: str
    severity: str
    owner: str
    state: State
    figures: dict[str, Any]
    alerts: int


def index(visit: Visit) -> Response:
    """The list."""
    found = visit.desk.objects.of("AlertRule", visit.namespace)
    figures = health.totals(visit.store.heartbeats(), "rules", visit.now)
    raised = visit.store.count_alerts(AlertFilter(), "rule")
    rows = [row(rule, figures.get(rule.key.name, {}), raised.get(rule.key.name, 0)) for rule in found]
    by_state: dict[str, int] = {}
    for each in rows:
        by_state[each.state.word] = by_state.get(each.state.word, 0) + 1
    state, text = visit.query.get("state", ""), visit.query.get("q", "").lower()
    severity = visit.query.get("severity", "")
    rows = [
        each for each in rows
        if (not state or each.state.word == state)
        and (not severity or each.severity == severity)
        and (not text or text in f"{each.name} {each.title} {each.owner}".lower())
    ]  # fmt: skip
    order = {"bad": 0, "wait": 1, "idle": 2, "good": 3}
    rows.sort(key=lambda each: (order[each.state.tone], -each.alerts, _rank(each.severity), each.name))
    start = _number(visit.query.get("page", "")) * PAGE
    return visit.render(
        "rules.html",
        rows=rows[start : start + PAGE],
        total=len(rows),
        start=start,
        page_size=PAGE,
        ever=len(found),
        costs=any("micros" in each for each in figures.values()),
        by_state=sorted(by_state.items()),
        state=state,
        severity=severity,
        problems=list(visit.desk.problems())[:200],
    )


def row(rule: Object, figures: dict[str, Any], alerts: int) -> Row:
    """What the list shows of a rule."""
    spec = rule.manifest.get("spec", {})
    title = spec.get("title") or sigma_titles(spec) or rule.key.name
    severity = spec.get("severity") or _level(spec)
    owner = str(spec.get("owner", ""))
    return Row(rule.key.name, str(title), str(severity), owner, health.rule_state(rule), figures, alerts)


def show(visit: Visit) -> Response:
    """One rule."""
    name = visit.request.path_params["name"][:253]
    rule = visit.desk.objects.cluster.get(Key("AlertRule", visit.namespace, name))
    where = AlertFilter(rules=(name,))
    recent = visit.store.search_alerts(where, size=10)
    if rule is None and not recent.total:
        raise PageError(404, f"There is no rule {name} in this namespace", "It may have been deleted.")
    figures = health.totals(visit.store.heartbeats(), "rules", visit.now).get(name, {})
    spec = dict(rule.manifest.get("spec", {})) if rule else {}
    tests = spec.pop("tests", [])
    sigma = spec.pop("sigma", "")
    text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110) if spec else ""
    return visit.render(
        "rule.html",
        name=name,
        rule=rule,
        row=row(rule, figures, recent.total) if rule else None,
        spec=spec,
        sigma=sigma if isinstance(sigma, str) else "",
        search=searched.of_rule(spec),
        manifest=text,
        tests=[each for each in tests if isinstance(each, dict)] if isinstance(tests, list) else [],
        results=rule.status.get("tests", {}) if rule else {},
        conditions=health.conditions(rule) if rule else [],
        recent=recent,
        histogram=alert_chart(visit, where),
        moment=lambda text: timespan.moment(str(text)),
    )


def sigma_titles(spec: dict[str, Any]) -> str:
    """The title that a Sigma text gives itself (its first line that says so)."""
    return _line(spec, "title:")


def _level(spec: dict[str, Any]) -> str:
    level = _line(spec, "level:")
    return level if level in SEVERITIES else "medium"


def _line(spec: dict[str, Any], start: str) -> str:
    sigma = spec.get("sigma")
    if not isinstance(sigma, str):
        return ""
    for line in sigma.splitlines():
        if line.startswith(start):
            return line[len(start) :].strip().strip("'\"")
    return ""


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 5 else 0
