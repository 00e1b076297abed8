"""The generated definitions on a real API server: taken as they are, and of one mind with the pydantic models."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError
from tests.contract.cluster.definitions import (
    DEFINITIONS,
    HTTP,
    PVC,
    RULES,
    SEARCH,
    SET,
    SIGMA,
    SOURCE,
    TABLE,
    Send,
    lookup,
    manifest,
    mapping,
    path,
    search,
)
from tests.servers.apiserver import ApiServer, RequestError

from vedette_crds.kinds import KINDS
from vedette_crds.model import FAULT
from vedette_crds.resource import API_VERSION

# rules across fields -------------------------------------------------------------------------------------------------
#: Where a rule of CEL stands and what it says → a spec that breaks it, and nothing else.
BROKEN: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("LogSource.spec.input", "exactly one of http, amqp"): [
        {**SOURCE, "input": {}},
        {**SOURCE, "input": {**HTTP, "amqp": {}}},
    ],
    ("LogSource.spec.input.file", "exactly one of pvc, path"): [
        {**SOURCE, "input": {"file": {}}},
        {**SOURCE, "input": {"file": {**PVC, "path": "/a"}}},
    ],
    ("LogSource.spec.mapping[]", "from and to belong together"): [mapping(from_="a")],
    ("LogSource.spec.mapping[]", "convert belongs to from and to"): [mapping(set="a", value=1, convert={"ip": {}})],
    ("LogSource.spec.mapping[]", "exactly one of from, set"): [mapping(set="a", value=1, from_="a", to="b")],
    ("LogSource.spec.mapping[].convert", "exactly one of string"): [
        mapping(from_="a", to="b", convert={}),
        mapping(from_="a", to="b", convert={"ip": {}, "string": {}}),
    ],
    ("LogSource.spec.mapping[].when", "exactly one of has"): [
        mapping(set="a", value=1, when={"has": "a", "lacks": "b"})
    ],
    ("LogSource.spec.logsource", "at least one of product"): [{**SOURCE, "logsource": {}}],
    ("LogSource.spec.workers", "minReplicas"): [
        {**SOURCE, "workers": {"minReplicas": 9}},
        {**SOURCE, "workers": {"minReplicas": 3, "maxReplicas": 2}},
    ],
    ("Enrichment.spec", "exactly one of geoip"): [{}, {"drop": ["a"], "set": {"a": 1}}],
    ("Enrichment.spec.geoip.database", "exactly one of pvc"): [
        {"geoip": {"sourceField": "a", "targetField": "b", "database": {}}}
    ],
    ("Enrichment.spec.lookup", "needs keyColumn"): [lookup(table=TABLE)],
    ("Enrichment.spec.lookup.table", "exactly one of configMap"): [
        lookup(table={}),
        lookup(table={**PVC, "file": "f"}),
    ],
    ("Enrichment.spec.cidr.table", "exactly one of configMap"): [
        {"cidr": {"sourceField": "a", "table": {}, "set": SET}}
    ],
    ("Enrichment.spec.indicators.feed", "exactly one of url"): [{"indicators": {"fields": ["a"], "feed": {}}}],
    ("AlertRule.spec", "severity is needed"): [{"search": SEARCH}],
    ("AlertRule.spec", "exactly one of sigma"): [
        {"severity": "low"},
        {"sigma": SIGMA, "search": SEARCH, "severity": "low"},
    ],
    ("AlertRule.spec.search.condition", "at least one of count"): [search()],
    ("AlertRule.spec.search.condition.count", "at least one of gt"): [search(count={})],
    ("AlertRule.spec.search.condition.distinct", "at least one of gt"): [search(distinct={"field": "a"})],
    ("Incident.spec", "needs a disposition"): [{"title": "x", "phase": "Closed"}],
    ("Incident.spec", "duplicateOf belongs"): [{"title": "x", "duplicateOf": "y"}],
}
#: Rules about a change, which a single object cannot break.
OF_CHANGES = {("Incident.spec", "opened is fixed once it is set")}


def test_every_rule_is_tried_below() -> None:
    tried = {rule for rule in RULES if any(rule[0] == where and said in rule[1] for where, said in BROKEN)}
    assert tried | OF_CHANGES == RULES


@pytest.mark.parametrize(
    ("where", "message", "spec"),
    [
        pytest.param(*rule, spec, id=f"{rule[0]}: {rule[1]} {n}")
        for rule, all_ in BROKEN.items()
        for n, spec in enumerate(all_)
    ],
)
def test_what_a_rule_forbids_is_refused_by_both_in_the_same_words(
    send: Send, where: str, message: str, spec: dict[str, Any]
) -> None:
    kind = where.partition(".")[0]
    with pytest.raises(RequestError) as refused:
        send(kind, spec)
    assert refused.value.code == 422
    with pytest.raises(ValidationError) as by_model:
        KINDS[kind].model_validate(manifest(kind, spec))
    # The model may say more: which two there were, which numbers.
    wording = next(text for place, text in RULES if place == where and message in text)
    assert wording in refused.value.message
    first_word = message.partition(" ")[0]
    assert any(fault["type"] == FAULT and first_word in fault["msg"] for fault in by_model.value.errors())


def test_when_an_incident_was_opened_is_fixed_once_it_is_set(server: ApiServer, namespace: str) -> None:
    where = path("Incident", namespace, "x")
    server.apply(where, manifest("Incident", {"title": "x"}))
    opened = {"title": "x", "opened": "2026-11-22T10:00:00Z"}
    server.apply(where, manifest("Incident", opened))
    server.apply(where, manifest("Incident", {**opened, "title": "y"}))
    for changed in ({"title": "x"}, {"title": "x", "opened": "2026-11-22T10:00:01Z"}):
        with pytest.raises(RequestError, match="opened is fixed once it is set"):
            server.apply(where, manifest("Incident", changed))


# schemas -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("LogSource", {**SOURCE, "format": "xml"}, "spec.format"),
        ("LogSource", {**SOURCE, "retention": {"search": "8d"}}, "spec.retention.search"),
        ("LogSource", {**SOURCE, "limits": {"burst": 10_000_001}}, "spec.limits.burst"),
        ("LogSource", {**SOURCE, "limits": {"burst": "5"}}, "spec.limits.burst"),
        ("LogSource", {**SOURCE, "dataset": "A b"}, "spec.dataset"),
        ("LogSource", {**SOURCE, "silence": {"after": "soon"}}, "spec.silence.after"),
        ("LogSource", {**SOURCE, "mapping": [{"set": "a", "value": 1}] * 201}, "spec.mapping"),
        ("LogSource", {**SOURCE, "description": "x" * 4097}, "spec.description"),
        ("LogSource", {"input": HTTP}, "spec.dataset"),
        ("LogSource", {**SOURCE, "tests": [{"name": "t", "input": "a"}] * 2}, "Duplicate"),
        ("LogSource", {**SOURCE, "Format": "json"}, "unknown field"),
        ("Enrichment", {"set": {}}, "spec.set"),
        ("Enrichment", {"drop": ["a b"]}, "spec.drop"),
        ("Enrichment", {"drop": ["a"], "order": 10_001}, "spec.order"),
        ("AlertRule", {"sigma": ""}, "spec.sigma"),
        ("AlertRule", {"sigma": "x" * 262_145}, "spec.sigma"),
        ("AlertRule", {"sigma": SIGMA, "severity": "bad"}, "spec.severity"),
        ("AlertRule", {"sigma": SIGMA, "tests": [{"name": "t", "timeline": [], "expect": {"alerts": 1}}]}, "timeline"),
        ("AlertRule", {"sigma": SIGMA, "runbook": "ftp://x"}, "spec.runbook"),
        ("Incident", {"title": "x", "phase": "Lunch"}, "spec.phase"),
        ("Incident", {"title": "x", "opened": "yesterday"}, "spec.opened"),
        ("Incident", {"title": 5}, "spec.title"),
        ("Incident", {}, "spec.title"),
    ],
)
def test_what_the_schema_forbids_is_refused_by_both(send: Send, kind: str, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        send(kind, spec)
    with pytest.raises(ValidationError):
        KINDS[kind].model_validate(manifest(kind, spec))


@pytest.mark.parametrize("name", ["a.b", "x" * 41])
def test_a_name_is_a_label_of_at_most_forty_characters(send: Send, name: str) -> None:
    with pytest.raises(RequestError, match=r"metadata\.name"):
        send("Incident", {"title": "x"}, name)


def without_empty(value: Any) -> Any:
    """Without empty lists and maps: those are no defaults of the schema, a server-side apply would own them."""
    if isinstance(value, dict):
        inner = {name: without_empty(part) for name, part in value.items()}
        return {name: part for name, part in inner.items() if part not in ([], {})}
    return [without_empty(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("LogSource", SOURCE),
        ("LogSource", {"dataset": "a", "input": {"amqp": {}}}),
        ("LogSource", mapping(from_="a", to="b", convert={"number": {}})),
        ("Enrichment", {"drop": ["a"]}),
        ("Enrichment", lookup(table=TABLE, keyColumn="k")),
        ("AlertRule", {"sigma": SIGMA}),
        ("AlertRule", {"severity": "low", "search": SEARCH, "rollout": {"backtest": {}}}),
        ("Incident", {"title": "x"}),
    ],
)
def test_defaults_are_filled_in_as_the_models_fill_them_in(send: Send, kind: str, spec: dict[str, Any]) -> None:
    by_model = KINDS[kind].model_validate(manifest(kind, spec)).manifest()["spec"]
    assert without_empty(send(kind, spec)["spec"]) == without_empty(by_model)


def test_the_largest_objects_are_within_what_rules_may_cost(send: Send) -> None:
    step = {"from": "a", "to": "b", "convert": {"split": {}}, "when": {"equals": {f"f{n}": n for n in range(50)}}}
    tests = [{"name": f"t{n}", "input": {"a": "x" * 500}, "expect": {"b": n}} for n in range(100)]
    send("LogSource", {**SOURCE, "mapping": [step] * 200, "tests": tests})
    timeline = [{"event": {"process.command_line": "x" * 10}, "logsource": {"product": "linux"}}] * 20
    cases = [{"name": f"t{n}", "timeline": timeline, "expect": {"alerts": 1}} for n in range(100)]
    send("AlertRule", {"sigma": SIGMA + "# " + "x" * 200_000, "tests": cases})
    rows = [{f"c{column}": "x" * 20 for column in range(10)} for _ in range(1000)]
    send("Enrichment", lookup(table={"rows": rows}, keyColumn="c0"))


def test_a_dry_run_answers_and_keeps_nothing(send: Send, server: ApiServer, namespace: str) -> None:
    assert send("Incident", {"title": "x"})["spec"]["severity"] == "medium"
    with pytest.raises(RequestError, match="not found"):
        server.request("GET", path("Incident", namespace, "x"))


# what kubectl shows --------------------------------------------------------------------------------------------------
def test_kinds_have_short_names_a_category_and_a_status(server: ApiServer) -> None:
    served = {one["name"]: one for one in server.request("GET", f"/apis/{API_VERSION}")["resources"]}
    for model in KINDS.values():
        one = served[model.PLURAL]
        assert (one["kind"], one["singularName"], one["namespaced"]) == (model.KIND, model.SINGULAR, True)
        assert (tuple(one["shortNames"]), one["categories"]) == (model.SHORT_NAMES, ["siem"])
        assert {"get", "patch", "update"} == set(served[f"{model.PLURAL}/status"]["verbs"])


def test_definitions_are_taken_without_reserve(server: ApiServer) -> None:
    for made in DEFINITIONS.values():
        name = made["metadata"]["name"]
        found = server.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        assert conditions["NamesAccepted"] == conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "TestsFailed",
            "message": "1 of 2 tests fails",
            "lastTransitionTime": "2026-11-22T10:00:00Z",
        }
    ],
}


def test_columns_show_spec_and_status(server: ApiServer, namespace: str) -> None:
    server.apply(path("AlertRule", namespace, "x"), manifest("AlertRule", {"sigma": SIGMA, "severity": "low"}))
    body = {**manifest("AlertRule", {}), "status": {**STATUS, "stats": {"alerts": 7}}}
    del body["spec"]
    server.apply(path("AlertRule", namespace, "x", "status"), body, manager="operator")
    table = server.table(path("AlertRule", namespace))
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names == ["Name", *(column.name for column in KINDS["AlertRule"].PRINTER_COLUMNS)]
    row = dict(zip(names, table["rows"][0]["cells"], strict=True))
    wanted = {"Name": "x", "Ready": "False", "Reason": "TestsFailed", "Severity": "low", "Alerts": 7}
    assert wanted.items() <= row.items()


def test_status_is_written_by_itself_and_checked(server: ApiServer, namespace: str) -> None:
    where = path("Incident", namespace, "x")
    made = server.apply(where, {**manifest("Incident", {"title": "x"}), "status": {"alerts": 5}})
    assert "status" not in made
    body = {"apiVersion": API_VERSION, "kind": "Incident", "metadata": {"name": "x"}}
    told = server.apply(f"{where}/status", {**body, "spec": {"title": "y"}, "status": {**STATUS, "alerts": 3}})
    assert (told["spec"]["title"], told["status"]["alerts"], told["metadata"]["generation"]) == ("x", 3, 1)
    KINDS["Incident"].model_validate(told)
    bad = {**STATUS, "conditions": [{**STATUS["conditions"][0], "status": "Maybe"}]}  # type: ignore[index] # a list
    with pytest.raises(RequestError, match=r"status\.conditions"):
        server.apply(f"{where}/status", {**body, "status": bad})
