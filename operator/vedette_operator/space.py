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
HEADS = 200
"""Bundles that are remembered; a worker with an older one is told to load."""


@dataclass(slots=True)
class Known:
    """One object with what was found out.

    Attributes:
        extra: conditions that depend on more than the object itself.
        token: TopologyReady of a source as far as the gateway is concerned.
    """

    object: Object
    verdict: Verdict
    extra: list[Finding] = field(default_factory=list)
    token: Finding | None = None

    def set(self, finding: Finding) -> None:
        """Put in place of what was found about the same condition before."""
        self.extra = [*(other for other in self.extra if other.type != finding.type), finding]

    def findings(self) -> list[Finding]:
        """All of them, one of each type."""
        found = {finding.type: finding for finding in (*self.verdict.findings, *self.extra)}
        if self.token is not None:
            there = found.get(self.token.type)
            if there is None or there.status == "True":
                found[self.token.type] = self.token
        return list(found.values())


class Space:
    """Objects of one namespace. `in_force` and `head`: the bundle that an earlier run published, and its hash."""

    def __init__(self, namespace: str, in_force: Bundle | None, head: str = "") -> None:
        self.namespace = namespace
        self.objects: dict[str, dict[str, Known]] = {kind: {} for kind in KINDS}
        self.head = head
        self.revision = 0
        """Grows when an object or what is known of it changes."""
        self._last_good: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._numbers: dict[str, int] = {head: 0} if head else {}
        self._number = 0
        self._since: dict[tuple[str, str], int] = {}
        self._left: dict[str, int] = {}
        if in_force is not None:
            self._last_good = _parts(in_force)

    @property
    def searches(self) -> bool:
        """Whether some rule that should be in force is a scheduled search."""
        rules = self.objects["AlertRule"]
        return any(is_search(self.part("AlertRule", name)) for name in rules)

    def part(self, kind: str, name: str) -> Any:
        """What should be in force of an object: as it is if it is good, else its last good version; None for none."""
        known = self.objects[kind][name]
        return known.verdict.part if known.verdict.good else self._last_good[kind].get(name)

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
        for name in sorted(self.objects[kind]):
            part = self.part(kind, name)
            if part is not None:
                yield name, part

    def in_force(self, bundle: Bundle, head: str) -> None:
        """The bundle was published."""
        if head not in self._numbers or head != self.head:
            self._number += 1
            self._numbers.pop(head, None)
            self._numbers[head] = self._number
            while len(self._numbers) > HEADS:
                del self._numbers[next(iter(self._numbers))]
        self.head = head
        parts = _parts(bundle)
        for kind, held in parts.items():
            before = self._last_good[kind]
            for name, part in held.items():
                if name not in before or _identity(before[name]) != _identity(part):
                    self._since[kind, name] = self._number
        sources = parts["LogSource"]
        left = {name: self._number for name in self._last_good["LogSource"] if name not in sources}
        self._left = {name: number for name, number in (self._left | left).items() if name not in sources}
        self._last_good = parts

    def number(self, head: str) -> int:
        """Which bundle of this run a worker has, counted from the one that was found at the start; -1: none of them."""
        return self._numbers.get(head, -1)

    def since(self, kind: str, name: str) -> int:
        """Number of the first bundle that holds the object's part as it is now: workers need not have a newer one."""
        return self._since.get((kind, name), 0)

    def is_left(self, source: str, heads: Iterable[str]) -> bool:
        """Whether workers that have these bundles serve a source no more."""
        if source in self._last_good["LogSource"]:
            return False
        return all(self.number(head) >= self._left.get(source, 0) for head in heads)


def is_search(part: Any) -> bool:
    """Whether a rule's part of the bundle is a scheduled search, which schedulers load; pipelines load all others."""
    return bool(part.search if isinstance(part, BundledRule) else part is not None and part.get("search"))


def _parts(bundle: Bundle) -> dict[str, dict[str, Any]]:
    return {
        "LogSource": dict(bundle.sources),
        "Enrichment": {item.name: item for item in bundle.enrichments},
        "AlertRule": {item.name: item for item in bundle.rules},
    }


def _identity(part: Any) -> Any:
    return part.hash if isinstance(part, BundledRule | BundledEnrichment) else part


def _as(kind: type[Any], part: Any) -> Any:
    return part if isinstance(part, kind) else kind(**part)
