"""Objects of a Kubernetes cluster for the control loop: changes come from the watches, statuses go out at a pace."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vedette_backends.cluster.protocol import Change, Cluster, Event, Key, Object
from vedette_operator import marks
from vedette_operator.status_writer import StatusWriter

SECRET_AGE = 55.0
"""Seconds for which a Secret's value counts as known: a rotation is seen by reading again within a minute."""
MISSING_AGE = 4.0
"""The same for one that is missing: people create it right behind the source."""


class Feed:
    """Between the watches' threads, which `put`, and the control loop's thread, which calls everything else.

    Args:
        cluster: the Kubernetes API.
        writer: writes statuses.
    """

    def __init__(self, cluster: Cluster, writer: StatusWriter) -> None:
        self._cluster = cluster
        self._writer = writer
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._known: dict[Key, Object] = {}
        self._secrets: dict[tuple[str, str, str], tuple[float, bytes | None]] = {}
        self._relisted = False

    # for the watches ------------------------------------------------------------------------------------------------
    def put(self, change: Change, item: Object) -> None:
        """A change was seen; what the control loop would not act on is passed over."""
        with self._lock:
            before = self._known.get(item.key)
            if change is Change.DELETED:
                self._known.pop(item.key, None)
            elif before is not None and (marks.same(before, item) or before.version > item.version):
                return
            else:
                # Only what tells versions apart is kept: the control loop holds the object itself.
                self._known[item.key] = marks.shadow(item)
        self._queue.put(Event(change, item))

    def relisted(self) -> None:
        """A watch had to begin anew, so deletions may have been missed."""
        self._relisted = True

    # for the control loop -------------------------------------------------------------------------------------------
    def must_resync(self) -> bool:
        """Whether everything should be looked at again; asking resets it."""
        relisted, self._relisted = self._relisted, False
        return relisted

    def look_for_emptied(self, has_any: Callable[[str], bool]) -> None:
        """Have everything looked at again if nothing is left of some kind of which objects are known.

        A watch that begins anew tells what it finds: of a kind whose last objects went meanwhile, nothing.
        """
        with self._lock:
            kinds = {key.kind for key in self._known}
        if not all(map(has_any, sorted(kinds))):
            self._relisted = True

    def version(self) -> int:
        """Where `watch` begins: always with what was put since the last call."""
        return 0

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind; the watches will not report these again."""
        found = self._cluster.list(kind, namespace)
        listed = {item.key: marks.shadow(item) for item in found}
        with self._lock:
            for key in [key for key in self._known if key.kind == kind and namespace in {None, key.namespace}]:
                if key not in listed:
                    del self._known[key]
            self._known.update(listed)
        return found

    def watch(self, _after: int, timeout: float, *, statuses: bool = True) -> Iterator[Event]:
        """Changes that were put; ends when none came for `timeout` seconds. Statuses alone are never among them."""
        assert not statuses
        while True:
            try:
                yield self._queue.get(timeout=timeout)
            except queue.Empty:
                return

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a Secret, as it was within the last minute."""
        place = (namespace, name, key)
        now = time.monotonic()
        until, value = self._secrets.get(place, (0.0, None))
        if now >= until:
            value = self._cluster.secret(namespace, name, key)
            self._secrets[place] = (now + (MISSING_AGE if value is None else SECRET_AGE), value)
        return value

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a ConfigMap."""
        return self._cluster.config(namespace, name, key)

    def patch_statuses(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Write them as fast as the pace allows; the newest status of an object is what counts."""
        self._writer.put(statuses)
