"""Small parts of the operator: tables, statuses, verdicts, places in files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster.protocol import Key, Object
from vedette_crds.problems import Problem
from vedette_engine.testing import TestResult
from vedette_operator import verdict as verdicts
from vedette_operator.cache import ContentCache
from vedette_operator.flow import Flow
from vedette_operator.offline import FolderConfigs
from vedette_operator.places import locate
from vedette_operator.statuses import READY, conditions, ready
from vedette_operator.tables import Tables
from vedette_operator.verdict import MAX_MESSAGE, MAX_PROBLEMS, Finding, Verdict, refused

# tables --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_bytes(b"table")
    (tmp_path / "secret").write_bytes(b"not yours")
    return Tables(FolderConfigs([]), tmp_path / "pvc", tmp_path / "folder")


@pytest.mark.parametrize("name", ["../secret", "a.csv/../../secret", "x/../../secret", "/etc/hostname"])
def test_no_reference_leads_out_of_its_folder(tables: Tables, name: str) -> None:
    for reference in ({"file": name}, {"pvc": {"claimName": "c", "path": f"../../{name}"}}):
        found = tables.read("shop", reference, "spec.x")
        assert isinstance(found, Problem)
        assert found.path == "spec.x"
        assert tables.stamp("shop", reference) is None


def test_a_table_is_read_and_its_stamp_changes_with_it(tables: Tables, tmp_path: Path) -> None:
    reference = {"file": "a.csv"}
    assert tables.read("shop", reference, "") == b"table"
    before = tables.stamp("shop", reference)
    (tmp_path / "folder" / "a.csv").write_bytes(b"another")
    assert tables.stamp("shop", reference) not in {None, before}


def test_what_is_no_file_is_not_waited_for(tables: Tables, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "folder" / "pipe")
    assert isinstance(tables.read("shop", {"file": "pipe"}, ""), Problem)


# statuses ------------------------------------------------------------------------------------------------------------
def test_the_first_condition_that_does_not_hold_says_why_an_object_is_not_ready() -> None:
    good = [Finding(name, "True", "Valid") for name in READY["AlertRule"]]
    assert ready("AlertRule", good) == Finding("Ready", "True", "AllGood", "")
    assert ready("AlertRule", good[:1]).status == "Unknown"
    bad = [good[0], Finding("Tested", "False", "TestsFailed", "because"), Finding("Loaded", "False", "NotAccepted")]
    assert ready("AlertRule", bad) == Finding("Ready", "False", "TestsFailed", "because")


def test_what_only_informs_does_not_count() -> None:
    good = [Finding(name, "True", "Valid") for name in READY["LogSource"]]
    assert ready("LogSource", [*good, Finding("Receiving", "False", "Silent")]).status == "True"
    untested = [good[0], Finding("Tested", "Unknown", "NotRun"), *good[2:]]
    assert ready("LogSource", untested).status == "True"


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    first = conditions([Finding("Ready", "True", "AllGood")], [], 1, 1_000_000)
    again = conditions([Finding("Ready", "True", "Other", "m")], first, 2, 2_000_000)
    other = conditions([Finding("Ready", "False", "Other")], again, 3, 3_000_000)
    assert [one[0]["lastTransitionTime"] for one in (first, again, other)] == [
        "1970-01-01T00:16:40Z",
        "1970-01-01T00:16:40Z",
        "1970-01-01T00:50:00Z",
    ]
    assert (again[0]["reason"], again[0]["observedGeneration"]) == ("Other", 2)


# verdicts ------------------------------------------------------------------------------------------------------------
texts = st.text(max_size=300)
problems = st.builds(Problem, message=texts, path=texts, hint=texts, file=texts, line=st.none() | st.integers(1, 10**6))


@given(st.lists(problems, min_size=1, max_size=150), st.dictionaries(st.sampled_from(["passed"]), st.integers(0, 9)))
def test_a_verdict_is_bounded_and_survives_the_cache(found: list[Problem], tests: dict[str, int]) -> None:
    verdict = refused("Invalid", found, tests)
    assert not verdict.good
    assert len(verdict.findings[0].message) <= MAX_MESSAGE
    assert len(verdict.problems) == min(len(found), MAX_PROBLEMS)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_tested_says_what_failed() -> None:
    passed = TestResult("one", True, "", "spec.tests[0]")
    failed = TestResult("two", False, "nothing came", "spec.tests[1]")
    skipped = TestResult("three", None, "no table", "spec.tests[2]")
    assert verdicts.tested([]).reason == "NoTests"
    assert verdicts.tested([passed]).reason == "TestsPassed"
    assert verdicts.tested([passed, skipped]) == Finding("Tested", "Unknown", "NotRun", "1 of 2 tests could not be run")
    finding = verdicts.tested([passed, failed, skipped])
    assert finding == Finding("Tested", "False", "TestsFailed", "spec.tests[1] (two): nothing came")
    assert len(verdicts.tested([TestResult("x" * 200, False, "y" * 2000, "p")] * 100).message) <= MAX_MESSAGE


# cache ---------------------------------------------------------------------------------------------------------------
def test_the_cache_forgets_what_other_code_judged(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "cache.db", "one")
    cache.put([("key", b"body")])
    cache.close()
    cache = ContentCache(tmp_path / "cache.db", "one")
    assert cache.get("key") == b"body"
    cache.close()
    cache = ContentCache(tmp_path / "cache.db", "two")
    assert cache.get("key") is None
    cache.close()


# places --------------------------------------------------------------------------------------------------------------
TEXT = """kind: ConfigMap
apiVersion: v1
metadata: {name: other}
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: r, namespace: shop}
spec:
  severity: low
  sigma: |
    title: x
    logsource: {category: test}
    detection: {sel: {a: b}, condition: sel}
"""


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("m", path="spec.sigma.detection", line=3), 13),
        (Problem("m", path="spec.sigma", line=1), 11),
        (Problem("m", path="spec.severity"), 9),
        (Problem("m", path="spec.nothing.like[3].it"), 8),
        (Problem("m"), 5),
    ],
)
def test_a_mistake_is_placed_in_its_file(tmp_path: Path, problem: Problem, line: int) -> None:
    (tmp_path / "rule.yaml").write_text(TEXT)
    item = Object(Key("AlertRule", "shop", "r"), {}, {}, 1, 1, "rule.yaml:5")
    assert locate(problem, item, tmp_path).line == line
    assert str(locate(problem, item, tmp_path)).startswith(f"rule.yaml:{line}, AlertRule shop/r")


@pytest.mark.parametrize("origin", ["", "gone.yaml:5", "other.yaml:5", "folder:5"])
def test_a_mistake_whose_file_is_gone_or_another_is_still_told(tmp_path: Path, origin: str) -> None:
    (tmp_path / "other.yaml").write_text("kind: Nothing")
    (tmp_path / "folder").mkdir()
    item = Object(Key("AlertRule", "shop", "r"), {}, {}, 1, 1, origin)
    told = str(locate(Problem("m", path="spec.sigma", line=3), item, tmp_path))
    assert "AlertRule shop/r" in told
    assert told.endswith("m (line 3 of the text)")


# figures -------------------------------------------------------------------------------------------------------------


@given(st.floats(min_value=0, max_value=1e12), st.integers(0, 10**15))
def test_figures_of_a_source_have_no_exponent_and_are_near(rate: float, lag: int) -> None:
    stats = Flow(rate=rate, lag=lag).stats()
    for told, figure in ((stats["eventsPerSecond"], rate), (stats["lagSeconds"], lag / 1000)):
        # What Kubernetes takes as a label's value, which the CRD asks for.
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", told)
        assert float(told) == pytest.approx(figure, rel=0.06, abs=1e-9)


@pytest.mark.parametrize(("rate", "told"), [(0, "0"), (0.0456, "0.046"), (99.6, "100"), (1234, "1200"), (12.0, "12")])
def test_figures_of_a_source_are_rounded_to_two_digits(rate: float, told: str) -> None:
    assert Flow(rate=rate).stats()["eventsPerSecond"] == told
