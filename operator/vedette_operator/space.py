"""One namespace as the operator knows it: its objects, the verdicts on them, and the bundle that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vedette_backends.cluster.protocol import Object
from vedette_engine.alerting.bundle import Bundle, BundledEnrichment, BundledRule
from vedette_operator.verdict import Finding, Verdict

Part = Mapping[str, Any]
KINDS = ("LogSource", "Enrichment", "AlertRule")


@dataclass(slots=True)
class Known:
    """One object with what was found out. `extra`: conditions that depend on more than the object itself."""

    object: Object
    verdict: Verdict
    extra: list[Finding] = field(default_factory=list)


class Space:
    """Objects of one namespace. `last_good`: the parts of the bundle in force, by kind and name."""

    def __init__(self, namespace: str, in_force: Bundle | None) -> None:
        self.namespace = namespace
        self.objects: dict[str, dict[str, Known]] = {kind: {} for kind in KINDS}
        self.head = ""
        self.revision = 0
        """Grows when an object or what is known of it changes."""
        self._last_good: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        if in_force is not None:
            self._remember(in_force)

    def _remember(self, bundle: Bundle) -> None:
        self._last_good = {
            "LogSource": dict(bundle.sources),
            "Enrichment": {item.name: item for item in bundle.enrichments},
            "AlertRule": {item.name: item for item in bundle.rules},
        }

    def is_last_good(self, kind: str, name: str) -> bool:
        """Whether an older version than the object's current one is in force."""
        known = self.objects[kind].get(name)
        return known is not None and not known.verdict.good and name in self._last_good[kind]

    def bundle(self) -> Bundle:
        """What workers should load now: each object as it is if it is good, else its last good version."""
        return Bundle(
            namespace=self.namespace,
            sources=dict(self.parts("LogSource")),
            enrichments=[_as(BundledEnrichment, part) for _, part in self.parts("Enrichment")],
            rules=[_as(BundledRule, part) for _, part in self.parts("AlertRule")],
        )

    def parts(self, kind: str) -> Iterable[tuple[str, Any]]:
        """(name, part) of what should be in force of a kind, by name."""
        for name, known in sorted(self.objects[kind].items()):
            part = known.verdict.part if known.verdict.good else self._last_good[kind].get(name)
            if part is not None:
                yield name, part

    def in_force(self, bundle: Bundle, head: str) -> None:
        """The bundle was published."""
        self.head = head
        self._remember(bundle)


def _as(kind: type[Any], part: Any) -> Any:
    return part if isinstance(part, kind) else kind(**part)
