"""What admission says of single objects; the reconciler's own functions judge, so only what is added is tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.alertrule import MAX_BYTES
from vedette_operator.admission.child import FAULT, answer_to
from vedette_operator.admission.judgement import Judgement, judge
from vedette_operator.admission.review import MAX_MESSAGE

ROOT = Path(__file__).resolve().parents[3]
QUICKSTART = ROOT / "examples" / "quickstart"
TESTS = [{"name": "t", "timeline": [{"event": {"event.action": "x"}}], "expect": {"alerts": 1}}]
SIGMA = """\
title: One
logsource: {product: linux}
detection: {sel: {event.action: x}, condition: sel}
---
title: Two
logsource: {product: linux}
detection:
  sel: {event.action|nope: y}
  condition: sel
"""


def obj(kind: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop", "uid": "1", "managedFields": [{"manager": "kubectl"}]}
    return {"apiVersion": "vedette.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def table(**reference: Any) -> dict[str, Any]:
    return {"lookup": {"keyField": "host.name", "table": reference, "set": {"labels.owner": "owner"}}}


def test_a_mistake_in_a_second_sigma_document_is_placed_there() -> None:
    (problem,) = judge(obj("AlertRule", sigma=SIGMA)).problems
    assert "nope" in problem.message
    assert (problem.path.replace(".[", "["), problem.line) == ("spec.sigma[1].detection.sel.event.action|nope", 8)


def test_broken_yaml_in_a_rule_is_placed_by_its_line_in_the_text() -> None:
    (problem,) = judge(obj("AlertRule", sigma="title: x\nlogsource: {product\n  : [")).problems
    assert problem.path == "spec.sigma"
    assert problem.line is not None
    assert problem.line > 1


def test_all_mistakes_of_an_object_are_told_with_hints() -> None:
    problems = judge(obj("Incident", titel="x", phase="Closed", severity=3)).problems
    assert {problem.path for problem in problems} >= {"spec.titel", "spec.title", "spec.severity", "spec.disposition"}
    assert any("title" in problem.hint for problem in problems if problem.path == "spec.titel")


def test_a_failing_test_refuses_and_says_which() -> None:
    (problem,) = judge(
        obj("AlertRule", sigma=SIGMA.partition("---")[0], tests=[{**TESTS[0], "expect": {"alerts": 3}}])
    ).problems
    assert problem.path == "spec.tests[0].expect.alerts"
    assert "raised 1 alert, expected 3" in problem.message


def test_what_comes_later_and_what_has_no_tests_are_warnings() -> None:
    later = judge(obj("AlertRule", severity="high", absence={"query": "*", "for": "1h"}))
    assert not later.problems
    assert "absence is not supported yet" in later.warnings[0].message
    untested = judge(obj("AlertRule", sigma=SIGMA.partition("---")[0]))
    assert [warning.message for warning in untested.warnings] == ["there are no tests"]
    assert not judge(obj("AlertRule", sigma=SIGMA.partition("---")[0], tests=TESTS)).warnings


SEARCH = {"query": "event.action:login", "condition": {"count": {"gte": 2}}}
REPEATED = {"name": "t", "timeline": [{"event": {"event.action": "login"}, "repeat": {"count": 2}}]}


def test_a_search_is_judged_with_its_tests() -> None:
    good = [{**REPEATED, "expect": {"alerts": 1}}]
    assert judge(obj("AlertRule", severity="low", search=SEARCH, tests=good)) == Judgement()
    (problem,) = judge(
        obj("AlertRule", severity="low", search=SEARCH, tests=[{**REPEATED, "expect": {"alerts": 2}}])
    ).problems
    assert (problem.path, "raised 1 alert, expected 2" in problem.message) == ("spec.tests[0].expect.alerts", True)


def test_a_query_that_cannot_be_read_is_told_with_its_place() -> None:
    (problem,) = judge(obj("AlertRule", severity="low", search={**SEARCH, "query": "a )"})).problems
    assert problem.path == "spec.search.query"
    assert "at character 3" in problem.message


@pytest.mark.parametrize("place", [{"configMap": {"name": "o", "key": "k"}}, {"pvc": {"claimName": "o", "path": "k"}}])
def test_tests_that_need_a_table_from_outside_are_not_run(place: dict[str, Any]) -> None:
    tests = [{"input": {"host.name": "a"}, "expect": {"labels.owner": "nobody knows"}}]
    found = judge(obj("Enrichment", **table(**place), tests=tests))
    assert not found.problems
    assert "1 test was not run" in found.warnings[0].message


def test_tests_of_an_enrichment_without_such_a_table_are_run() -> None:
    tests = [{"input": {"host.name": "a"}, "expect": {"labels.team": "blue"}}]
    assert judge(obj("Enrichment", set={"labels.team": "blue"}, tests=tests)) == Judgement()
    (problem,) = judge(obj("Enrichment", set={"labels.team": "red"}, tests=tests)).problems
    assert problem.path == "spec.tests[0]"


def test_a_table_in_a_file_beside_the_manifest_is_warned_about() -> None:
    (warning,) = judge(obj("Enrichment", **table(file="owners.csv"))).warnings
    assert "vedette up" in warning.message
    assert "configMap" in warning.hint


def test_a_status_of_another_version_does_not_matter() -> None:
    manifest = {**obj("Incident", title="x"), "status": {"fromTheFuture": 1}}
    assert judge(manifest) == Judgement()


def test_judgements_travel_between_processes() -> None:
    found = judge(obj("AlertRule", sigma=SIGMA))
    assert Judgement.from_json(found.to_json()) == found


def test_every_manifest_of_the_quickstart_is_admitted() -> None:
    for file in sorted(QUICKSTART.glob("*/*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest["apiVersion"].startswith("vedette.dev"):
                assert not judge(manifest).problems, file


@given(st.dictionaries(st.text(max_size=10), st.integers() | st.text(max_size=10), max_size=5))
def test_whatever_comes_is_answered(spec: dict[str, Any]) -> None:
    manifest = obj("AlertRule")
    manifest["spec"] = {**spec, "x": 2**70}
    answer = answer_to(json.dumps(manifest).encode())
    assert Judgement.from_json(answer).problems


def test_a_fault_of_ours_is_an_answer_too() -> None:
    assert answer_to(b'{"kind": "Unheard"}').startswith(FAULT)


def test_the_how_to_says_what_admission_says() -> None:
    page = (ROOT / "docs" / "howto" / "dry-run.md").read_text()
    manifest = yaml.safe_load(page.split("<<'EOF'\n")[1].split("EOF\n")[0])
    assert judge(manifest).problems
    for warning in ("there are no tests", "1 test was not run, since the table is not at hand here"):
        assert f"`{warning}`" in page
    assert f"{MAX_BYTES:,} bytes" in page
    assert f"{MAX_MESSAGE:,} characters" in page
