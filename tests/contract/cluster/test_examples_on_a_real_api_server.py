"""The examples on a real API server: they can be applied, and what a change makes of them both judge alike."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.contract.cluster.definitions import (
    BUILT_IN,
    EXAMPLES,
    OURS,
    RULES,
    path,
)
from tests.servers.apiserver import ApiServer, RequestError

from vedette_crds.kinds import KINDS
from vedette_crds.load import Document, load_path
from vedette_crds.model import FAULT
from vedette_crds.resource import Resource


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
