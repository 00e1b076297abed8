"""Incidents: the object in the cluster says where the work stands, the store keeps what people write.

A change of one field is applied to the newest version if nobody changed that field; otherwise the person decides again.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.protocol import Alert, AlertFilter, Record
from vedette_engine.alerting.ids import incident_name
from vedette_webui import show as showing
from vedette_webui import timespan
from vedette_webui.entities import entities
from vedette_webui.journal import note_change
from vedette_webui.pages import alerts
from vedette_webui.render import SEVERITIES
from vedette_webui.visit import MANAGER, PageError, Visit

PHASES = ("Identification", "Containment", "Eradication", "Recovery", "Lessons Learned", "Closed")
DISPOSITIONS = alerts.DISPOSITIONS
NOTE = 20_000
TRIES = 5
_NOTE_ID = re.compile(r"[0-9a-z-]{8,64}")


def index(visit: Visit) -> Response:
    """The list, open ones first."""
    found = visit.desk.objects.of("Incident", visit.namespace)
    phase = visit.query.get("phase", "open")
    text = visit.query.get("q", "").lower()
    fitting = {"all": set(PHASES), "open": set(PHASES) - {"Closed"}}.get(phase, {phase})
    rows = [
        each
        for each in found
        if spec(each).get("phase") in fitting
        and text in f"{each.key.name} {spec(each).get('title', '')} {spec(each).get('assignee', '')}".lower()
    ]
    rows.sort(key=lambda each: (str(spec(each).get("opened", "")), each.key.name), reverse=True)
    counts = {each.key.name: _linked(visit, each.key.name) for each in rows[:200]}
    return visit.render(
        "incidents.html",
        rows=rows[:200],
        total=len(rows),
        ever=len(found),
        phase=phase,
        phases=PHASES,
        counts=counts,
    )


def show(visit: Visit) -> Response:
    """One incident."""
    found = find(visit)
    latest = visit.store.latest_change()
    seen = state(visit, found.key.name)
    linked = visit.store.search_alerts(AlertFilter(incident=found.key.name), size=100)
    return visit.render(
        "incident.html",
        incident=found,
        spec=spec(found),
        latest=latest,
        state=seen,
        notes=visit.store.list_records("notes", found.key.name) if visit.can("list", "notes") else None,
        alerts=linked,
        phases=PHASES,
        dispositions=DISPOSITIONS,
        note_id=f"{visit.now:013d}-{secrets.token_hex(8)}",
        entities=entities(document for alert in linked.alerts for document in _documents(alert)),
    )


def escalate(visit: Visit) -> Response:
    """Open an incident from alerts (or add them to one); doing it twice opens one."""
    chosen = alerts.chosen(visit)
    found = sorted((alerts.find(visit, alert_id) for alert_id, _ in chosen), key=lambda alert: (alert.time, alert.id))
    name = visit.text("incident", 63)
    taken = next((str(alert.workflow["incident"]) for alert in found if alert.workflow.get("incident")), "")
    if not name:
        visit.need(*(("patch", "incidents", taken) if taken else ("create", "incidents")))
        name = taken or _open(visit, found)
    else:
        visit.need("patch", "incidents", name)
        if visit.desk.objects.cluster.get(Key("Incident", visit.namespace, name)) is None:
            raise PageError(404, f"There is no incident {name}", "It may have been deleted; open a new one.")
    stayed = 0
    for alert in found:
        stayed += not link(visit, alert, name)
    if visit.part:
        target = visit.url(f"/incidents/{name}")
        return Response(status_code=204, headers={"hx-redirect": target})
    return visit.redirect(f"/incidents/{name}", stayed=stayed or None)


def link(visit: Visit, alert: Alert, name: str) -> bool:
    """Set the alert's incident under its version; False when it belongs to another one already."""
    current: Alert | None = alert
    for _ in range(TRIES):
        if current is None or current.workflow.get("incident", name) != name:
            return False
        if current.workflow.get("incident") == name:
            return True
        workflow = {"incident": name}
        if current.workflow.get("status") == "new":
            workflow |= {"status": "acknowledged", "owner": current.workflow.get("owner") or visit.session.user}
        try:
            alerts.set_workflow(visit, current.id, current.version, workflow)
        except NotFoundError:
            return False
        except ConflictError:
            current = visit.store.get_alert(current.id)
            continue
        note_change(visit, "notes", name, {"alert": current.id, "summary": current.summary[:500]})
        return True
    raise ConflictError(f"alert {alert.id} is being changed by others")


def create(visit: Visit) -> Response:
    """An incident that no alert told of."""
    title, severity = visit.text("title", 200), visit.text("severity")
    if not title:
        raise PageError(400, "An incident needs a title")
    if severity not in SEVERITIES:
        raise PageError(400, f"{severity} is no severity", f"Choose one of {', '.join(SEVERITIES)}.")
    name = f"inc-{timespan.iso(visit.now)[:10].replace('-', '')}-{secrets.token_hex(5)}"
    _create(visit, name, title, severity, visit.now)
    return visit.redirect(f"/incidents/{name}")


def change(visit: Visit) -> Response:
    """Set one field of the incident."""
    name, field = find(visit).key.name, visit.text("field")
    value, was = visit.text("value"), visit.text("was")
    allowed = {"phase": PHASES, "severity": SEVERITIES, "disposition": DISPOSITIONS, "assignee": None, "title": None}
    if field not in allowed:
        raise PageError(400, "There is no such field")
    choices = allowed[field]
    if choices is not None and value not in choices:
        raise PageError(400, f"{value} is no {field}", f"Choose one of {', '.join(choices)}.")
    if field == "title" and not value:
        raise PageError(400, "An incident needs a title")
    changes = {field: value}
    if field == "phase" and value == "Closed":
        changes["disposition"] = visit.text("disposition") or "undetermined"
    before = _apply(visit, name, field, was, changes)
    note_change(visit, "notes", name, {field: value})
    back = {"action": f"/incidents/{name}/change", "field": field, "was": value, "value": before}
    undo = back if before and (choices is None or before in choices) else None
    return visit.done(f"{field.capitalize()}: {value or 'nobody'}", visit.url(f"/incidents/{name}"), undo, refresh={})


def note(visit: Visit) -> Response:
    """Append a note; sending it again stores it once."""
    name, text, note_id = find(visit).key.name, visit.text("text", NOTE), visit.text("id")
    if not text:
        raise PageError(400, "The note is empty")
    if not _NOTE_ID.fullmatch(note_id):
        raise PageError(400, "The note has no id", "Reload the page; your text is kept.")
    body = {"kind": "note", "author": visit.session.user, "text": text}
    try:
        visit.store.put_record("notes", name, note_id, body)
    except ConflictError:
        kept = visit.store.get_record("notes", name, note_id)
        if kept is None or dict(kept.body) != body:
            raise
    return visit.done("Note kept", visit.url(f"/incidents/{name}"), noted={}, refresh={})


def find(visit: Visit) -> Object:
    """The incident that the address names."""
    name = visit.request.path_params["name"][:63]
    found = visit.desk.objects.cluster.get(Key("Incident", visit.namespace, name))
    if found is None:
        raise PageError(404, f"There is no incident {name} in this namespace", "It may have been deleted.")
    return found


def state(visit: Visit, name: str) -> str:
    """Changes whenever the incident or something written on it does; open pages ask for it all the time."""
    found = visit.desk.objects.get(Key("Incident", visit.namespace, name))
    notes: list[Record] = visit.store.list_records("notes", name)
    return f"{found.version if found else 0}.{len(notes)}.{sum(each.version for each in notes)}"


def spec(incident: Object) -> Mapping[str, Any]:
    """The incident's spec."""
    found = incident.manifest.get("spec")
    return found if isinstance(found, Mapping) else {}


def _open(visit: Visit, found: list[Alert]) -> str:
    first = found[0]
    name = incident_name(first.time, first.rule, "", first.id)
    severities = [alert.severity for alert in found if alert.severity in SEVERITIES]
    worst = min(severities, key=SEVERITIES.index, default="medium")
    # Somebody may be quicker with the same alert: it is the same incident.
    with contextlib.suppress(ConflictError):
        _create(visit, name, (first.summary or first.title)[:200], worst, first.time)
    return name


def _create(visit: Visit, name: str, title: str, severity: str, opened: int) -> None:
    manifest = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {
            "name": name,
            "namespace": visit.namespace,
            "annotations": {"vedette.dev/changed-by": visit.session.user},
        },
        "spec": {
            "title": " ".join(title.split()),
            "severity": severity,
            "phase": PHASES[0],
            "assignee": visit.session.user,
            "opened": timespan.iso(opened),
            "reported": timespan.iso(visit.now),
        },
    }
    visit.desk.objects.cluster.create(manifest, manager=MANAGER)
    note_change(visit, "notes", name, {"phase": PHASES[0]})


def _apply(visit: Visit, name: str, field: str, was: str, changes: Mapping[str, str]) -> str:
    """Apply to the newest version as long as `field` still is what the person saw; returns that value."""
    cluster = visit.desk.objects.cluster
    for _ in range(TRIES):
        current = cluster.get(Key("Incident", visit.namespace, name))
        if current is None:
            raise NotFoundError(name)
        now = str(spec(current).get(field, ""))
        if now not in {was, changes[field]}:
            raise PageError(409, f"Somebody set {field} to {now} meanwhile", "The page shows it now; decide again.")
        values = {**spec(current), **changes}
        metadata = dict(current.manifest.get("metadata", {}))
        metadata["resourceVersion"] = str(current.version)
        metadata["annotations"] = {**metadata.get("annotations", {}), "vedette.dev/changed-by": visit.session.user}
        manifest = {
            **current.manifest,
            "metadata": metadata,
            "spec": {key: value for key, value in values.items() if value != ""},
        }
        try:
            cluster.apply(manifest, manager=MANAGER)
        except ConflictError:
            continue
        return now
    raise ConflictError(f"Incident {name} is being changed by others")


def _linked(visit: Visit, name: str) -> int:
    return sum(visit.store.count_alerts(AlertFilter(incident=name), "status").values())


def _documents(alert: Alert) -> list[Mapping[str, Any]]:
    return [showing.flat(event.document) for event in alerts.evidence(alert)]
