"""The cluster's objects in memory, kept up to date by a watch: for clusters in which a list is a large request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from vedette_backends.cluster.protocol import Change, Cluster, Event, Key, Object
from vedette_backends.errors import BackendError, UnavailableError
from vedette_webui.visit import Objects

log = logging.getLogger(__name__)

KINDS: Final = ("LogSource", "AlertRule", "Incident")
PATIENCE: Final = 10.0
"""Seconds that a page waits for the first list, and that the watch waits for news."""
RELIST: Final = 600.0
"""Seconds after which everything is listed anew, whatever a watch may have missed."""
RETRY: Final = 2.0

_Kept = dict[str, dict[Key, Object]]


class Mirror(Objects):
    """What `Objects` tells, without asking the cluster for each page. Begins to follow it with the first question.

    Rules are kept without their tests, which no list shows and which are most of them.

    Args:
        cluster: is listed and watched in a thread of its own.
        retry: seconds after a fault of the cluster.
    """

    def __init__(self, cluster: Cluster, *, retry: float = RETRY) -> None:
        super().__init__(cluster)
        self._retry = retry
        self._kept: _Kept = {}
        self._sorted: dict[tuple[str, str | None], list[Object]] = {}
        self._lock = threading.Lock()
        self._listed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def of(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind by namespace and name, as they were a moment ago.

        Raises:
            UnavailableError: nothing could be listed yet.
        """
        self._wait()
        with self._lock:
            found = self._sorted.get((kind, namespace))
            if found is None:
                kept = self._kept.get(kind, {}).values()
                found = [each for each in kept if namespace is None or each.key.namespace == namespace]
                found.sort(key=lambda each: (each.key.namespace, each.key.name))
                self._sorted[kind, namespace] = found
            return list(found)

    def get(self, key: Key) -> Object | None:
        """One object as it was a moment ago.

        Raises:
            UnavailableError: nothing could be listed yet.
        """
        self._wait()
        with self._lock:
            return self._kept.get(key.kind, {}).get(key)

    def namespaces(self) -> list[str]:
        """Namespaces that hold something of ours."""
        return sorted({each.key.namespace for kind in KINDS for each in self.of(kind)})

    def close(self) -> None:
        """Stop following; ends within the watch's patience."""
        self._stop.set()

    def _wait(self) -> None:
        """Until the first list is there."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
                self._thread.start()
        if not self._listed.wait(PATIENCE):
            raise UnavailableError("the cluster's objects could not be listed yet")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow(self._list())
            except BackendError as error:
                log.warning("the cluster cannot be followed, pages show what was known: %s", error)
                self._stop.wait(self._retry)

    def _list(self) -> int:
        version = self.cluster.version()
        kept = {kind: {each.key: _slim(each) for each in self.cluster.list(kind)} for kind in KINDS}
        with self._lock:
            self._kept = kept
            self._sorted.clear()
        self._listed.set()
        return version

    def _follow(self, after: int) -> None:
        end = time.monotonic() + RELIST
        while not self._stop.is_set() and time.monotonic() < end:
            for event in self.cluster.watch(after, PATIENCE):
                after = event.object.version
                if event.object.key.kind in KINDS:
                    self._apply(event)
                if self._stop.is_set() or time.monotonic() >= end:
                    return

    def _apply(self, event: Event) -> None:
        found = event.object
        with self._lock:
            kept = self._kept[found.key.kind]
            if event.change is Change.DELETED:
                kept.pop(found.key, None)
            else:
                kept[found.key] = _slim(found)
            self._sorted.clear()


def _slim(found: Object) -> Object:
    spec = found.manifest.get("spec")
    if found.key.kind != "AlertRule" or not isinstance(spec, Mapping) or "tests" not in spec:
        return found
    slim: dict[str, Any] = {name: value for name, value in spec.items() if name != "tests"}
    manifest = {**found.manifest, "spec": slim}
    return Object(found.key, manifest, found.status, found.generation, found.version, found.origin)
