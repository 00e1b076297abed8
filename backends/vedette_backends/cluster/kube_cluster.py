"""`Cluster` on a Kubernetes API server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vedette_backends.cluster import objects
from vedette_backends.cluster.kube_api import APPLY, JSON_PATCH, Api, encode, version_of
from vedette_backends.cluster.kube_kinds import OPERATOR, OURS, VALUES, ResourceType
from vedette_backends.cluster.kube_manifests import for_creating, replacement, to_object
from vedette_backends.cluster.kube_watch import Follower
from vedette_backends.cluster.protocol import Change, Event, Key, Object
from vedette_backends.errors import ConflictError, NotFoundError, RefusedError

_EVENTS_AT_ONCE = 500


class KubernetesCluster:
    """Objects of our kinds in all namespaces, and single values of Secrets and ConfigMaps. Threads may share it.

    Objects are told as the server has them, unknown metadata included, but for `managedFields`: they are as large as
    the object and nobody reads them.

    Args:
        api: the connection; `close` closes it.
        manager: who writes statuses.
        kinds: what is watched, by kind.
    """

    def __init__(self, api: Api, *, manager: str = OPERATOR, kinds: Mapping[str, ResourceType] = OURS) -> None:
        self._api = api
        self._manager = manager
        self._kinds = kinds
        self._known = {**kinds, **VALUES}
        self._follower = Follower(api, kinds)

    def get(self, key: Key) -> Object | None:
        """One object."""
        kind = self._kind(key.kind)
        found = self._api.find(kind.path(key.namespace, key.name))
        return None if found is None else to_object(found, kind)

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind, by namespace and name."""
        known = self._kind(kind)
        return [to_object(item, known) for item in self._api.items(known, namespace)]

    def has_any(self, kind: str) -> bool:
        """Whether there is an object of the kind in any namespace."""
        return self._api.has_any(self._kind(kind).path(None))

    def watch(self, after: int, timeout: float, *, statuses: bool = True) -> Iterator[Event]:
        """Changes after the resource version `after`; ends when none came for `timeout` seconds.

        Only our kinds are watched: never Secrets, nor ConfigMaps, which every cluster has many of; their users read
        them again from time to time. Objects of one kind come in the order of their changes; a kind may be told a
        moment later than another, so `event.object.version` is where to go on and may be greater than the object's own
        `metadata.resourceVersion`.

        What happened before the first call of `watch` or `version` is not known one by one: a watch from there tells
        every object that was written since, as set, and no deletions. So begin with `version`, then `list`, then
        `watch`.

        Raises:
            UnavailableError, RefusedError: the time is up and a watch of the API server does not work.
        """
        follower = self._follower
        follower.start()
        log = follower.log
        listed: dict[str, int] = {}
        if after < log.floor():
            written, listed = self._written_since(after)
            yield from written
            after = log.floor()
        deadline = time.monotonic() + timeout
        while not follower.closed.is_set():
            entries = log.after(after, _EVENTS_AT_ONCE)
            for entry in entries:
                after = entry.cursor
                wanted = statuses or entry.change is not Change.STATUS
                told = entry.version <= listed.get(entry.key.kind, 0)
                event = follower.tell(entry) if wanted and not told else None
                if event is not None:
                    yield event
                    deadline = time.monotonic() + timeout
            left = deadline - time.monotonic()
            if left <= 0:
                if not entries:
                    follower.raise_fault()
                    return
            elif not entries:
                log.wait(after, left)

    def _written_since(self, after: int) -> tuple[Sequence[Event], dict[str, int]]:
        """Objects written after a version, oldest first, and the version of each kind's list."""
        found: list[Object] = []
        listed = {}
        for name, kind in self._kinds.items():
            for page in self._api.pages(kind.path(None)):
                found += [to_object(item, kind) for item in page.items if version_of(item) > after]
                listed[name] = page.version
        found.sort(key=lambda item: item.version)
        return [Event(Change.SET, item) for item in found], listed

    def version(self) -> int:
        """The newest resource version of our kinds.

        The first call begins to follow them, which costs a watch each. A list that is read after it holds everything up
        to there; own writes count at once.
        """
        self._follower.start()
        return self._follower.version()

    def apply(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create or replace an object of our kinds that the program itself owns.

        Not by server-side apply: that could not remove a field that somebody else had written, and an incident is made
        by the responder and changed by the web UI and by people with kubectl. It is a patch that replaces spec, labels
        and annotations; other metadata stay. `manager` is written down as the owner of what changed.

        Raises:
            ConflictError: `metadata.resourceVersion` is given and not the current one.
            RefusedError: the manifest names no object, is too large, or does not fit the kind's schema.
        """
        key = objects.key_of(manifest)
        kind = self._kind(key.kind)
        if key.kind not in self._kinds:
            raise RefusedError(f"{key} is not an object of ours")
        _refuse_large(manifest, key)
        wanted = objects.given_version(manifest)
        patch = replacement(manifest, wanted)
        try:
            found = self._api.request(
                "PATCH",
                kind.path(key.namespace, key.name),
                patch,
                query={"fieldManager": manager},
                content=JSON_PATCH,
                # With a version given, a second try would take the first one's success for somebody else's.
                repeatable=wanted is None,
            )
        except NotFoundError:
            if wanted is not None:
                raise ConflictError(f"{key} was read at version {wanted}, but it does not exist") from None
            return self.create(manifest, manager=manager)
        except ConflictError as error:
            read = f"{key} was read at version {wanted}, but " if wanted is not None else f"{key}: "
            raise ConflictError(f"{read}it is being changed by others") from error
        return self._written(to_object(found, kind))

    def create(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create; raises ConflictError when it exists."""
        key = objects.key_of(manifest)
        kind = self._kind(key.kind)
        _refuse_large(manifest, key)
        body = for_creating(manifest, kind, key)
        try:
            # A second try would take the first one's success for somebody else's.
            found = self._api.request(
                "POST", kind.path(key.namespace), body, query={"fieldManager": manager}, repeatable=False
            )
        except ConflictError as error:
            raise ConflictError(f"{key} exists") from error
        return self._written(to_object(found, kind))

    def delete(self, key: Key) -> None:
        """Remove an object; no error when there is none."""
        kind = self._kind(key.kind)
        query = {"propagationPolicy": "Background"}
        before = self._follower.version()
        try:
            self._api.request("DELETE", kind.path(key.namespace, key.name), query=query)
        except NotFoundError:
            return
        if key.kind in self._kinds:
            # The server does not say at which version it was deleted; certain is that it is a later one.
            self._follower.wrote_own(before + 1)

    def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """Replace the status by server-side apply; no error when the object is gone."""
        kind = self._kind(key.kind)
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        path = kind.path(key.namespace, key.name, "status")
        try:
            found = self._api.request(
                "PATCH", path, body, query={"fieldManager": self._manager, "force": "true"}, content=APPLY
            )
        except NotFoundError:
            return
        self._follower.wrote_own(version_of(found))

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a Secret, read by name: the right to `get` it is enough."""
        found = self._api.find(VALUES["Secret"].path(namespace, name))
        return None if found is None else objects.secret_value(found, key)

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a ConfigMap, read by name."""
        found = self._api.find(VALUES["ConfigMap"].path(namespace, name))
        return None if found is None else objects.config_value(found, key)

    def close(self) -> None:
        """End watches and close connections."""
        self._follower.close()
        self._api.close()

    def _kind(self, name: str) -> ResourceType:
        try:
            return self._known[name]
        except KeyError:
            raise RefusedError(f"{name[:80]} is no kind that Vedette keeps in a cluster") from None

    def _written(self, item: Object) -> Object:
        if item.key.kind in self._kinds:
            self._follower.wrote_own(item.version)
        return item


def _refuse_large(manifest: Mapping[str, Any], key: Key) -> None:
    size = len(encode(manifest))
    if size > objects.MAX_OBJECT_BYTES:
        raise RefusedError(f"{key} has {size} bytes, more than {objects.MAX_OBJECT_BYTES}")
