"""From the notice of an alert to its incident.

Every step can be done again by anybody: the window in the store is written first and names the incident, then the
object is created under that name, then the alert is told. Whoever finds a window without an object goes on there, so a
crash at any point leaves one incident per group, and every alert in one.

Most alerts join an incident that this responder knows: for these the alert alone is written, under the version that it
was made with. Everything else is decided by what the store holds now.
"""

from __future__ import annotations

import contextlib
import logging
import threading
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
from vedette_workers.responder.ledger import Ledger, Place
from vedette_workers.responder.rate import Limit, Opened

log = logging.getLogger(__name__)

MANAGER: Final = "vedette-responder"
AUTHOR: Final = "vedette"
NOTES: Final = "notes"
TRIES: Final = 20
"""Attempts against others who write the same record at the same time."""
OPENING: Final = 30_000
"""ms within which another responder writes the window of an incident that it has counted, if it ever does."""
UNTOUCHED: Final = 1
"""Version of an alert as a pipeline makes it, without an incident; every write after that raises it."""


class Responder:
    """Opens the incidents of one namespace. Any thread may call it; notices of one group had better come in order.

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
        self._ledger = Ledger(store)
        self._open: dict[str, bool] = {}
        self._noted: set[tuple[str, str]] = set()
        self._counting = threading.Lock()
        self.counters: Counter[str] = Counter()

    def look_again(self) -> None:
        """Forget which incidents are open; people may have closed some."""
        self._open = {}
        self._noted = set()

    def handle(self, notice: Notice) -> None:
        """See to it that the alert has an incident.

        Raises:
            BackendError: it could not be done now; the same call may succeed later.
        """
        known = self._known_incident(notice)
        if known and self._link_untouched(notice, known):
            self.count("joined")
            return
        alert = self._store.get_alert(notice.alert)
        if alert is None:
            log.warning("alert %s is gone; it gets no incident", notice.alert)
            self.count("vanished")
            return
        if alert.workflow.get("incident"):
            self.count("repeated")
            return
        self._link(alert, self._incident_for(notice, alert))

    def count(self, what: str) -> None:
        """Count one more."""
        with self._counting:
            self.counters[what] += 1

    # which one ------------------------------------------------------------------------------------------------------
    def _known_incident(self, notice: Notice) -> str:
        """The open incident that the alert joins as far as is remembered; empty where the store has to be asked."""
        record = self._ledger.remembered(_place_of_windows(notice))
        if record is None:
            return ""
        for window in groups.candidates(groups.read(record.body), notice):
            if window.first == notice.alert or not window.opened:
                return ""
            if self._is_open(window.incident):
                return window.incident
        return ""

    def _incident_for(self, notice: Notice, alert: Alert) -> str:
        """The incident that the alert joins or opens."""
        place = _place_of_windows(notice)
        with self._ledger.turn(place):
            for _ in range(TRIES):
                record = self._ledger.read(place)
                windows = groups.read(record.body if record is not None else None)
                for window in groups.candidates(windows, notice):
                    if not window.opened:
                        self._ensure(notice, window, alert)
                    elif window.first != alert.id and not self._is_open(window.incident):
                        continue
                    if window.first != alert.id:
                        self.count("joined")
                    return window.incident
                name = self._new_incident(notice, alert, windows, record)
                if name:
                    return name
        raise ConflictError(f"the groups of rule {notice.rule} are being changed by others")

    def _new_incident(self, notice: Notice, alert: Alert, windows: list[Window], record: Record | None) -> str:
        """Open an incident, or join the last one of the rule where that may open no more.

        One thread at a time for each rule, so that the last one is never one that another thread is about to create.
        Empty when somebody else wrote the record of the windows meanwhile.
        """
        with self._ledger.turn(_place_of_rate(notice.rule)):
            name = incident_name(notice.time, notice.rule, notice.group, alert.id)
            other = self._reserve(notice, name)
            if other:
                self._say_limited(notice.rule, other)
                self.count("limited")
                return other
            window = groups.new_window(notice, name, self._clock())
            try:
                self._ledger.write(_place_of_windows(notice), groups.write([*windows, window], self._clock()), record)
            except ConflictError:
                # It stays counted: who wrote the record may be another responder that opens the same one.
                return ""
            self._ensure(notice, window, alert)
            return name

    def _reserve(self, notice: Notice, name: str) -> str:
        """Count another incident of the rule; the name of the one to join instead when there are too many."""
        place = _place_of_rate(notice.rule)
        for _ in range(TRIES):
            record = self._ledger.remembered(place) or self._ledger.read(place)
            opened = Opened.read(record.body if record is not None else None)
            if name in opened.names:
                return ""
            now = self._clock()
            # One that people closed or removed is none to join: they are through with it, and look at the next.
            if opened.full(name, now, self._limit) and (last := self._last(notice.rule, opened, now)):
                return last
            with contextlib.suppress(ConflictError):
                more = opened.plus(name, groups.bucket_of(notice.group), now, self._limit)
                self._ledger.write(place, more.write(), record)
                return ""
        raise ConflictError(f"the incidents of rule {notice.rule} are being counted by others")

    def _last(self, rule: str, opened: Opened, now: int) -> str:
        """The last incident that the rule opened, if alerts may join it; one that is about to be created is as good.

        Raises:
            ConflictError: there is only one that somebody has counted a moment ago.
        """
        for name in opened.newest_first():
            if self._open.get(name):
                return name
            # The window is read first: it says that an incident was created after it was, so that an opened one that is
            # not there was removed.
            bucket = opened.buckets.get(name, "")
            record = self._ledger.read(Place(groups.COLLECTION, rule, bucket)) if bucket else None
            windows = groups.read(record.body if record is not None else None)
            window = next((one for one in windows if one.incident == name), None)
            if window is None and bucket:
                continue  # counted, but its group got another one
            return name if (window is not None and not window.opened) or self._is_open(name) else ""
        if any(now - then < OPENING for then in opened.names.values()):
            raise ConflictError(f"the incidents of rule {rule} are being opened by others")
        return ""

    def _is_open(self, name: str) -> bool:
        known = self._open  # `look_again` begins another: what was asked before it is not remembered after it
        if name not in known:
            found = self._cluster.get(Key("Incident", self._namespace, name))
            if found is None:
                return False  # not remembered: it may be created at any moment
            known[name] = incidents.is_open(found.manifest.get("spec") or {})
        return known[name]

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
            self.count("opened")
        self._open.pop(window.incident, None)
        self._note(window.incident, "opened", {"kind": "change", "fields": {"phase": incidents.FIRST_PHASE}})
        self._mark_opened(_place_of_windows(notice), window.incident)

    def _mark_opened(self, place: Place, incident: str) -> None:
        with self._ledger.turn(place):
            for _ in range(TRIES):
                record = self._ledger.remembered(place) or self._ledger.read(place)
                windows = groups.read(record.body if record is not None else None)
                if all(other.incident != incident or other.opened for other in windows):
                    return
                marked = [replace(other, opened=True) if other.incident == incident else other for other in windows]
                with contextlib.suppress(ConflictError):
                    self._ledger.write(place, groups.write(marked, self._clock()), record)
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
        if (rule, incident) in self._noted:
            return
        text = (
            f"Rule {rule} reached its limit of {self._limit}. Alerts of other groups join this incident instead of "
            "opening more, so it may hold things that have nothing to do with each other. Closing it lets the next "
            "alert open another."
        )
        self._note(incident, f"limit-{digest('rule', rule, size=6)}", {"kind": "note", "text": text})
        self._noted.add((rule, incident))

    def _note(self, incident: str, note_id: str, body: Mapping[str, Any]) -> None:
        """Write once into the incident's journal."""
        with contextlib.suppress(ConflictError):
            self._store.put_record(NOTES, incident, f"responder-{note_id}", {"author": AUTHOR, **body})

    # the alert ------------------------------------------------------------------------------------------------------
    def _link_untouched(self, notice: Notice, name: str) -> bool:
        """Set the incident of an alert that nobody has written since it was made; whether it was such a one."""
        try:
            self._store.update_alert(notice.alert, UNTOUCHED, {"incident": name})
        except (ConflictError, NotFoundError):
            return False
        self.count("linked")
        return True

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
                self.count("linked")
                return
        raise ConflictError(f"alert {alert.id} is being changed by others")


def _place_of_windows(notice: Notice) -> Place:
    return Place(groups.COLLECTION, notice.rule, groups.bucket_of(notice.group))


def _place_of_rate(rule: str) -> Place:
    return Place(rate.COLLECTION, rule, rate.RECORD)
