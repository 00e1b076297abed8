"""The generated definitions on a real API server: taken as they are, and of one mind with the pydantic models."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.servers.apiserver import ApiServer, RequestError

from vedette_crds import generate
from vedette_crds.kinds import KINDS
from vedette_crds.load import Document, load_path
from vedette_crds.model import FAULT
from vedette_crds.resource import API_VERSION, Resource

ROOT = Path(__file__).parents[3]
EXAMPLES = [
    *load_path(ROOT / "examples" / "api.yaml").documents,
    *load_path(ROOT / "examples" / "quickstart").documents,
]
OURS = [document for document in EXAMPLES if document.model is not None]
DEFINITIONS = {kind: generate.definition(model) for kind, model in KINDS.items()}
BUILT_IN = {"Secret": "secrets", "ConfigMap": "configmaps"}

SIGMA = "title: x\nlogsource: {product: linux}\ndetection: {a: {b: 1}, condition: a}\n"
HTTP = {"http": {"tokenSecretRef": {"name": "t", "key": "token"}}}
SOURCE: dict[str, Any] = {"input": HTTP, "dataset": "a"}
TABLE = {"rows": [{"k": "v"}]}
PVC = {"pvc": {"claimName": "c", "path": "p"}}
SET = {"b": "k"}
SEARCH = {"query": "*", "condition": {"count": {"gte": 1}}}

Send = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> ApiServer:
    """The session's API server with our definitions, read from the files that people apply."""
    api_server.definitions(*DEFINITIONS.values())
    return api_server


@pytest.fixture
def send(server: ApiServer, namespace: str) -> Send:
    """Creates an object of a kind, with a spec; `query` as `dryRun=All`."""

    def create(kind: str, spec: Any, name: str = "x", query: str = "dryRun=All") -> dict[str, Any]:
        found: dict[str, Any] = server.request(
            "POST", f"{path(kind, namespace)}?fieldValidation=Strict&{query}", manifest(kind, spec, name)
        )
        return found

    return create


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    if kind in BUILT_IN:
        return f"/api/v1/namespaces/{namespace}/{BUILT_IN[kind]}/{name}"
    parts = [f"/apis/{API_VERSION}/namespaces/{namespace}/{KINDS[kind].PLURAL}", name, subresource]
    return "/".join(part for part in parts if part)


def manifest(kind: str, spec: Any, name: str = "x") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def mapping(**step: Any) -> dict[str, Any]:
    return {**SOURCE, "mapping": [{name.rstrip("_"): value for name, value in step.items()}]}


def lookup(**parts: Any) -> dict[str, Any]:
    return {"lookup": {"keyField": "a", "set": SET, **parts}}


def search(**condition: Any) -> dict[str, Any]:
    return {"severity": "low", "search": {"query": "*", "condition": condition}}


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


def rules(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield where, rule["message"]
    for name, inner in schema.get("properties", {}).items():
        yield from rules(inner, f"{where}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from rules(schema[key], f"{where}[]")


RULES = {
    rule
    for kind, made in DEFINITIONS.items()
    for rule in rules(made["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind)
}


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


# examples ------------------------------------------------------------------------------------------------------------
def applied(server: ApiServer, namespace: str, document: Document) -> dict[str, Any]:
    body = copy.deepcopy(document.manifest)
    body["metadata"]["namespace"] = namespace
    server.apply(path(document.kind, namespace, document.name), body)
    found: dict[str, Any] = server.request("GET", path(document.kind, namespace, document.name))
    return found


def same(model: Resource, found: dict[str, Any]) -> None:
    """What came back says what was sent, read by the model as the program reads it."""
    again = KINDS[model.KIND].model_validate(found)
    assert again.manifest()["spec"] == model.manifest()["spec"]


def test_the_examples_can_be_applied_and_come_back_as_they_were(server: ApiServer, namespace: str) -> None:
    assert {document.kind for document in EXAMPLES} == {*KINDS, *BUILT_IN}
    for document in EXAMPLES:
        found = applied(server, namespace, document)
        if document.model is not None:
            same(document.model, found)


def test_the_shared_examples_can_be_applied_and_come_back_as_they_were(
    server: ApiServer, namespace: str, shared_data: Path
) -> None:
    documents = load_path(shared_data.parent / "api-examples.yaml").documents
    assert {document.kind for document in documents} == set(KINDS)
    for document in documents:
        assert document.model is not None
        same(document.model, applied(server, namespace, document))


def test_applying_an_example_again_changes_nothing(server: ApiServer, namespace: str) -> None:
    for document in OURS:
        first = applied(server, namespace, document)["metadata"]["resourceVersion"]
        assert applied(server, namespace, document)["metadata"]["resourceVersion"] == first


Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in inner:
        yield from places(part, (*here, step))


def twists(value: Any) -> list[Any]:
    """Values that could be taken for this one, and some beyond its bounds; not null, which the server passes over."""
    common: list[Any] = ["", "a b", "x" * 5000, 5, -1, 2**53 + 1, 0.5, True, [], {}, ["a"], {"a": 1}, [value]]
    match value:
        case str():
            return [*common, value + "x", value.upper(), value[:-1], value + " "]
        case dict():
            return [*common, {**value, "extra": 1}, dict(list(value.items())[1:]), dict(list(value.items())[:-1])]
        case list():
            return [*common, value * 101, value[:-1], [*value, 5]]
        case _:
            return common


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """An example with something in its spec changed."""
    made = copy.deepcopy(draw(st.sampled_from(OURS)).manifest)
    chosen = draw(st.sampled_from([place for place in places(made["spec"]) if place]))
    parent: Any = made["spec"]
    for step in chosen[:-1]:
        parent = parent[step]
    if draw(st.booleans()):
        parent[chosen[-1]] = draw(st.sampled_from(twists(parent[chosen[-1]])))
    else:
        del parent[chosen[-1]]
    return made


def verdict_of_model(made: dict[str, Any]) -> bool | None:
    """Whether the model takes it; None when it refuses it for what no schema and no rule of CEL can say."""
    try:
        KINDS[made["kind"]].model_validate(made)
    except ValidationError as error:
        told = [
            one
            for one in error.errors()
            if one["loc"][-1:] != ("[key]",)
            and (one["type"] != FAULT or any(text.split(" is needed")[0] in one["msg"] for _, text in RULES))
        ]
        return False if told else None
    return True


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=changed())
def test_a_changed_example_is_judged_the_same_by_both(server: ApiServer, namespace: str, made: dict[str, Any]) -> None:
    by_model = verdict_of_model(made)
    made["metadata"]["namespace"] = namespace
    refused = refusal(server, f"{path(made['kind'], namespace)}?dryRun=All&fieldValidation=Strict", made)
    assert by_model in {None, refused is None}, refused or "only the model refuses"


def refusal(server: ApiServer, where: str, made: dict[str, Any]) -> str | None:
    """Why the server does not take an object."""
    try:
        server.request("POST", where, made)
    except RequestError as error:
        if error.code not in {400, 422}:
            raise
        return error.message
    return None


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
