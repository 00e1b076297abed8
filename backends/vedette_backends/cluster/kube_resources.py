"""`Resources` on a Kubernetes API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vedette_backends.cluster.kube_api import APPLY, JSON_PATCH, MERGE, Api
from vedette_backends.cluster.kube_events import EventRecorder
from vedette_backends.cluster.kube_kinds import OPERATOR, WELL_KNOWN, ResourceType
from vedette_backends.cluster.kube_lease import KubernetesLease
from vedette_backends.cluster.kube_reviews import review_access, review_token
from vedette_backends.cluster.resources import Identity
from vedette_backends.errors import NotFoundError, RefusedError

# A kind that was not there may be there after its definition was applied; the server is not asked more often.
_ASK_AGAIN_SECONDS = 5.0


class KubernetesResources:
    """Any object of the cluster. Threads may share it.

    Args:
        api: the connection; `close` closes it.
        instance: which of several processes of one name reports events: the pod's name.
    """

    def __init__(self, api: Api, *, instance: str = "") -> None:
        self._api = api
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], ResourceType] = dict(WELL_KNOWN)
        self._asked: dict[str, float] = {}
        self._events = EventRecorder(api, instance)

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        """Create or change by server-side apply."""
        kind, namespace, name = self._place(manifest)
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self._api.request("PATCH", kind.path(namespace, name), manifest, query=query, content=APPLY)

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None when it, or its kind, does not exist."""
        try:
            found = self._kind(api_version, kind)
        except NotFoundError:
            return None
        return self._api.find(found.path(namespace, name))

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, by namespace and name."""
        return self._api.items(self._kind(api_version, kind), namespace, labels)

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Remove; no error when there is none."""
        try:
            path = self._kind(api_version, kind).path(namespace, name)
            self._api.request("DELETE", path, query={"propagationPolicy": "Background"})
        except NotFoundError:
            return

    def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        type: Literal["merge", "json"] = "merge",  # noqa: A002 # the API's own word
        manager: str = OPERATOR,
    ) -> dict[str, Any]:
        """A merge patch or a JSON patch."""
        merge = type == "merge"
        return self._api.request(
            "PATCH",
            self._kind(api_version, kind).path(namespace, name),
            body,
            query={"fieldManager": manager},
            content=MERGE if merge else JSON_PATCH,
            # A JSON patch can add to a list, so it counts once.
            repeatable=merge,
        )

    def record_event(
        self,
        regarding: Mapping[str, Any],
        *,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002 # the API's own word
        action: str = "Reconcile",
        reporter: str = OPERATOR,
    ) -> None:
        """An Event; a repeated one is counted up."""
        self._events.record(regarding, reason, message, type, action, reporter)

    def review_token(self, token: str, audiences: Sequence[str] = ()) -> Identity | None:
        """Who the bearer of a token is."""
        return review_token(self._api, token, audiences)

    def review_access(
        self,
        identity: Identity,
        verb: str,
        group: str,
        resource: str,
        namespace: str,
        name: str = "",
        subresource: str = "",
    ) -> tuple[bool, str]:
        """Whether somebody may do it, and why."""
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "namespace": namespace,
            "name": name,
            "subresource": subresource,
        }
        return review_access(self._api, identity, attributes)

    def lease(self, namespace: str, name: str, *, holder: str, seconds: int = 15) -> KubernetesLease:
        """A Lease of that name."""
        return KubernetesLease(self._api, namespace, name, holder, seconds)

    def close(self) -> None:
        """Release connections."""
        self._api.close()

    def _place(self, manifest: Mapping[str, Any]) -> tuple[ResourceType, str, str]:
        try:
            metadata = manifest["metadata"]
            kind = self._kind(manifest["apiVersion"], manifest["kind"])
            return kind, metadata.get("namespace", ""), metadata["name"]
        except (KeyError, TypeError, AttributeError) as error:
            raise RefusedError("a manifest needs apiVersion, kind and metadata.name") from error

    def _kind(self, api_version: str, kind: str) -> ResourceType:
        """Where objects of the kind are; raises NotFoundError when the server does not know it."""
        with self._lock:
            known = self._kinds.get((api_version, kind))
            fresh = time.monotonic() - self._asked.get(api_version, -_ASK_AGAIN_SECONDS) < _ASK_AGAIN_SECONDS
        if known is None and not fresh:
            served = self._discover(api_version)
            with self._lock:
                self._kinds |= served
                self._asked[api_version] = time.monotonic()
                known = self._kinds.get((api_version, kind))
        if known is None:
            raise NotFoundError(f"this cluster has no kind {kind} in {api_version}")
        return known

    def _discover(self, api_version: str) -> dict[tuple[str, str], ResourceType]:
        root = "/apis/" if "/" in api_version else "/api/"
        found = self._api.find(root + api_version) or {}
        return {
            (api_version, one["kind"]): ResourceType(api_version, one["kind"], one["name"], one["namespaced"])
            for one in found.get("resources", ())
            if "/" not in one["name"]
        }
