"""Where objects of each kind are in the Kubernetes API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from vedette_backends.errors import RefusedError

GROUP_VERSION = "vedette.dev/v1alpha1"

OPERATOR = "vedette-operator"
"""The operator's field manager."""

# What a name in a path may hold: the API server's own check is finer, this keeps a path a path.
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}")


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind as the API serves it.

    Attributes:
        api_version: `v1` or `GROUP/VERSION`.
        plural: the kind's name in paths.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Path of an object, or of a list; `namespace` None or "" means all of them, or none.

        Raises:
            RefusedError: namespace or name cannot be a name, or an object of a namespace is asked for without one.
        """
        parts = ["api" if "/" not in self.api_version else "apis", *self.api_version.split("/")]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        elif name and self.namespaced:
            raise RefusedError(f"{self.kind} {name} needs a namespace")
        parts += [part for part in (self.plural, name, subresource) if part]
        for part in parts:
            if not _SEGMENT.fullmatch(part):
                raise RefusedError(f"{part[:80]!r} cannot be a name in Kubernetes")
        return "/" + "/".join(quote(part, safe="") for part in parts)


def _types(api_version: str, *, namespaced: bool = True, **plurals: str) -> dict[tuple[str, str], ResourceType]:
    return {
        (api_version, kind): ResourceType(api_version, kind, plural, namespaced) for kind, plural in plurals.items()
    }


OURS: Mapping[str, ResourceType] = {
    kind: ResourceType(GROUP_VERSION, kind, plural)
    for kind, plural in (
        ("LogSource", "logsources"),
        ("Enrichment", "enrichments"),
        ("AlertRule", "alertrules"),
        ("Incident", "incidents"),
    )
}
"""Kinds of ours: a cluster watches these."""

VALUES: Mapping[str, ResourceType] = {
    "Secret": ResourceType("v1", "Secret", "secrets"),
    "ConfigMap": ResourceType("v1", "ConfigMap", "configmaps"),
}
"""Kinds of which objects of ours use single values: read by name, never watched."""

WELL_KNOWN: Mapping[tuple[str, str], ResourceType] = {
    **{(found.api_version, found.kind): found for found in (*OURS.values(), *VALUES.values())},
    **_types("v1", Service="services", ServiceAccount="serviceaccounts", Pod="pods"),
    **_types("v1", PersistentVolumeClaim="persistentvolumeclaims", Event="events"),
    **_types("v1", namespaced=False, Namespace="namespaces", Node="nodes"),
    **_types("apps/v1", Deployment="deployments", ReplicaSet="replicasets", StatefulSet="statefulsets"),
    **_types("policy/v1", PodDisruptionBudget="poddisruptionbudgets"),
    **_types("networking.k8s.io/v1", NetworkPolicy="networkpolicies"),
    **_types("rbac.authorization.k8s.io/v1", Role="roles", RoleBinding="rolebindings"),
    **_types(
        "rbac.authorization.k8s.io/v1",
        namespaced=False,
        ClusterRole="clusterroles",
        ClusterRoleBinding="clusterrolebindings",
    ),
    **_types("coordination.k8s.io/v1", Lease="leases"),
    **_types("events.k8s.io/v1", Event="events"),
    **_types("autoscaling/v2", HorizontalPodAutoscaler="horizontalpodautoscalers"),
    **_types(
        "admissionregistration.k8s.io/v1",
        namespaced=False,
        ValidatingWebhookConfiguration="validatingwebhookconfigurations",
    ),
    **_types("apiextensions.k8s.io/v1", namespaced=False, CustomResourceDefinition="customresourcedefinitions"),
}
"""By apiVersion and kind; what is missing here is asked of the API server."""
