"""Runs the tests inside a LogSource: raw input in, expected fields of the event out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from vedette_crds.problems import ProblemsError
from vedette_engine.normalise.compare import differences
from vedette_engine.normalise.document import to_document
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig, as_manifest
from vedette_engine.normalise.times import parse_time
from vedette_engine.testing import TestResult

RECEIVED = "2026-01-01T00:00:00Z"
"""When a test's input arrives, unless it says."""


def run_source_tests(spec: Any, namespace: str = "default", name: str = "source") -> list[TestResult]:
    """One result per test of `LogSource.spec`, given as pydantic model or as the manifest's own mapping.

    A source that cannot work fails all of its tests.
    """
    written = as_manifest(spec)
    tests = list(written.get("tests") or ())
    try:
        normaliser = Normaliser(SourceConfig.from_spec(namespace, name, spec))
    except ProblemsError as error:
        return [
            TestResult(test["name"], passed=False, message=str(error), path=f"spec.tests[{number}]")
            for number, test in enumerate(tests)
        ]
    return [_run(normaliser, test, f"spec.tests[{number}]") for number, test in enumerate(tests)]


def _run(normaliser: Normaliser, test: Mapping[str, Any], path: str) -> TestResult:
    given = test["input"]
    raw = given.encode() if isinstance(given, str) else orjson.dumps(given)
    received = parse_time(test.get("received", RECEIVED))
    assert received is not None, "the schema admits times only"
    try:
        event = normaliser.normalise(raw, None if isinstance(given, str) else given, received)
    except Malformed as error:
        return TestResult(test["name"], passed=False, message=str(error), path=path)
    found = differences(event, to_document(event), test.get("expect") or {}, test.get("absent") or ())
    return TestResult(test["name"], passed=not found, message="; ".join(found), path=path)
