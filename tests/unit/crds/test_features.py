"""What a later version brings is valid, and said instead of ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from vedette_crds.features import LATER, not_yet_supported
from vedette_crds.kinds import KINDS
from vedette_crds.load import load_path

HEAD = {"apiVersion": "vedette.dev/v1alpha1", "metadata": {"name": "x", "namespace": "shop"}}
HTTP = {"http": {"tokenSecretRef": {"name": "t", "key": "token"}}}
SIGMA = "title: x\nlogsource: {product: linux}\ndetection: {a: {b: 1}, condition: a}\n"


def missing(kind: str, **spec: Any) -> list[str]:
    return [
        problem.path for problem in not_yet_supported(KINDS[kind].model_validate({**HEAD, "kind": kind, "spec": spec}))
    ]


def source(**spec: Any) -> list[str]:
    return missing("LogSource", **{"input": HTTP, "dataset": "a", **spec})


@pytest.mark.parametrize("form", ["json", "mozdef", "syslog", "text", "windowsEvent"])
def test_sources_that_work_are_not_named(form: str) -> None:
    assert source(format=form, parser="linux.auth", silence={"after": "5m"}, retention={"search": "7d"}) == []


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"input": {"sqs": {"queueUrl": "https://q.example/1"}}}, ["spec.input.sqs"]),
        ({"input": {"kubernetesAudit": HTTP["http"]}}, ["spec.input.kubernetesAudit"]),
        ({"format": "cef", "parser": "acme.firewall"}, ["spec.format", "spec.parser"]),
        ({"workers": {"mode": "dedicated"}}, ["spec.workers.mode"]),
        ({"input": {"amqp": {}}}, ["spec.input.amqp"]),
        ({"retention": {"archive": "400d"}}, ["spec.retention.archive"]),
    ],
)
def test_sources_that_ask_for_more_are_named_with_the_place(spec: dict[str, Any], paths: list[str]) -> None:
    assert source(**spec) == paths


@pytest.mark.parametrize("spec", [{"workers": {"mode": "dedicated"}}, {"input": {"amqp": {"exchange": "x"}}}])
def test_what_only_a_cluster_can_do_is_told_to_embedded_users_alone(spec: dict[str, Any]) -> None:
    manifest = {**HEAD, "kind": "LogSource", "spec": {"input": HTTP, "dataset": "a", **spec}}
    model = KINDS["LogSource"].model_validate(manifest)
    assert not_yet_supported(model, cluster=True) == []
    (problem,) = not_yet_supported(model)
    assert "embedded mode" in problem.message


def test_what_no_mode_can_do_is_told_in_a_cluster_too() -> None:
    manifest = {**HEAD, "kind": "LogSource", "spec": {"input": HTTP, "dataset": "a", "format": "cef"}}
    assert len(not_yet_supported(KINDS["LogSource"].model_validate(manifest), cluster=True)) == 1


@pytest.mark.parametrize("operation", [{"set": {"a": 1}}, {"rename": {"a": "b"}}, {"drop": ["a"]}])
def test_enrichments_that_work_are_not_named(operation: dict[str, Any]) -> None:
    assert missing("Enrichment", **operation) == []


def test_enrichments_that_come_later_are_named() -> None:
    assert missing("Enrichment", python={"code": "x"}) == ["spec.python"]


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"sigma": SIGMA, "incident": {"open": "never", "groupBy": ["a"], "within": "1h"}}, []),
        ({"sigma": SIGMA + "description: no correlation here\n"}, []),
        ({"sigma": SIGMA, "lateness": "5m", "suppress": {"for": "1h"}}, ["spec.lateness", "spec.suppress"]),
        ({"sigma": SIGMA, "incident": {"open": "auto", "groupBy": ["a"]}}, []),
        (
            {"sigma": SIGMA, "rollout": {}, "incident": {"open": "auto", "template": "t"}},
            ["spec.rollout", "spec.incident.template"],
        ),
        ({"sigma": f"{SIGMA}---\ntitle: y\ncorrelation: {{type: event_count}}\n"}, ["spec.sigma"]),
        ({"severity": "low", "absence": {"query": "*", "for": "1h"}}, ["spec.absence"]),
        ({"severity": "low", "search": {"query": "*", "condition": {"count": {"gte": 1, "gt": 1}}}}, []),
        (
            {
                "severity": "low",
                "search": {
                    "query": "*",
                    "condition": {"count": {"lt": 1, "lte": 0}, "distinct": {"field": "a", "gt": 1, "eq": 2, "neq": 3}},
                },
            },
            [
                "spec.search.condition.count.lt",
                "spec.search.condition.count.lte",
                "spec.search.condition.distinct.eq",
                "spec.search.condition.distinct.neq",
            ],
        ),
    ],
)
def test_rules_that_ask_for_more_are_named_with_the_place(spec: dict[str, Any], paths: list[str]) -> None:
    assert missing("AlertRule", **spec) == paths


def test_a_problem_names_the_object_and_what_works() -> None:
    model = KINDS["LogSource"].model_validate(
        {**HEAD, "kind": "LogSource", "spec": {"input": HTTP, "dataset": "a", "format": "cef"}}
    )
    (problem,) = not_yet_supported(model)
    assert problem.object == "LogSource shop/x"
    assert problem.hint == "what works now: json, mozdef, syslog, text, windowsEvent"


@pytest.mark.parametrize("later", LATER, ids=lambda later: later.path)
def test_the_table_names_fields_that_are_there(later: Any) -> None:
    model: Any = KINDS[later.kind]
    for step in later.path.split("."):
        annotation = model.model_fields[step].annotation
        model = next((part for part in getattr(annotation, "__args__", ()) if part is not type(None)), annotation)
    choices = get_args(model) if get_origin(model) is Literal else later.works
    assert later.works <= set(choices)


def test_the_examples_hold_objects_that_work_and_objects_that_wait() -> None:
    documents = load_path(Path(__file__).parents[3] / "examples" / "api.yaml").documents
    waiting = {one.name for one in documents if one.model is not None and not_yet_supported(one.model)}
    assert waiting == {"guessed-password", "quiet-servers", "far-travel"}
