"""What the models themselves promise: rules across fields, defaults, names in Python and in manifests."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vedette_crds.alertrule import AlertRuleSpec
from vedette_crds.enrichment import EnrichmentSpec
from vedette_crds.incident import IncidentSpec
from vedette_crds.kinds import KINDS
from vedette_crds.load import validate
from vedette_crds.logsource import LogSourceSpec
from vedette_crds.model import Model

HTTP = {"http": {"tokenSecretRef": {"name": "t", "key": "token"}}}
SOURCE: dict[str, Any] = {"input": HTTP, "dataset": "a"}
SIGMA = "title: x\nlogsource: {product: linux}\ndetection: {a: {b: 1}, condition: a}\n"
ENTRY: dict[str, Any] = {"event": {"a": 1}}


def complaints(model: type[Model], data: dict[str, Any]) -> list[tuple[str, str]]:
    _, problems = validate(data, model)
    return [(problem.path, problem.message) for problem in problems]


def with_step(**step: Any) -> dict[str, Any]:
    return {**SOURCE, "mapping": [{name.rstrip("_"): value for name, value in step.items()}]}


def with_test(*timeline: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"sigma": SIGMA, "tests": [{"name": "t", "timeline": list(timeline), "expect": {"alerts": 1}, **more}]}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (LogSourceSpec, SOURCE),
        (LogSourceSpec, with_step(from_="a", to="b", convert={"lowercase": {}})),
        (LogSourceSpec, with_step(set="a", value=[1, 2], when={"equals": {"b": 1}})),
        (LogSourceSpec, {**SOURCE, "tests": [{"name": "t", "input": {"a": 1}, "absent": ["b"]}]}),
        (EnrichmentSpec, {"drop": ["a"]}),
        (EnrichmentSpec, {"rename": {"a": "b"}, "tests": [{"input": {}}, {"input": {}}]}),
        (
            EnrichmentSpec,
            {"lookup": {"keyField": "a", "keyColumn": "k", "table": {"rows": [{"k": "v"}]}, "set": {"b": "k"}}},
        ),
        (AlertRuleSpec, {"sigma": SIGMA}),
        (AlertRuleSpec, {"sigma": f"{SIGMA}---\n{SIGMA}"}),
        (AlertRuleSpec, with_test({"repeat": {"count": 9_999}, **ENTRY}, ENTRY)),
        (IncidentSpec, {"title": "x", "phase": "Closed", "disposition": "benign"}),
        (IncidentSpec, {"title": "x", "disposition": "duplicate", "duplicateOf": "inc-1"}),
    ],
)
def test_what_belongs_together_is_accepted(model: type[Model], data: dict[str, Any]) -> None:
    assert complaints(model, data) == []


@pytest.mark.parametrize(
    ("model", "data", "path", "message"),
    [
        (LogSourceSpec, {**SOURCE, "input": {}}, "input", "exactly one of http, amqp"),
        (LogSourceSpec, {**SOURCE, "input": {**HTTP, "otlp": HTTP["http"]}}, "input", "not http and otlp"),
        (LogSourceSpec, {**SOURCE, "logsource": {}}, "logsource", "at least one of product"),
        (LogSourceSpec, {**SOURCE, "workers": {"minReplicas": 9}}, "workers", "minReplicas 9 exceeds maxReplicas 4"),
        (LogSourceSpec, with_step(from_="a"), "mapping[0]", "from and to belong together"),
        (LogSourceSpec, with_step(set="a"), "mapping[0]", "set and value belong together"),
        (LogSourceSpec, with_step(set="a", value=1, from_="a", to="b"), "mapping[0]", "exactly one of from, set"),
        (LogSourceSpec, with_step(set="a", value=1, convert={"ip": {}}), "mapping[0].convert", "belongs to from"),
        (LogSourceSpec, with_step(from_="a", to="b", convert={}), "mapping[0].convert", "exactly one of string"),
        (LogSourceSpec, with_step(set="a", value=1, when={"has": "a", "lacks": "b"}), "mapping[0].when", "exactly one"),
        (LogSourceSpec, {**SOURCE, "tests": [{"name": "t", "input": ""}] * 2}, "tests[1].name", "taken by tests[0]"),
        (EnrichmentSpec, {}, "", "exactly one of geoip"),
        (EnrichmentSpec, {"drop": ["a"], "set": {"a": 1}}, "", "not set and drop"),
        (EnrichmentSpec, {"set": {}}, "set", "at least 1 entries"),
        (
            EnrichmentSpec,
            {"lookup": {"keyField": "a", "table": {"rows": [{}]}, "set": {"b": "k"}}},
            "lookup",
            "keyColumn",
        ),
        (
            EnrichmentSpec,
            {"geoip": {"sourceField": "a", "targetField": "b", "database": {}}},
            "geoip.database",
            "exactly one",
        ),
        (AlertRuleSpec, {}, "", "exactly one of sigma"),
        (AlertRuleSpec, {"absence": {"query": "*", "for": "1h"}}, "", "severity is needed"),
        (
            AlertRuleSpec,
            {"sigma": SIGMA, "tests": with_test(ENTRY)["tests"] * 2},
            "tests[1].name",
            "is taken by tests[0]",
        ),
        (AlertRuleSpec, with_test({"repeat": {"count": 10_000}, **ENTRY}, ENTRY), "tests[0].timeline", "10,001 events"),
        (AlertRuleSpec, {"sigma": "- 1\n"}, "sigma", "must be a mapping"),
        (AlertRuleSpec, {"sigma": "# nothing\n"}, "sigma", "there is no Sigma document"),
        (AlertRuleSpec, {"sigma": "a: 1\n---\n" * 101}, "sigma", "there are 101 Sigma documents"),
        (AlertRuleSpec, {"sigma": "[" * 100_000}, "sigma", "nested more than 60 deep"),
        (IncidentSpec, {"title": "x", "phase": "Closed"}, "disposition", "needs a disposition"),
        (IncidentSpec, {"title": "x", "duplicateOf": "y"}, "duplicateOf", "belongs to the disposition"),
    ],
)
def test_what_does_not_belong_together_is_told(
    model: type[Model], data: dict[str, Any], path: str, message: str
) -> None:
    ((found_path, found_message),) = complaints(model, data)
    assert found_path == path
    assert message in found_message


@pytest.mark.parametrize("junk", [5, "x", [], [5], {"a": 5}, None, True])
@pytest.mark.parametrize("field", ["tests", "timeline", "sigma", "workers", "table", "repeat"])
def test_rules_across_fields_survive_any_json(field: str, junk: Any) -> None:
    for model in (LogSourceSpec, EnrichmentSpec, AlertRuleSpec, IncidentSpec):
        assert complaints(model, {field: junk})
        assert complaints(model, {"tests": [{field: junk}], "lookup": {field: junk}})


def test_mistakes_in_inner_objects_and_across_outer_fields_come_together() -> None:
    data = {"search": {"query": 5}, "sigma": "- 1\n", "incident": {"open": None}}
    assert {path for path, _ in complaints(AlertRuleSpec, data)} == {
        "",
        "sigma",
        "search.query",
        "search.condition",
        "incident.open",
    }


def test_a_model_alone_refuses_what_the_loader_refuses() -> None:
    with pytest.raises(ValidationError, match="exactly one of sigma"):
        AlertRuleSpec.model_validate({"severity": "low"})


def test_defaults_are_filled_in() -> None:
    spec = LogSourceSpec.model_validate(SOURCE)
    assert (spec.format, spec.retention.search, spec.workers.mode, spec.deletion_policy) == (
        "json",
        "30d",
        "shared",
        "Retain",
    )
    assert (spec.limits.events_per_second, spec.limits.max_event_bytes) == (5_000, 262_144)
    assert spec.logsource is None


def test_words_of_python_have_an_underscore_in_python_only() -> None:
    spec = LogSourceSpec.model_validate(with_step(from_="a", to="b"))
    assert spec.mapping[0].from_ == "a"
    assert spec.model_dump(exclude_none=True)["mapping"] == [{"from": "a", "to": "b"}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_is_called(kind: str) -> None:
    model = KINDS[kind]
    assert (kind, "vedette.dev", "v1alpha1") == (model.KIND, model.GROUP, model.VERSION)
    assert model.PLURAL == f"{model.SINGULAR}s" == f"{kind.lower()}s"


def test_a_manifest_made_from_a_model_is_valid_again() -> None:
    manifest = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "LogSource",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {**with_step(set="a", value=1), "tests": [{"name": "t", "input": {"a": [1]}, "expect": {"a.b": 1}}]},
    }
    model = KINDS["LogSource"].model_validate(manifest)
    again = KINDS["LogSource"].model_validate(model.manifest())
    assert again == model
    assert (again.name, again.namespace) == ("x", "shop")


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "x" * 41, "ä", "a\n", "../x", "a b"])
def test_names_are_dns_labels_of_at_most_forty_characters(name: str) -> None:
    manifest = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name},
        "spec": {"title": "x"},
    }
    assert [path for path, _ in complaints(KINDS["Incident"], manifest)] == ["metadata.name"]
