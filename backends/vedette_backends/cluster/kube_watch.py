"""Following objects of a Kubernetes cluster: one watch per kind, merged into one log of changes.

A watch ends often: servers end it after minutes, connections break, and a resource version expires. Each follower goes
on where it was, or lists anew and finds out by itself what it missed; deletions too, because it remembers what was
there.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Mapping
from typing import Any

import orjson

from vedette_backends.cluster.kube_api import METADATA_ONLY, Api, ExpiredError, Stream, failure, version_of
from vedette_backends.cluster.kube_kinds import ResourceType
from vedette_backends.cluster.kube_log import ChangeLog, Entry
from vedette_backends.cluster.kube_manifests import to_object
from vedette_backends.cluster.protocol import Change, Event, Key, Object
from vedette_backends.errors import BackendError, UnavailableError

log = logging.getLogger(__name__)

# The server ends a watch after this time, and sends a bookmark every minute: silence means a broken connection.
WATCH_SECONDS = 280
_SILENCE_SECONDS = 100.0
_FIRST_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 5.0


class Follower:
    """Follows several kinds, once it is started. Threads share it."""

    def __init__(self, api: Api, kinds: Mapping[str, ResourceType]) -> None:
        self._api = api
        self._kinds = kinds
        self._lock = threading.Lock()
        self._streams: list[KindFollower] = []
        self._own = 0
        self.log = ChangeLog()
        self.closed = threading.Event()

    def start(self) -> None:
        """Begin to follow, unless that was done. Raises UnavailableError, RefusedError; a later call tries again."""
        with self._lock:
            if self._streams or self.closed.is_set():
                return
            streams = [KindFollower(self._api, kind, self.log, self.closed) for kind in self._kinds.values()]
            self.log.begin(max(stream.prime() for stream in streams))
            for stream in streams:
                stream.start()
            self._streams = streams

    def version(self) -> int:
        """The newest version that was seen, or that was given to a write of our own."""
        return max(self._own, self.log.newest())

    def wrote_own(self, version: int) -> None:
        """A write of our own has made this version."""
        with self._lock:
            self._own = max(self._own, version)

    def tell(self, entry: Entry) -> Event | None:
        """The change as an event; None when the object is gone meanwhile, which a later entry tells."""
        kind = self._kinds[entry.key.kind]
        if entry.payload is not None:
            item = orjson.loads(entry.payload)
        elif entry.change is Change.DELETED:
            item = _stub(entry, kind)
        else:
            found = self._api.find(kind.path(entry.key.namespace, entry.key.name))
            if found is None:
                return None
            item = found
        known = to_object(item, kind)
        return Event(
            entry.change, Object(known.key, known.manifest, known.status, known.generation, entry.cursor, known.origin)
        )

    def raise_fault(self) -> None:
        """Raise the error that keeps a stream from working now, if there is one."""
        for stream in self._streams:
            fault = stream.fault
            if fault is not None:
                # A new one each time: an error remembers every place that raised it.
                raise type(fault)(str(fault))

    def close(self) -> None:
        """End all streams."""
        self.closed.set()
        self.log.wake()
        with self._lock:
            streams = self._streams
        for stream in streams:
            stream.abort()
        for stream in streams:
            stream.join(5)


class KindFollower(threading.Thread):
    """Follows one kind. Another thread may only read `fault`, and call `abort`."""

    def __init__(self, api: Api, kind: ResourceType, changes: ChangeLog, closed: threading.Event) -> None:
        super().__init__(name=f"watch-{kind.plural}", daemon=True)
        self.fault: BackendError | None = None
        self._api = api
        self._kind = kind
        self._changes = changes
        self._closed = closed
        self._known: dict[tuple[str, str], _Mark] = {}
        self._version = 0
        self._lost = False
        self._failures = 0
        self._stream: Stream | None = None

    def prime(self) -> int:
        """Learn what is there, and from which version on to follow; returns that."""
        known = {}
        for page in self._api.pages(self._kind.path(None), accept=METADATA_ONLY):
            known.update({_place(item): _Mark(item) for item in page.items})
            self._version = page.version
        self._known = known
        return self._version

    def run(self) -> None:
        """Follow until closed."""
        while not self._closed.is_set():
            try:
                if self._lost:
                    self._list_anew()
                self._follow()
            except ExpiredError as error:
                log.info("%s are listed anew: %s", self._kind.plural, error)
                self._lost = True
                self._failed(error)
            except BackendError as error:
                self._failed(error)
            except (KeyError, TypeError, ValueError) as error:
                self._lost = True
                self._failed(UnavailableError(f"the Kubernetes API sent what is not understood: {error!r}"))

    def _failed(self, error: BackendError) -> None:
        """Wait before the next try. A connection may break at any time; that it cannot be made again is a fault."""
        self._failures += 1
        if self._closed.is_set():
            return
        if self._failures == 2:
            log.warning("the watch of %s does not work and is tried again: %s", self._kind.plural, error)
        if self._failures > 1:
            self.fault = error
        self._closed.wait(self._pause(self._failures))

    @staticmethod
    def _pause(failures: int) -> float:
        """Seconds before the next try."""
        longest = min(_FIRST_PAUSE_SECONDS * (1 << min(failures, 10)), _MAX_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1)  # noqa: S311 # no secret

    def abort(self) -> None:
        """End the read that is going on."""
        stream = self._stream
        if stream is not None:
            stream.abort()

    def _follow(self) -> None:
        """Read one watch to its end."""
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": WATCH_SECONDS,
        }
        stream = self._api.stream(self._kind.path(None), query, _SILENCE_SECONDS)
        self._stream = stream
        try:
            if self._closed.is_set():
                return
            if self.fault is not None:
                log.info("the watch of %s works again", self._kind.plural)
            self.fault, self._failures = None, 0
            for event in stream:
                self._take(event["type"], event["object"])
        finally:
            self._stream = None
            stream.close()

    def _take(self, what: str, item: dict[str, Any]) -> None:
        if what == "ERROR":
            error = failure(item.get("code") or 500, item.get("message") or "a watch failed", item)
            # A watch that begins and fails at once does not work; one that is told to list anew does.
            self._failures += not isinstance(error, ExpiredError)
            raise error
        version = version_of(item)
        if what == "DELETED":
            self._known.pop(_place(item), None)
            self._add(Change.DELETED, item, version)
        elif what != "BOOKMARK":
            self._set(item, version)
        self._version = version

    def _set(self, item: dict[str, Any], version: int) -> None:
        place, mark = _place(item), _Mark(item)
        before = self._known.get(place)
        if before is not None and before.uid != mark.uid:
            self._add_deletion(place, before, version)
            before = None
        if before is None or before.version != version:
            status_only = before is not None and before.digest == mark.digest
            # First the log: when that fails, a second look must find the change again.
            self._add(Change.STATUS if status_only else Change.SET, item, version)
            self._known[place] = mark

    def _list_anew(self) -> None:
        seen = set()
        version = 0
        for page in self._api.pages(self._kind.path(None)):
            for item in page.items:
                seen.add(_place(item))
                self._set(item, version_of(item))
            version = page.version
        for place in self._known.keys() - seen:
            self._add_deletion(place, self._known.pop(place), version)
        self._version = version
        self._lost = False

    def _add(self, change: Change, item: dict[str, Any], version: int) -> None:
        item["metadata"].pop("managedFields", None)
        self._changes.add(change, self._key(_place(item)), version, item["metadata"].get("uid", ""), orjson.dumps(item))

    def _add_deletion(self, place: tuple[str, str], mark: _Mark, version: int) -> None:
        """A deletion that was missed: only name and uid of the object are known."""
        self._changes.add(Change.DELETED, self._key(place), version, mark.uid, None)

    def _key(self, place: tuple[str, str]) -> Key:
        return Key(self._kind.kind, *place)


class _Mark:
    """What is remembered of an object: enough to tell whether anything but its status changed."""

    __slots__ = ("digest", "uid", "version")

    def __init__(self, item: Mapping[str, Any]) -> None:
        metadata = item["metadata"]
        told = [
            metadata.get(name)
            for name in ("generation", "labels", "annotations", "deletionTimestamp", "finalizers", "ownerReferences")
        ]
        self.uid: str = metadata.get("uid", "")
        self.version = version_of(item)
        self.digest = hashlib.blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _stub(entry: Entry, kind: ResourceType) -> dict[str, Any]:
    metadata = {"name": entry.key.name, "namespace": entry.key.namespace, "uid": entry.uid}
    metadata["resourceVersion"] = str(entry.version)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
