"""What an object's metadata asks of the operator: to leave it alone, or to let it go."""

from __future__ import annotations

from vedette_backends.cluster.protocol import Object
from vedette_operator.verdict import Finding

PAUSE = "vedette.dev/paused"
"""Annotation: with the value `true` the operator leaves the object as it is and says so."""

FINALIZER = "vedette.dev/backends"
"""On LogSources, because their queues and events live outside Kubernetes."""

PAUSED = Finding(
    "Paused", "True", "Paused", f"the annotation {PAUSE} is set: what is in force stays as it is until it is gone"
)


def going(item: Object) -> bool:
    """Whether somebody deleted the object and it waits for its finalizers."""
    return "deletionTimestamp" in item.manifest["metadata"]


def paused(item: Object) -> bool:
    """Whether the operator is to leave the object alone."""
    annotations = item.manifest["metadata"].get("annotations") or {}
    return bool(annotations.get(PAUSE) == "true")


def same(one: Object, other: Object) -> bool:
    """Whether nothing differs that the operator acts on; statuses do not count."""
    return _sign(one) == _sign(other)


def shadow(item: Object) -> Object:
    """The object without what `same` does not look at: thousands of them are remembered."""
    metadata = item.manifest["metadata"]
    names = ("uid", "deletionTimestamp", "finalizers")
    kept = {name: metadata[name] for name in names if name in metadata}
    if paused(item):
        kept["annotations"] = {PAUSE: "true"}
    return Object(item.key, {"metadata": kept}, {}, item.generation, item.version)


def _sign(item: Object) -> tuple[object, ...]:
    metadata = item.manifest["metadata"]
    return item.generation, metadata.get("uid"), going(item), paused(item), tuple(metadata.get("finalizers") or ())
