"""The enrichments in force in one worker, with their tables: blobs of the store, and files on volumes.

What the operator can read it has tested. A file on a volume only a worker can read: the worker runs the enrichment's
tests on it, tells the result in its heartbeats, and looks again when the file changes. A file that is missing or fails
the tests leaves the table before it in force; without one the enrichment fails visibly on each event it applies to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vedette_crds.problems import Problem, ProblemsError
from vedette_engine.alerting.bundle import BundledEnrichment
from vedette_engine.enrich.base import Enricher, Enrichment, compile_enrichment
from vedette_engine.enrich.testing import run_enrichment_tests
from vedette_workers.pipeline.claims import Claims, TableMissingError

log = logging.getLogger(__name__)

Tables = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One enrichment. `stamp`: of its file on a volume. `report`: what its tests said there; None for all others."""

    item: BundledEnrichment
    made: Enrichment
    stamp: object = None
    report: Mapping[str, Any] | None = None


class Enrichments:
    """Follows bundles and files. Not thread-safe: the worker's one thread calls it."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._loaded: dict[str, _Loaded] = {}
        self.enricher: Enricher | None = None

    def prepare(self, items: Iterable[BundledEnrichment], tables: Tables) -> dict[str, _Loaded]:
        """What `swap` takes, made of a bundle; only what differs is loaded.

        Raises:
            ProblemsError: one that the operator could test is broken.
        """
        prepared: dict[str, _Loaded] = {}
        problems: list[Problem] = []
        for item in items:
            have = self._loaded.get(item.name)
            if have is not None and have.item == item:
                prepared[item.name] = have
            elif (reference := _on_volume(item)) is not None:
                prepared[item.name] = self._from_volume(item, reference)
            else:
                table = next((tables(blob) for blob in item.tables.values() if isinstance(blob, str)), None)
                made, wrong = compile_enrichment(item.name, item.spec, table)
                problems += wrong
                prepared[item.name] = _Loaded(item, made)
        if problems:
            raise ProblemsError(problems)
        return prepared

    def swap(self, prepared: Mapping[str, _Loaded]) -> None:
        """Take over what was prepared."""
        self._loaded = dict(prepared)
        self.enricher = Enricher([one.made for one in self._loaded.values()]) if self._loaded else None

    def refresh(self) -> bool:
        """Load files on volumes that changed; whether there were any."""
        changed = {}
        for name, loaded in self._loaded.items():
            reference = _on_volume(loaded.item)
            if reference is not None and self._claims.stamp(reference) != loaded.stamp:
                changed[name] = self._from_volume(loaded.item, reference)
        if changed:
            self.swap({**self._loaded, **changed})
        return bool(changed)

    def tests(self) -> dict[str, Mapping[str, Any]]:
        """For heartbeats: Enrichment → hash of its part of the bundle, tests passed, failed and not run, a message."""
        return {name: one.report for name, one in list(self._loaded.items()) if one.report is not None}

    def counters(self) -> dict[str, dict[str, int]]:
        """Enrichment → applied, misses, failed."""
        enricher = self.enricher
        return {} if enricher is None else enricher.counters

    def _from_volume(self, item: BundledEnrichment, reference: Mapping[str, Any]) -> _Loaded:
        stamp = self._claims.stamp(reference)
        made, report = self._tested(item, reference)
        if report["message"]:
            log.warning("Enrichment %s: %s", item.name, report["message"])
            before = self._loaded.get(item.name)
            usable = before is not None and before.item.spec == item.spec and before.made.operation is not None
            if before is not None and usable:
                made, report = before.made, {**report, "in_force": "earlier"}
        return _Loaded(item, made, stamp, report)

    def _tested(self, item: BundledEnrichment, reference: Mapping[str, Any]) -> tuple[Enrichment, dict[str, Any]]:
        count = len(item.spec.get("tests") or ())
        try:
            table = self._claims.read(reference)
        except TableMissingError as fault:
            return _failing(item, str(fault)), _report(item, not_run=count, message=str(fault))
        made, problems = compile_enrichment(item.name, item.spec, table)
        if problems:
            return made, _report(item, failed=count, message=problems[0].message)
        results = run_enrichment_tests(item.spec, table, name=item.name)
        wrong = [result for result in results if result.passed is False]
        report = _report(item, passed=len(results) - len(wrong), failed=len(wrong))
        if not wrong:
            return made, report
        message = f"{wrong[0].name}: {wrong[0].message}"
        return _failing(item, message), {**report, "message": message, "path": wrong[0].path}


def _report(
    item: BundledEnrichment, *, passed: int = 0, failed: int = 0, not_run: int = 0, message: str = ""
) -> dict[str, Any]:
    return {"hash": item.hash, "passed": passed, "failed": failed, "not_run": not_run, "message": message[:1000]}


def _failing(item: BundledEnrichment, message: str) -> Enrichment:
    """The enrichment without its table: it fails on every event that it applies to, and says so there."""
    made, _ = compile_enrichment(item.name, item.spec, None)
    return replace(made, operation=None, error=message)


def _on_volume(item: BundledEnrichment) -> Mapping[str, Any] | None:
    references: Sequence[Any] = [value for value in item.tables.values() if not isinstance(value, str)]
    return references[0] if references else None
