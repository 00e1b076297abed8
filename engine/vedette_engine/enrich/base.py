"""Enrichments: what is added to an event after normalisation, in the order of their manifests.

An enrichment is chosen by what its source claims and which fields are there, never by what an event says. One that
fails costs its own field or a tag; the event always goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vedette_crds.problems import Problem
from vedette_engine.enrich.errors import EnrichmentError, TableError
from vedette_engine.enrich.operation import Operation
from vedette_engine.enrich.registry import OPERATIONS
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.source import as_manifest

FAILED = "vedette.enrichment_failed"
"""Field that lists the enrichments which failed on the event."""

TAG = "enrichment_failed"
"""Added to `tags` of such an event."""


@dataclass(slots=True)
class Enrichment:
    """One enrichment, ready to run.

    Attributes:
        name: of the manifest.
        order: smaller runs first; equal ones by name.
        operation: what it does; None when it could not be made, so that it fails on every event it applies to.
        datasets, sources: where it applies; None is everywhere.
        fields: all of them must be in the event.
        drop: a failure also removes the field that could not be read.
        counters: applied, misses, failed.
        error: what the last failure was.
    """

    name: str
    order: int
    operation: Operation | None
    datasets: frozenset[str] | None
    sources: frozenset[str] | None
    fields: tuple[str, ...]
    drop: bool = False
    counters: dict[str, int] = field(default_factory=lambda: {"applied": 0, "misses": 0, "failed": 0})
    error: str = ""

    def wanted(self, dataset: str, source: str) -> bool:
        """Whether it applies to events of this dataset and source at all."""
        in_dataset = self.datasets is None or dataset in self.datasets
        return in_dataset and (self.sources is None or source in self.sources)

    def run(self, event: Event) -> None:
        """Applies it to an event that it is wanted for."""
        for name in self.fields:
            if name not in event:
                return
        if self.operation is None:
            self._fail(event)
            return
        try:
            self.counters["applied" if self.operation.apply(event) else "misses"] += 1
        except EnrichmentError as error:
            self.error = str(error)
            self._fail(event)

    def _fail(self, event: Event) -> None:
        self.counters["failed"] += 1
        if self.drop and self.operation is not None:
            for name in self.operation.reads:
                event.pop(name, None)
        # New lists: values of events may be shared.
        event[FAILED] = [*event.get(FAILED, ()), self.name]
        tags = event.get("tags")
        present = tags if isinstance(tags, list) else [] if tags is None else [tags]
        if TAG not in present:
            event["tags"] = [*present, TAG]


class Enricher:
    """All enrichments of a namespace.

    Attributes:
        enrichments: in the order in which they run.
        problems: what is wrong with those that cannot work; they fail on every event they apply to.
    """

    def __init__(self, enrichments: Sequence[Enrichment], problems: Sequence[Problem] = ()) -> None:
        self.enrichments = tuple(sorted(enrichments, key=lambda one: (one.order, one.name)))
        self.problems = tuple(problems)
        self._chains: dict[tuple[str, str], tuple[Enrichment, ...]] = {}

    def apply(self, event: Event, source: str = "") -> None:
        """Enriches an event of the source, in place. Never raises."""
        dataset = event.get("event.dataset", "")
        key = (dataset if isinstance(dataset, str) else "", source)
        chain = self._chains.get(key)
        if chain is None:
            chain = tuple(one for one in self.enrichments if one.wanted(*key))
            if len(self._chains) >= 1024:
                self._chains.clear()
            self._chains[key] = chain
        for enrichment in chain:
            enrichment.run(event)

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """Name → applied, misses, failed."""
        return {one.name: dict(one.counters) for one in self.enrichments}

    @property
    def errors(self) -> dict[str, str]:
        """Name → the last failure, of those that failed."""
        return {one.name: one.error for one in self.enrichments if one.error}


def compile_enrichments(specs: Iterable[tuple[str, Any]], tables: Mapping[str, bytes] | None = None) -> Enricher:
    """The enricher of these enrichments.

    Args:
        specs: (name, spec), the spec as pydantic model or as the manifest's own mapping.
        tables: enrichment's name → bytes of its table or database.
    """
    enrichments: list[Enrichment] = []
    problems: list[Problem] = []
    for name, spec in specs:
        made, wrong = compile_enrichment(name, as_manifest(spec), (tables or {}).get(name))
        enrichments.append(made)
        problems += wrong
    return Enricher(enrichments, problems)


def compile_enrichment(name: str, spec: Mapping[str, Any], table: bytes | None) -> tuple[Enrichment, list[Problem]]:
    """One enrichment, and what is wrong with it."""
    kind = next((kind for kind in OPERATIONS if kind in spec), None)
    operation: Operation | None = None
    error = ""
    if kind is None:
        error = "this Vedette knows no such operation"
    else:
        try:
            operation = OPERATIONS[kind](spec[kind], table)
        except (TableError, ValueError) as fault:
            error = str(fault)
    applies = spec.get("appliesTo") or {}
    enrichment = Enrichment(
        name=name,
        order=spec.get("order", 1000),
        operation=operation,
        datasets=_names(applies.get("datasets")),
        sources=_names(applies.get("sources")),
        fields=tuple(applies.get("fields") or ()),
        drop=spec.get("onFailure") == "drop-field",
        error=error,
    )
    problems = [Problem(error, object=f"Enrichment {name}", path=f"spec.{kind}" if kind else "spec")] if error else []
    return enrichment, problems


def _names(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if not names or "*" in names else frozenset(names)
