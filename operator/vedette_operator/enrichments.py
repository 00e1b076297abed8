"""Judging one Enrichment with the tables that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from vedette_crds.enrichment import Enrichment
from vedette_crds.features import not_yet_supported
from vedette_crds.problems import Problem
from vedette_engine.alerting.ids import digest
from vedette_engine.enrich.base import compile_enrichment
from vedette_engine.enrich.testing import run_enrichment_tests
from vedette_operator.tables import Tables
from vedette_operator.verdict import Finding, Verdict, as_problems, refused, tally, tested

Keep = Callable[[bytes], str]
"""Puts a table into the store and gives its hash."""


def references(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, reference) of the tables in an Enrichment's spec, as the manifest writes it."""
    for operation, field in (("geoip", "database"), ("lookup", "table")):
        found = (spec.get(operation) or {}).get(field)
        if isinstance(found, Mapping) and "rows" not in found:
            yield f"spec.{operation}.{field}", found


def judge(enrichment: Enrichment, spec: Mapping[str, Any], files: Tables, keep: Keep) -> Verdict:
    """Whether it may go into force, tables included. `spec` is the manifest's."""
    unsupported = not_yet_supported(enrichment)
    if unsupported:
        return refused("NotYetSupported", unsupported, _not_run(enrichment))
    name = enrichment.metadata.name
    table: bytes | None = None
    for path, reference in references(spec):
        if "pvc" in reference and files.on_workers:
            return _on_volume(enrichment, spec, reference)
        content = files.read(enrichment.metadata.namespace, reference, path)
        if isinstance(content, Problem):
            return refused("ReferenceNotFound", [content], _not_run(enrichment))
        table = content
    _, problems = compile_enrichment(name, spec, table)
    if problems:
        return refused("Invalid", problems)
    results = run_enrichment_tests(spec, table, name=name)
    accepted = Finding("Accepted", "True", "Valid", "")
    finding = tested(results)
    if finding.status == "False":
        return Verdict((accepted, finding), None, tally(results), tuple(as_problems(results)))
    kept = {} if table is None else {name: keep(table)}
    return Verdict((accepted, finding), _part(name, spec, kept), tally(results))


def _part(name: str, spec: Mapping[str, Any], tables: Mapping[str, Any]) -> Mapping[str, Any]:
    identity = digest(orjson.dumps([spec, tables], option=orjson.OPT_SORT_KEYS).decode())
    return {"name": name, "hash": identity, "spec": spec, "tables": tables}


def _on_volume(enrichment: Enrichment, spec: Mapping[str, Any], reference: Mapping[str, Any]) -> Verdict:
    """The table is on a volume that only workers mount: they run the tests and tell the result."""
    name = enrichment.metadata.name
    accepted = Finding("Accepted", "True", "Valid", "")
    waiting = Finding("Tested", "Unknown", "NotRun", "workers that mount the volume run the tests")
    return Verdict((accepted, waiting), _part(name, spec, {name: dict(reference)}), _not_run(enrichment))


def _not_run(enrichment: Enrichment) -> Mapping[str, int]:
    return {"passed": 0, "failed": 0, "notRun": len(enrichment.spec.tests)}
