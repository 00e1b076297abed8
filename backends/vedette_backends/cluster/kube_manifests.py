"""Between manifests as the Kubernetes API has them and `Object`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vedette_backends.cluster.kube_kinds import ResourceType
from vedette_backends.cluster.protocol import Key, Object

# The server's own: not taken over from what somebody wants to create.
_SERVERS_METADATA = frozenset(
    {"generation", "resourceVersion", "creationTimestamp", "uid", "selfLink", "managedFields", "deletionTimestamp"}
)
# Metadata that a replacement replaces, too.
_REPLACED_METADATA = ("labels", "annotations")


def to_object(item: dict[str, Any], kind: ResourceType) -> Object:
    """An object of the API server's answer, which is taken over: do not use it any more."""
    metadata = item["metadata"]
    metadata.pop("managedFields", None)
    status = item.pop("status", None) or {}
    item.setdefault("apiVersion", kind.api_version)
    item.setdefault("kind", kind.kind)
    key = Key(kind.kind, metadata.get("namespace", ""), metadata["name"])
    return Object(key, item, status, metadata.get("generation", 1), int(metadata.get("resourceVersion") or 0))


def for_creating(manifest: Mapping[str, Any], kind: ResourceType, key: Key) -> dict[str, Any]:
    """What is sent to create an object."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _SERVERS_METADATA}
    metadata["namespace"] = key.namespace
    body = {name: value for name, value in manifest.items() if name != "status"}
    return {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def replacement(manifest: Mapping[str, Any], version: str | None) -> list[dict[str, Any]]:
    """The JSON patch that makes an existing object what the manifest says, if it still is at `version`."""
    patch: list[dict[str, Any]] = []
    if version is not None:
        # The server compares it with the current one and answers 409; the patch's own `test` would be answered 422.
        patch.append({"op": "replace", "path": "/metadata/resourceVersion", "value": version})
    metadata = manifest["metadata"]
    patch += [
        {"op": "add", "path": f"/metadata/{name}", "value": metadata.get(name) or {}} for name in _REPLACED_METADATA
    ]
    # `add` replaces what is there. In our kinds, spec is all there is besides metadata and status.
    patch.append({"op": "add", "path": "/spec", "value": manifest.get("spec") or {}})
    return patch
