"""pydantic and the generated schema are two readings of one model: they accept and refuse the same manifests.

Left out is what a structural schema cannot say: rules across fields (in a cluster, CEL and the webhook check those) and
rules for the names in free maps. Numbers like 5.0 do not occur: reading a manifest makes integers of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vedette_crds import common, duration
from vedette_crds.kinds import KINDS
from vedette_crds.load import load_path
from vedette_crds.model import FAULT
from vedette_crds.resource import Resource
from vedette_crds.structural import Schema, structural

EXAMPLES = Path(__file__).parents[3] / "examples" / "api.yaml"
Place = tuple[str | int, ...]

#: Values on which strictness, bounds and patterns differ most.
AWKWARD: list[Any] = [
    *("", "5", "5m", "-1s", "1h30m", "high", "json", "a b", "a.b", "x" * 41, "x" * 300, "x" * 5000, "A", "a\n", "yes"),
    *("2026-11-22T10:00:00Z", "2026-13-22T10:00:00Z", "https://x.example", "ftp://x", "/abs", "../up", "Europe/Berlin"),
    *(0, 1, -1, 101, 1_000_000, 2**53, 2**53 + 1, 1.5, -0.5, 1e20 + 0.5, True, False, None),
    *([], {}, ["a"], [5], [None], {"a": 1}, {"a": None}, {"name": "x"}, [{"name": "x"}], ["a"] * 101),
]


def closed(schema: Schema) -> Schema:
    """The schema as the API server reads it: unknown fields and null refused, `$` the end of the text."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: closed(field) for name, field in made["properties"].items()}
        made["additionalProperties"] = False
    elif isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = closed(made["additionalProperties"])
    if "items" in made:
        made["items"] = closed(made["items"])
    if "pattern" in made:
        made["pattern"] = made["pattern"].replace("$", r"\Z")
    if "type" not in made:
        made["not"] = {"type": "null"}
    return made


SCHEMAS = {kind: structural(model) for kind, model in KINDS.items()}
VALIDATORS = {kind: jsonschema.Draft202012Validator(closed(schema)) for kind, schema in SCHEMAS.items()}
seeds = st.integers(0, 2**32).map(Random)


def pydantic_accepts(model: type[Resource], manifest: Any) -> bool:
    """Whether nothing is wrong but what the schema cannot say."""
    try:
        model.model_validate(manifest)
    except ValidationError as error:
        return all(one["type"] == FAULT or one["loc"][-1:] == ("[key]",) for one in error.errors())
    return True


#: Texts that fit each pattern of the models.
FITTING = {
    common.DNS_LABEL: ["a", "web-auth", "x" * 40],
    common.DNS_NAME: ["a", "web.auth-1"],
    common.FIELD: ["a", "source.ip", "é", "a[0]"],
    common.FILE_KEY: ["owners.csv", "_", "..."],
    common.RELATIVE_PATH: ["a", "geo/city.mmdb", ".x/..y/...", "a b"],
    common.DATASET: ["a", "system.auth", "a-b_c.d"],
    common.WORD: ["a", "linux.auth", "A-b_c.0"],
    common.ZONE: ["Z", "UTC", "+02:00", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Ushuaia"],
    common.URL: ["https://x.example/a?b=c", "http://x"],
    common.TIMESTAMP: ["2026-11-22T10:00:00Z", "2026-12-31T23:59:59.123456789+14:00"],
    duration.PATTERN: ["0s", "5m", "1d2h3m4s5ms", "999999999ms"],
    r"^[A-Za-z]+$": ["Ready"],
    r"^[A-Za-z][A-Za-z0-9]*$": ["AllGood", "a1"],
    r"^(\*|[A-Za-z0-9_][-._A-Za-z0-9]*)$": ["*", "system.auth", "_x"],
    r"^[1-9][0-9]{0,5}(km/h|mph)$": ["900km/h", "1mph"],
    r"^[0-9]{1,5}(km|mi)$": ["100km", "0mi"],
    r"^[a-z_]+(\.[A-Za-z0-9_][^\x00-\x1f\x7f.]*)+$": ["action.hacking.variety.Brute force"],
}


def instance(schema: Schema, random: Random) -> Any:
    """A value that the schema accepts; of the fields that may be left out, some."""
    match schema:
        case {"enum": choices}:
            return random.choice(choices)
        case {"type": "object", "properties": properties}:
            needed = schema.get("required", ())
            return {
                name: instance(field, random)
                for name, field in properties.items()
                if name in needed or random.random() < 0.3
            }
        case {"type": "object"}:
            count = random.randint(schema.get("minProperties", 0), 2)
            values = schema.get("additionalProperties", {})
            return {name: instance(values, random) for name in random.sample(["a", "b.c", "é"], count)}
        case {"type": "array", "items": items}:
            return [instance(items, random) for _ in range(random.randint(schema.get("minItems", 0), 2))]
        case _:
            return leaf(schema, random)


def leaf(schema: Schema, random: Random) -> Any:
    """A text or a number that the schema accepts, or any JSON where it does not care."""
    match schema:
        case {"type": "string", "pattern": pattern}:
            return random.choice([text for text in FITTING[pattern] if len(text) >= schema.get("minLength", 0)])
        case {"type": "string"}:
            return "é" * random.choice([max(1, schema.get("minLength", 0)), min(schema["maxLength"], 5000)])
        case {"type": "integer"}:
            return random.choice([schema["minimum"], schema["maximum"]])
        case {"type": "number"}:
            return random.choice([schema["minimum"], schema["maximum"], 5, 0.5])
        case _:
            return random.choice(["text", 5, 1.5, True, ["a", 1], {"a": {"b": None}}])


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place in a manifest."""
    yield here
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*here, step))


def twisted(value: Any) -> list[Any]:
    """Values that a careless reader could take for this one, and its neighbours beyond the bounds."""
    match value:
        case bool():
            return [int(value), str(value).lower(), None]
        case int() | float():
            return [str(value), value % 1000 + 0.5, -value, value + 1, value * 1000, value > 0, [value], None]
        case str():
            return [
                value + "\n",
                value.upper(),
                value + "x",
                value[:-1],
                value * 50,
                [value],
                {value: 1},
                5,
                True,
                None,
            ]
        case list():
            return [value[0] if value else "a", {}, value * 101, [*value, None], [*value, 5], None, {"0": value}]
        case None:
            return ["null", [], {}]
        case _:
            return [[value], "a", None, {**value, "extra": 1}, dict(list(value.items())[1:])]


def as_read(value: Any) -> Any:
    """Reading a manifest makes integers of whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@st.composite
def mutated(draw: st.DrawFn, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with one or two things changed: replaced, removed, or added."""
    made = copy.deepcopy(manifest)
    for _ in range(draw(st.integers(1, 2))):
        chosen = draw(st.sampled_from([place for place in places(made) if place]))
        parent: Any = made
        for step in chosen[:-1]:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "twist", "twist", "twist", "remove", "add"])):
            case "replace":
                parent[chosen[-1]] = copy.deepcopy(draw(st.sampled_from(AWKWARD)))
            case "twist":
                parent[chosen[-1]] = as_read(draw(st.sampled_from(twisted(parent[chosen[-1]]))))
            case "remove":
                del parent[chosen[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["extra", "token_secret_ref", "Spec", "name", "for_"]))] = 1
        if not made:
            break
    return made


def agree(kind: str, manifest: Any) -> bool:
    """The common verdict; fails when there is none."""
    by_schema = [f"{error.json_path}: {error.message[:200]}" for error in VALIDATORS[kind].iter_errors(manifest)]
    by_pydantic = pydantic_accepts(KINDS[kind], manifest)
    assert by_pydantic == (not by_schema), by_schema or "only pydantic refuses"
    return by_pydantic


def full(kind: str, random: Random) -> dict[str, Any]:
    """A manifest of which the schema accepts every part."""
    made = instance(SCHEMAS[kind], random)
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, deadline=None)
@given(random=seeds)
def test_what_the_schema_allows_is_accepted_by_both(kind: str, random: Random) -> None:
    assert agree(kind, full(kind, random))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(random=seeds, data=st.data())
def test_a_changed_manifest_is_judged_the_same_by_both(kind: str, random: Random, data: st.DataObject) -> None:
    agree(kind, data.draw(mutated(full(kind, random))))


@pytest.mark.parametrize(
    "manifest", [pytest.param(one.manifest, id=one.name) for one in load_path(EXAMPLES).documents if one.model]
)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_changed_example_is_judged_the_same_by_both(manifest: dict[str, Any], data: st.DataObject) -> None:
    agree(manifest["kind"], data.draw(mutated(manifest)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "limits", "burst"), "5"),
        (("spec", "limits", "burst"), 5.5),
        (("spec", "limits", "burst"), True),
        (("spec", "dataset"), 5),
        (("spec", "description"), None),
        (("spec", "mapping"), {}),
        (("spec", "silence"), {"after": 30}),
        (("spec", "Format"), "json"),
        (("spec", "deletion_policy"), "Retain"),
        (("metadata", "labels"), {"a": 1}),
    ],
)
def test_nothing_is_converted_and_nothing_unknown_is_accepted(path: Place, value: Any) -> None:
    manifest = copy.deepcopy(next(one.manifest for one in load_path(EXAMPLES).documents if one.kind == "LogSource"))
    assert agree("LogSource", manifest)
    parent: Any = manifest
    for step in path[:-1]:
        parent = parent.setdefault(step, {})
    parent[path[-1]] = value
    assert not agree("LogSource", manifest)
