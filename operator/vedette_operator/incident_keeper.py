"""Statuses of Incidents: which alerts belong to them, whom they are about, how long the steps took."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Alert, AlertFilter, Store
from vedette_operator import incidents

log = logging.getLogger(__name__)

Status = tuple[Key, Mapping[str, Any]]
EVERY = 2.0
"""Seconds between two looks at which alerts changed."""
AGAIN = 60.0
"""Seconds after which an open incident is looked at in any case: a time limit may have passed."""
ENTITIES_OF = 500
"""Newest alerts whose entities are collected."""


class IncidentKeeper:
    """Remembers which incidents have to be looked at. `clock`: ms since the epoch."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._incidents: dict[str, dict[str, Object]] = defaultdict(dict)
        self._dirty: set[Key] = set()
        self._cursors: dict[str, int] = {}
        self._written: dict[Key, Mapping[str, Any]] = {}
        self._next = 0.0
        self._next_all = 0.0

    def put(self, item: Object) -> None:
        """An Incident is there, as it is now."""
        self._incidents[item.key.namespace][item.key.name] = item
        self._dirty.add(item.key)

    def gone(self, key: Key) -> None:
        """An Incident is no more."""
        self._incidents[key.namespace].pop(key.name, None)
        self._dirty.discard(key)
        self._written.pop(key, None)

    def keys(self) -> list[Key]:
        """The Incidents that are there."""
        return [item.key for held in self._incidents.values() for item in held.values()]

    def forget(self, key: Key) -> None:
        """Its status was not written after all."""
        self._written.pop(key, None)
        self._dirty.add(key)

    def statuses(self, store: Callable[[str], Store]) -> Iterator[Status]:
        """Statuses that are not written yet."""
        self._look(store)
        for key in sorted(self._dirty, key=str):
            item = self._incidents[key.namespace].get(key.name)
            self._dirty.discard(key)
            if item is None:
                continue
            try:
                status = self._status(item, store(key.namespace))
            except BackendError as error:
                log.warning("%s cannot be looked at: %s", key, error)
                self._dirty.add(key)
                continue
            if status != self._written.get(key, item.status):
                self._written[key] = status
                yield key, status

    def _look(self, store: Callable[[str], Store]) -> None:
        """Mark the incidents whose alerts changed, and now and then all that are open."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        for namespace, held in self._incidents.items():
            if held:
                try:
                    self._changed_alerts(namespace, store(namespace))
                except BackendError as error:
                    log.warning("%s: alerts cannot be looked at: %s", namespace, error)
        if now >= self._next_all:
            self._next_all = now + AGAIN
            self._dirty |= {
                item.key
                for held in self._incidents.values()
                for item in held.values()
                if item.manifest["spec"].get("phase") != "Closed"
            }

    def _changed_alerts(self, namespace: str, store: Store) -> None:
        cursor = self._cursors.get(namespace)
        if cursor is None:
            self._cursors[namespace] = store.latest_change()
            # What happened before is not told one by one.
            self._dirty.update(item.key for item in self._incidents[namespace].values())
            return
        alerts, self._cursors[namespace] = store.alert_changes(cursor)
        for alert in alerts:
            name = alert.workflow.get("incident")
            if name in self._incidents[namespace]:
                self._dirty.add(Key("Incident", namespace, str(name)))

    def _status(self, item: Object, store: Store) -> Mapping[str, Any]:
        where = AlertFilter(incident=item.key.name)
        alerts: list[Alert] = []
        after: str | None = None
        while True:
            page = store.search_alerts(where, size=100, after=after)
            alerts += page.alerts
            after = page.next
            if after is None or len(alerts) >= ENTITIES_OF:
                break
        before = self._written.get(item.key, item.status)
        return incidents.status(item, alerts, page.total, before=before, now=self._clock())
