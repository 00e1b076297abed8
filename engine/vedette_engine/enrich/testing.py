"""Runs the tests inside an Enrichment: an event before, expected fields after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vedette_engine.enrich.base import FAILED, compile_enrichment
from vedette_engine.normalise.compare import differences
from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.document import to_document
from vedette_engine.normalise.flatten import flatten
from vedette_engine.normalise.source import as_manifest
from vedette_engine.testing import TestResult


def run_enrichment_tests(spec: Any, table: bytes | None = None, *, name: str = "enrichment") -> list[TestResult]:
    """One result per test of `Enrichment.spec`, given as pydantic model or as the manifest's own mapping.

    `appliesTo.datasets` and `sources` are left aside, because tests are about what the operation does;
    `appliesTo.fields` counts. Tests of an operation whose table is not at hand are not run.
    """
    written = as_manifest(spec)
    tests = list(written.get("tests") or ())
    if table is None and _needs_table(written):
        return [_result(test, number, None, "the table is not at hand here") for number, test in enumerate(tests)]
    return [_run(name, written, table, test, number) for number, test in enumerate(tests)]


def _needs_table(spec: Mapping[str, Any]) -> bool:
    return "geoip" in spec or ("lookup" in spec and "rows" not in (spec["lookup"].get("table") or {}))


def _run(name: str, spec: Mapping[str, Any], table: bytes | None, test: Mapping[str, Any], number: int) -> TestResult:
    enrichment, problems = compile_enrichment(name, spec, table)
    if problems:
        return _result(test, number, False, "; ".join(map(str, problems)))
    counters: Counters = {}
    event = flatten(test["input"], counters)
    enrichment.run(event)
    found = differences(event, to_document(event), test.get("expect") or {}, test.get("absent") or ())
    if found and FAILED in event:
        found.append(f"the enrichment failed: {enrichment.error}")
    return _result(test, number, not found, "; ".join(found))


def _result(test: Mapping[str, Any], number: int, passed: bool | None, message: str) -> TestResult:  # noqa: FBT001 # the result's own three values
    return TestResult(test.get("name") or f"test {number + 1}", passed, message, f"spec.tests[{number}]")
