"""What is answered without a judge, and what answers look like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.problems import Problem
from vedette_operator.admission import review
from vedette_operator.admission.review import Answer, NoReviewError

RULE = {
    "apiVersion": "vedette.dev/v1alpha1",
    "kind": "AlertRule",
    "metadata": {"name": "ssh", "namespace": "shop"},
    "spec": {"sigma": "title: x"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def question(operation: str, new: Any, old: Any = None, **request: Any) -> review.Review:
    kind = (new or old)["kind"]
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": "vedette.dev", "version": "v1alpha1", "kind": kind},
            "operation": operation,
            "object": new,
            "oldObject": old,
            **request,
        },
    }
    return review.read(json.dumps(body).encode())


def with_(**change: Any) -> dict[str, Any]:
    return {**RULE, **change}


@pytest.mark.parametrize(
    "asked",
    [
        question("DELETE", None, RULE),
        question("CONNECT", RULE),
        question("UPDATE", RULE, with_(spec={}), subResource="status"),
        question("UPDATE", with_(metadata={"name": "ssh", "labels": {"a": "b"}}), RULE),
        question("UPDATE", with_(status={"observedGeneration": 1}), RULE),
        question(
            "UPDATE", with_(spec={"broken": 1}, metadata={"name": "ssh", "deletionTimestamp": "2026-01-01"}), RULE
        ),
    ],
    ids=["delete", "connect", "status", "metadata", "status in the object", "being deleted"],
)
def test_what_cannot_put_a_spec_into_force_is_allowed_at_once(asked: review.Review) -> None:
    assert review.settled(asked) == Answer(True, "passed")


def test_a_changed_spec_is_judged_even_where_python_calls_it_equal() -> None:
    old, new = with_(spec={"rollout": 1}), with_(spec={"rollout": True})
    assert review.settled(question("UPDATE", new, old)) is None
    assert review.settled(question("CREATE", new)) is None


def test_an_unknown_kind_is_allowed_with_a_warning() -> None:
    answer = review.settled(question("CREATE", with_(kind="RulePack")))
    assert answer is not None
    assert answer.allowed
    assert "RulePack" in answer.warnings[0]


def test_a_rule_that_is_too_large_is_refused_with_its_size_and_what_to_do() -> None:
    answer = review.settled(question("CREATE", with_(spec={"sigma": "x" * 262_144})))
    assert answer is not None
    assert not answer.allowed
    assert answer.message.startswith("AlertRule shop/ssh: spec: the spec has 262,156 bytes, at most 262,144")
    assert "make several rules" in answer.message


def test_a_source_may_be_larger_than_a_rule() -> None:
    assert review.settled(question("CREATE", with_(kind="LogSource", spec={"x": "x" * 262_144}))) is None


def test_a_refusal_names_object_path_line_and_hint() -> None:
    problem = Problem("unknown modifier", path="spec.sigma.[1].detection.sel", hint="did you mean re?", line=12)
    answer = review.refusal(question("CREATE", RULE), [problem])
    assert answer.message == (
        "AlertRule shop/ssh: spec.sigma[1].detection.sel, line 12 of the Sigma text: "
        "unknown modifier (did you mean re?)"
    )


def test_a_refusal_lists_every_problem_and_counts_what_does_not_fit() -> None:
    few = review.refusal(question("CREATE", RULE), [Problem("one"), Problem("two", path="spec.x")])
    assert few.message == "AlertRule shop/ssh has 2 mistakes:\n* one\n* spec.x: two"
    many = review.refusal(question("CREATE", RULE), [Problem("m" * 5000, path=f"spec[{n}]") for n in range(200)])
    assert len(many.message) <= review.MAX_MESSAGE
    shown = many.message.count("\n* spec[")
    assert many.message.endswith(f"\n* and {200 - shown} more")


@given(st.lists(st.builds(Problem, st.text(max_size=3000), path=st.text(max_size=50)), min_size=1, max_size=40))
def test_a_refusal_is_always_bounded_and_can_be_sent(problems: list[Problem]) -> None:
    answer = review.refusal(question("CREATE", RULE), problems)
    assert len(answer.message) <= review.MAX_MESSAGE
    told = json.loads(review.write("u", answer))["response"]
    assert told["allowed"] is False
    assert told["status"]["message"] == answer.message


@given(st.lists(st.text(max_size=400), max_size=30))
def test_warnings_are_as_long_and_as_many_as_an_api_server_passes_on(warnings: list[str]) -> None:
    told = json.loads(review.write("u", Answer(True, "accepted", warnings=warnings)))["response"]
    assert len(told.get("warnings", [])) == min(len(warnings), review.MAX_WARNINGS)
    assert all(len(text) <= review.MAX_WARNING for text in told.get("warnings", []))


@given(JSON)
def test_any_other_json_is_no_review(body: Any) -> None:
    with pytest.raises(NoReviewError):
        review.read(json.dumps(body).encode())


@given(JSON, JSON, st.sampled_from(["CREATE", "UPDATE", "DELETE"]))
def test_a_review_of_any_json_is_read_and_settled_or_judged(new: Any, old: Any, operation: str) -> None:
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u", "kind": {"group": "vedette.dev", "kind": "AlertRule"}, "operation": operation}
        | {"object": new, "oldObject": old},
    }
    answer = review.settled(review.read(json.dumps(body).encode()))
    assert answer is None or answer.allowed
