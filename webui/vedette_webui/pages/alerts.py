"""Alerts: the queue, one alert with why it fired, and what responders do with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from vedette_backends.cluster.protocol import Object
from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.protocol import Alert, AlertFilter, StoredEvent
from vedette_webui import chart, searched, why
from vedette_webui import show as showing
from vedette_webui.entities import entities
from vedette_webui.journal import note_change
from vedette_webui.visit import PageError, Visit

PAGE = 50
BULK = 500
STATUSES = {
    "open": ("new", "acknowledged"),
    "new": ("new",),
    "acknowledged": ("acknowledged",),
    "closed": ("closed",),
    "all": (),
}
DISPOSITIONS = ("undetermined", "true-positive", "benign", "false-positive", "duplicate")
NOBODY = ""
"""An alert without owner has none, or an empty one."""


def wanted(visit: Visit) -> AlertFilter:
    """The filter that the address names."""
    query = visit.query
    owner = query.get("owner") or None
    return AlertFilter(
        severities=query.getlist("severity")[:5],
        rules=[rule for rule in query.getlist("rule") if rule][:50],
        statuses=STATUSES.get(query.get("status", ""), STATUSES["open"]),
        owner={"me": visit.session.user, "nobody": NOBODY}.get(owner, owner) if owner else None,
        incident=query.get("incident") or None,
        text=query.get("q", "")[:500],
        time=visit.span("all").time,
    )


def index(visit: Visit) -> Response:
    """The queue."""
    store, where = visit.store, wanted(visit)
    latest = store.latest_change()
    page = store.search_alerts(where, size=PAGE, after=visit.query.get("after") or None)
    if visit.part and "after" in visit.query:
        return visit.render("_alert_rows.html", page=page)
    return visit.render(
        "alerts.html",
        page=page,
        latest=latest,
        where=where,
        span=visit.span("all"),
        status=visit.query.get("status", "open"),
        by_severity=store.count_alerts(replace(where, severities=()), "severity"),
        by_rule=sorted(
            store.count_alerts(replace(where, rules=()), "rule").items(), key=lambda pair: (-pair[1], pair[0])
        ),
        by_status=store.count_alerts(replace(where, statuses=()), "status"),
        by_owner=sorted(name for name in store.count_alerts(replace(where, owner=None), "owner") if name),
        histogram=alert_chart(visit, where),
        ever=page.total or sum(store.count_alerts(AlertFilter(), "status").values()),
    )


def alert_chart(visit: Visit, where: AlertFilter) -> chart.Chart:
    """The histogram of the alerts that fit."""
    ask = visit.store.alert_histogram
    return chart.histogram(lambda time, size: ask(replace(where, time=time), size), where.time, visit.now)


def find(visit: Visit, alert_id: str) -> Alert:
    """The alert, or a page that says that there is none."""
    alert = visit.store.get_alert(alert_id[:200])
    if alert is None:
        raise PageError(404, "There is no such alert in this namespace", "Its retention may have ended.")
    return alert


def show(visit: Visit) -> Response:
    """One alert."""
    store = visit.store
    latest = store.latest_change()
    alert = find(visit, visit.request.path_params["id"])
    detection = _mapping(alert.body.get("detection"))
    events = evidence(alert)
    explanation = why.read(detection.get("explanation"))
    similar = store.search_alerts(AlertFilter(rules=(alert.rule,)), size=7)
    found = entities(showing.flat(event.document) for event in events)
    return visit.render(
        "alert.html",
        alert=alert,
        latest=latest,
        detection=detection,
        events=events,
        explanation=explanation,
        searched=searched.read(detection),
        matched=why.matched(explanation),
        similar=[other for other in similar.alerts if other.id != alert.id][:6],
        similar_total=max(similar.total - 1, 0),
        entities=[(name, value, _alerts_with(visit, value)) for name, value in found],
        history=store.list_records("history", alert.id),
        incidents=_open_incidents(visit),
        dispositions=DISPOSITIONS,
        others=False,
        tab=visit.query.get("tab", ""),
    )


def _open_incidents(visit: Visit) -> list[Object]:
    """Those that an alert may be added to, as far as the person may see them."""
    found = visit.desk.objects.of("Incident", visit.namespace) if visit.can("list", "incidents") else []
    return [each for each in found if each.manifest.get("spec", {}).get("phase") != "Closed"][-20:]


def evidence(alert: Alert) -> list[StoredEvent]:
    """The events that raised the alert, as far as its body can be read."""
    return [_event(one) for one in _list(alert.body.get("events")) if isinstance(one, Mapping)]


def raw(visit: Visit) -> Response:
    """The alert as the store keeps it."""
    alert = find(visit, visit.request.path_params["id"])
    body = showing.json_text(_plain(alert), indent=True)
    return Response(body.encode("utf-8", "replace"), media_type="application/json")


def actions(visit: Visit) -> Response:
    """Acknowledge, close, reopen or assign one alert or many, under the versions that the person saw."""
    action = visit.text("action")
    workflow = _workflow(visit, action)
    _need_for(visit, workflow)
    changed, before, conflicts = [], [], 0
    for alert_id, version in chosen(visit):
        old = visit.store.get_alert(alert_id)
        try:
            new = set_workflow(visit, alert_id, version, workflow)
        except (ConflictError, NotFoundError):
            conflicts += 1
            continue
        changed.append(new)
        was = old.workflow if old is not None and old.version == version else {}
        restore = {key: was.get(key, _BLANK[key]) for key in workflow}
        before.append({"id": new.id, "version": new.version, "workflow": restore})
    word = {"acknowledge": "acknowledged", "close": "closed", "reopen": "reopened", "assign": "assigned"}[action]
    text = f"{len(changed)} alert{'s' * (len(changed) != 1)} {word}"
    if conflicts:
        text += f"; {conflicts} had been changed by somebody else and stayed as they are"
    undo = {"action": "/alerts/undo", "items": json.dumps(before)} if before else None
    return visit.done(text, visit.text("back", 2000) or visit.url("/alerts"), undo, refresh={})


def undo(visit: Visit) -> Response:
    """Set back what an action changed, unless somebody went on from there."""
    try:
        told = json.loads(visit.text("items", 200_000))
        items = [(str(one["id"]), int(one["version"]), dict(one["workflow"])) for one in told]
    except (ValueError, TypeError, KeyError) as error:
        raise PageError(400, "This cannot be undone") from error
    restored = 0
    for alert_id, version, workflow in items[:BULK]:
        if not all(key in _BLANK and _valid(key, value) for key, value in workflow.items()):
            raise PageError(400, "This cannot be undone")
        _need_for(visit, workflow)
        try:
            set_workflow(visit, alert_id, version, workflow)
            restored += 1
        except (ConflictError, NotFoundError):
            continue
    lost = len(items) - restored
    text = f"{restored} undone" + (f"; {lost} had been changed again by somebody else" if lost else "")
    return visit.done(text, visit.url("/alerts"), refresh={})


def chosen(visit: Visit) -> list[tuple[str, int]]:
    """The (id, version) pairs of the form."""
    pairs = []
    for item in visit.form.getlist("alert")[: BULK + 1]:
        alert_id, _, version = str(item).rpartition(":")
        if not version.isdigit():
            raise PageError(400, "The form names an alert without its version", "Reload the page.")
        pairs.append((alert_id, int(version)))
    if not 0 < len(pairs) <= BULK:
        raise PageError(400, f"Select between 1 and {BULK} alerts")
    return pairs


def set_workflow(visit: Visit, alert_id: str, version: int, workflow: Mapping[str, Any]) -> Alert:
    """Change an alert's workflow and write down who did. Raises ConflictError, NotFoundError."""
    mark = {"changed_by": visit.session.user, "changed_at": visit.now}
    alert = visit.store.update_alert(alert_id, version, {**workflow, **mark})
    note_change(visit, "history", alert_id, workflow)
    return alert


_BLANK: dict[str, str] = {"status": "new", "owner": "", "disposition": ""}


def _need_for(visit: Visit, workflow: Mapping[str, Any]) -> None:
    """Whoever closes or opens again disposes of an alert; everything else is part of acknowledging it."""
    disposing = "disposition" in workflow or workflow.get("status") == "closed"
    if disposing:
        visit.need("dispose", "alerts")
    if not disposing or "owner" in workflow or workflow.get("status") == "acknowledged":
        visit.need("acknowledge", "alerts")


def _valid(key: str, value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 200:
        return False
    allowed = {"status": STATUSES["open"] + STATUSES["closed"], "disposition": ("", *DISPOSITIONS)}.get(key)
    return allowed is None or value in allowed


def _workflow(visit: Visit, action: str) -> dict[str, str]:
    if action == "acknowledge":
        return {"status": "acknowledged", "owner": visit.session.user}
    if action == "close":
        disposition = visit.text("disposition") or "undetermined"
        if disposition not in DISPOSITIONS:
            raise PageError(400, f"{disposition} is no disposition", f"Choose one of {', '.join(DISPOSITIONS)}.")
        return {"status": "closed", "disposition": disposition}
    if action == "reopen":
        return {"status": "new", "disposition": ""}
    if action == "assign":
        return {"owner": visit.text("owner", 200)}
    raise PageError(400, "There is no such action")


def _alerts_with(visit: Visit, value: str) -> int:
    return sum(visit.store.count_alerts(AlertFilter(text=value), "status").values())


def _event(one: Mapping[str, Any]) -> StoredEvent:
    time = one.get("time")
    document = one.get("document")
    return StoredEvent(
        id=str(one.get("id", "")),
        time=time if isinstance(time, int) else 0,
        ingested=time if isinstance(time, int) else 0,
        document=dict(document) if isinstance(document, Mapping) else {},
    )


def _plain(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in alert.__slots__}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else []
