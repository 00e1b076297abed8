"""What objects in a tenant's namespace are called, how they are labelled, and to whom they belong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vedette_backends.settings import VHOST_PREFIX

Manifest = Mapping[str, Any]
Document = dict[str, Any]

MANAGER = "vedette-operator"
"""Field manager of everything that the operator applies."""

MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "vedette.dev/component"
SOURCE = "vedette.dev/source"
BACKENDS_HASH = "vedette.dev/backends-hash"
"""Annotation of pod templates: another Secret makes other pods."""

OURS = {MANAGED_BY: "vedette", PART_OF: "vedette"}
"""Labels of everything that the operator makes."""

PIPELINE, RESPONDER, SCHEDULER = "pipeline", "responder", "scheduler"
BACKENDS_SECRET = "vedette-backends"  # noqa: S105 # a Secret's name
MAX_OWNERS = 100


def component_name(component: str) -> str:
    """Name of a component's objects; also of its ServiceAccount."""
    return f"vedette-{component}"


def pipeline_name(source: str = "") -> str:
    """Name of the shared pipeline, or of a source's own. A source's name has at most 40 characters, this 57."""
    return f"{component_name(PIPELINE)}-{source}" if source else component_name(PIPELINE)


def worker_user(namespace: str) -> str:
    """Name of the namespace's virtual host and of its workers' RabbitMQ user."""
    return VHOST_PREFIX + namespace


def publisher_user(namespace: str, source: str) -> str:
    """RabbitMQ user of a source's foreign publishers. Neither part can hold a dot, so no two of these are equal."""
    return f"{VHOST_PREFIX}{namespace}.{source}"


def publisher_secret(source: str) -> str:
    """Secret that tells foreign publishers where and as whom to publish."""
    return f"{source}-publisher"


def selector(labels: Mapping[str, str]) -> str:
    """Labels as the API takes them in a query."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def labels(component: str, *, instance: str = "", source: str = "") -> dict[str, str]:
    """Labels of an object. `instance`: of the workload that it belongs to; `source`: whose own it is."""
    found = {**OURS, NAME: component_name(component), COMPONENT: component}
    if instance:
        found[INSTANCE] = instance
    if source:
        found[SOURCE] = source
    return found


def owners(sources: Iterable[tuple[str, str]]) -> list[Document]:
    """References to LogSources as owners, given as (name, uid): when all of them are gone, so is what they own.

    Not more than `MAX_OWNERS`, by name: when those are gone and others are not, the operator makes the object again.
    """
    return [
        {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "LogSource",
            "name": name,
            "uid": uid,
            "controller": False,
            "blockOwnerDeletion": False,
        }
        for name, uid in sorted(sources)[:MAX_OWNERS]
        if uid
    ]


def metadata(namespace: str, name: str, labelled: Mapping[str, str], owned_by: Sequence[Document] = ()) -> Document:
    """The metadata of an object of ours."""
    found: Document = {"namespace": namespace, "name": name, "labels": dict(labelled)}
    if owned_by:
        found["ownerReferences"] = [dict(owner) for owner in owned_by]
    return found
