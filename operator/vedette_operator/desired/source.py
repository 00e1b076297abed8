"""A LogSource as far as it decides what runs and what exists outside the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_crds.duration import parse_duration
from vedette_operator import marks
from vedette_operator.desired.scaling import Scaling

_TABLES = (("geoip", "database"), ("lookup", "table"), ("cidr", "table"), ("indicators", "feed"))


@dataclass(frozen=True, slots=True)
class Source:
    """One source that is in force.

    Attributes:
        uid: of the object; empty where there is none.
        dedicated: it has workers of its own.
        scaling: how many, if it has.
        retention: classes of its events, of the newest version and of the one in force.
        exchange, routing_keys: where foreign publishers send; empty for other inputs.
        paused: its own objects are left alone.
        guarded: it bears the finalizer already.
    """

    name: str
    uid: str
    dedicated: bool
    scaling: Scaling
    retention: frozenset[str]
    exchange: str = ""
    routing_keys: tuple[str, ...] = ()
    paused: bool = False
    guarded: bool = False

    @classmethod
    def of(cls, manifest: Mapping[str, Any], part: Mapping[str, Any]) -> Source:
        """From the object and its part of the bundle; that one is of the last good version where the newest is not."""
        metadata, spec = manifest["metadata"], manifest["spec"]
        workers = spec.get("workers") or {}
        least, most = int(workers.get("minReplicas", 1)), int(workers.get("maxReplicas", 4))
        bindings: Sequence[Sequence[str]] = part.get("bindings") or ()
        return cls(
            name=metadata["name"],
            uid=metadata.get("uid") or "",
            dedicated=workers.get("mode") == "dedicated",
            scaling=Scaling(least, max(least, most), parse_duration(workers.get("lagTarget", "10s")) / 1000),
            retention=frozenset({_retention(spec), part.get("retention") or _retention(spec)}),
            exchange=bindings[0][0] if bindings else "",
            routing_keys=tuple(key for _, key in bindings),
            guarded=marks.FINALIZER in (metadata.get("finalizers") or ()),
        )


def _retention(spec: Mapping[str, Any]) -> str:
    return str((spec.get("retention") or {}).get("search") or "30d")


def retention_classes(sources: Iterable[Source]) -> list[str]:
    """Classes in use."""
    return sorted({name for source in sources for name in source.retention})


def claims(specs: Iterable[Mapping[str, Any]]) -> list[str]:
    """PersistentVolumeClaims that Enrichments read, by their specs."""
    return sorted({claim for spec in specs for claim in _claims(spec)})


def _claims(spec: Mapping[str, Any]) -> Iterator[str]:
    for operation, field in _TABLES:
        place = (spec.get(operation) or {}).get(field) or {}
        claim = (place.get("pvc") or {}).get("claimName") if isinstance(place, Mapping) else None
        if isinstance(claim, str):
            yield claim


def example_key(pattern: str) -> str:
    """A routing key that a topic exchange sends to a queue bound with `pattern`, as an example for publishers.

    `*` stands for one word, `#` for any number of them (AMQP 0-9-1, 3.1.3.3).
    """
    words = ["events" if word == "*" else word for word in pattern.split(".") if word != "#"]
    return ".".join(words)
