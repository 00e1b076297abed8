"""From the notice of an alert to its incident.

Every step can be done again by anybody: the window in the store is written first and names the incident, then the
object is created under that name, then the alert is told. Whoever finds a window without an object goes on there, so a
crash at any point leaves one incident per group, and every alert in one.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from vedette_backends.cluster.protocol import Cluster, Key
from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.protocol import Alert, Record, Store
from vedette_engine.alerting import incidents
from vedette_engine.alerting.ids import digest, incident_name
from vedette_engine.alerting.notices import Notice
from vedette_workers.responder import groups, rate
from vedette_workers.responder.groups import Window
from vedette_workers.responder.rate import Limit, Opened

log = logging.getLogger(__name__)

MANAGER: Final = "vedette-responder"
AUTHOR: Final = "vedette"
NOTES: Final = "notes"
TRIES: Final = 20
"""Attempts against others who write the same record at the same time."""


class Responder:
    """Opens the incidents of one namespace. One thread calls it.

    Args:
        namespace: whose alerts.
        store: keeps alerts, groups and notes.
        cluster: keeps Incidents.
        clock: ms since the epoch.
        limit: per rule.
    """

    def __init__(
        self, namespace: str, store: Store, cluster: Cluster, clock: Callable[[], int], limit: Limit | None = None
    ) -> None:
        self._namespace = namespace
        self._store = store
        self._cluster = cluster
        self._clock = clock
        self._limit = limit or Limit()
        self._open: dict[str, bool] = {}
        self.counters: Counter[str] = Counter()

    def look_again(self) -> None:
        """Forget which incidents are open; between two messages people may have closed some."""
        self._open.clear()

    def handle(self, notice: Notice) -> None:
        """See to it that the alert has an incident.

        Raises:
            BackendError: it could not be done now; the same call may succeed later.
        """
        alert = self._store.get_alert(notice.alert)
        if alert is None:
            log.warning("alert %s is gone; it gets no incident", notice.alert)
            self.counters["vanished"] += 1
            return
        if alert.workflow.get("incident"):
            self.counters["repeated"] += 1
            return
        self._link(alert, self._incident_for(notice, alert))

    # which one ------------------------------------------------------------------------------------------------------
    def _incident_for(self, notice: Notice, alert: Alert) -> str:
        for _ in range(TRIES):
            record = self._store.get_record(groups.COLLECTION, notice.rule, groups.bucket_of(notice.group))
            windows = groups.read(record.body if record is not None else None)
            for window in groups.candidates(windows, notice):
                if not window.opened:
                    self._ensure(notice, window, alert)
                elif window.first != alert.id and not self._is_open(window.incident):
                    continue
                self.counters["joined"] += window.first != alert.id
                return window.incident
            name = incident_name(notice.time, notice.rule, notice.group, alert.id)
            other = self._reserve(notice.rule, name)
            if other:
                self._say_limited(notice.rule, other)
                self.counters["limited"] += 1
                return other
            window = groups.new_window(notice, name, self._clock())
            with contextlib.suppress(ConflictError):
                self._keep(notice, [*windows, window], record)
                self._ensure(notice, window, alert)
                return name
        raise ConflictError(f"the groups of rule {notice.rule} are being changed by others")

    def _keep(self, notice: Notice, windows: list[Window], record: Record | None) -> Record:
        return self._store.put_record(
            groups.COLLECTION,
            notice.rule,
            groups.bucket_of(notice.group),
            groups.write(windows, self._clock()),
            None if record is None else record.version,
        )

    def _reserve(self, rule: str, name: str) -> str:
        """Count another incident of the rule; the name of the one to join instead when there are too many."""
        for _ in range(TRIES):
            record = self._store.get_record(rate.COLLECTION, rule, rate.RECORD)
            opened = Opened.read(record.body if record is not None else None)
            if name in opened.names:
                return ""
            now = self._clock()
            # One that people closed or removed is none to join: they are through with it, and look at the next.
            if opened.full(name, now, self._limit) and self._is_open(opened.last):
                return opened.last
            body = opened.plus(name, now, self._limit).write()
            version = None if record is None else record.version
            with contextlib.suppress(ConflictError):
                self._store.put_record(rate.COLLECTION, rule, rate.RECORD, body, version)
                return ""
        raise ConflictError(f"the incidents of rule {rule} are being counted by others")

    def _is_open(self, name: str) -> bool:
        if name not in self._open:
            found = self._cluster.get(Key("Incident", self._namespace, name))
            spec = {} if found is None else found.manifest.get("spec") or {}
            self._open[name] = found is not None and incidents.is_open(spec)
        return self._open[name]

    # the object -----------------------------------------------------------------------------------------------------
    def _ensure(self, notice: Notice, window: Window, alert: Alert) -> None:
        """Create the window's Incident, unless somebody did, and write down that it is there."""
        first = alert if window.first == alert.id else self._store.get_alert(window.first) or alert
        try:
            self._cluster.create(self._manifest(window.incident, first), manager=MANAGER)
        except ConflictError:
            log.info("Incident %s is there already", window.incident)
        else:
            log.info("Incident %s opened for alert %s of rule %s", window.incident, first.id, first.rule)
            self.counters["opened"] += 1
        self._open.pop(window.incident, None)
        self._note(window.incident, "opened", {"kind": "change", "fields": {"phase": incidents.FIRST_PHASE}})
        self._mark_opened(notice, window)

    def _mark_opened(self, notice: Notice, window: Window) -> None:
        for _ in range(TRIES):
            record = self._store.get_record(groups.COLLECTION, notice.rule, groups.bucket_of(notice.group))
            windows = groups.read(record.body if record is not None else None)
            if all(other.incident != window.incident or other.opened for other in windows):
                return
            marked = [replace(other, opened=True) if other.incident == window.incident else other for other in windows]
            with contextlib.suppress(ConflictError):
                self._keep(notice, marked, record)
                return
        # Nothing is lost: whoever finds it unmarked creates the object again, and is told that it is there.

    def _manifest(self, name: str, alert: Alert) -> dict[str, Any]:
        documents = [event["document"] for event in alert.body.get("events", ()) if event.get("document")]
        detection: Mapping[str, Any] = alert.body.get("detection") or {}
        description = incidents.describe(
            rule=alert.rule,
            alert=alert.id,
            summary=alert.summary,
            runbook=str(detection.get("runbook") or ""),
            about=incidents.entities(documents),
        )
        return incidents.manifest(
            self._namespace,
            name,
            rule=alert.rule,
            alert=alert.id,
            title=alert.summary or alert.title,
            severity=alert.severity,
            description=description,
            occurred=alert.time,
            opened=self._clock(),
        )

    # what people read -----------------------------------------------------------------------------------------------
    def _say_limited(self, rule: str, incident: str) -> None:
        text = (
            f"Rule {rule} reached its limit of {self._limit}. Alerts of other groups join this incident instead of "
            "opening more, so it may hold things that have nothing to do with each other. Closing it lets the next "
            "alert open another."
        )
        self._note(incident, f"limit-{digest('rule', rule, size=6)}", {"kind": "note", "text": text})

    def _note(self, incident: str, note_id: str, body: Mapping[str, Any]) -> None:
        """Write once into the incident's journal."""
        with contextlib.suppress(ConflictError):
            self._store.put_record(NOTES, incident, f"responder-{note_id}", {"author": AUTHOR, **body})

    def _link(self, alert: Alert, name: str) -> None:
        """Set the alert's incident under its version; one that people put elsewhere meanwhile stays there."""
        current: Alert | None = alert
        for _ in range(TRIES):
            if current is None or current.workflow.get("incident"):
                return
            try:
                self._store.update_alert(current.id, current.version, {"incident": name})
            except NotFoundError:
                return
            except ConflictError:
                current = self._store.get_alert(alert.id)
            else:
                self.counters["linked"] += 1
                return
        raise ConflictError(f"alert {alert.id} is being changed by others")
