"""The generated definitions and pages are fresh, structural, bounded and described."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from vedette_crds import generate, reference
from vedette_crds.foreign import FOREIGN
from vedette_crds.kinds import KINDS
from vedette_crds.model import Model, Opt
from vedette_crds.structural import PRESERVE, Schema, UnboundedError, structural

ROOT = Path(__file__).parents[3]
DEFINITIONS = {kind: generate.definition(model) for kind, model in KINDS.items()}


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all models inside it."""
    yield model
    for info in model.model_fields.values():
        yield from (found for part in parts(info.annotation) for found in models(part))


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from parts(inner)


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema inside a schema, with where it stands."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def root(kind: str) -> Schema:
    schema: Schema = DEFINITIONS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("name", generate.files())
def test_the_definitions_in_the_repository_are_fresh(name: str) -> None:
    assert (ROOT / "crds" / name).read_text(encoding="utf-8") == generate.files()[name], "run vedette_crds.generate"


@pytest.mark.parametrize("name", reference.files())
def test_the_reference_pages_are_fresh(name: str) -> None:
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == reference.files()[name], "run python -m vedette_crds.reference"


def test_there_are_no_other_definitions() -> None:
    assert {path.name for path in (ROOT / "crds").glob("*.yaml")} == set(generate.files())


def test_checking_fails_when_a_file_is_not_fresh_and_writes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vedette_crds.generate", "--out", str(tmp_path)]
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("model", [*KINDS.values(), *FOREIGN.values()])
def test_every_field_is_described_in_a_sentence(model: type[BaseModel]) -> None:
    for inner in models(model):
        for name, info in inner.model_fields.items():
            description = info.description or ""
            assert re.fullmatch(r"[A-Z`].*[.]", description), f"{inner.__name__}.{name}: {description!r}"


@every_kind
def test_every_string_list_map_and_number_is_bounded(kind: str) -> None:
    for path, node in nodes(root(kind)["properties"]["spec"], "spec"):
        match node.get("type"):
            case "string":
                assert node.keys() & {"maxLength", "enum"}, path
            case "array":
                assert "maxItems" in node, path
            case "object":
                assert node.keys() & {"properties", "maxProperties"}, path
            case "integer" | "number":
                assert node.keys() >= {"minimum", "maximum"}, path
            case None:
                assert node[PRESERVE], path


@every_kind
def test_the_schema_is_structural(kind: str) -> None:
    """What apiextensions' documentation says of structural schemas."""
    for path, node in nodes(root(kind)):
        assert not node.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "definitions"}, path
        assert "type" in node or node.get(PRESERVE), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("additionalProperties") is not False, path


@every_kind
def test_a_map_keeps_what_it_holds(kind: str) -> None:
    for path, node in nodes(root(kind)):
        if node.get("type") == "object" and "properties" not in node:
            assert node.get(PRESERVE) or node.get("additionalProperties"), f"{path} would be pruned"


@every_kind
def test_lists_of_maps_name_a_key_that_every_entry_has(kind: str) -> None:
    for path, node in nodes(root(kind)):
        if node.get("type") == "array":
            keys = node.get("x-kubernetes-list-map-keys", [])
            assert (node["x-kubernetes-list-type"] == "map") == bool(keys), path
            assert set(keys) <= set(node["items"].get("required", [])), path


@every_kind
def test_defaults_fit_their_own_schema(kind: str) -> None:
    for path, node in nodes(root(kind)):
        if "default" in node and "enum" in node:
            assert node["default"] in node["enum"], path
        if node.get("default") == {}:
            assert not node.get("required"), path


@every_kind
def test_rules_for_the_api_server_stay_out_of_tests(kind: str) -> None:
    for path, node in nodes(root(kind)):
        if ".tests" in path:
            assert "x-kubernetes-validations" not in node, path


@every_kind
def test_rules_speak_of_fields_that_are_there(kind: str) -> None:
    for path, node in nodes(root(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            for name in re.findall(r"(?<!old)[sS]elf\.([A-Za-z0-9_]+)", rule["rule"]):
                assert name.strip("_") in node["properties"], f"{path}: {rule['rule']}"


@every_kind
def test_a_definition_has_names_status_and_columns(kind: str) -> None:
    made, model = DEFINITIONS[kind], KINDS[kind]
    spec = made["spec"]
    (version,) = spec["versions"]
    assert made["metadata"]["name"] == f"{spec['names']['plural']}.vedette.dev"
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["categories"] == ["siem"]
    assert spec["names"]["shortNames"] == list(model.SHORT_NAMES)
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[-1] == "Age"
    assert {"Ready", "Reason"} <= set(columns) or kind == "Incident"


@every_kind
def test_printer_columns_show_fields_that_are_there(kind: str) -> None:
    for column in KINDS[kind].PRINTER_COLUMNS:
        steps = re.sub(r"\[\?.*?\]", "", column.path).strip(".").split(".")
        node = root(kind)
        for step in steps if steps[0] != "metadata" else ():
            node = node["properties"][step].get("items", node["properties"][step])
        assert node, column


def test_short_names_belong_to_one_kind_each() -> None:
    names = [name for model in KINDS.values() for name in (*model.SHORT_NAMES, model.SINGULAR, model.PLURAL)]
    assert len(names) == len(set(names))


def test_generated_files_use_no_anchors() -> None:
    for content in generate.files().values():
        assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=yaml.CSafeLoader))


class Unbounded(Model):
    """A model with a mistake in it."""

    text: str = Field(description="No bound.")


class Undescribed(Model):
    """Another one."""

    choice: Opt[Literal["a"]] = None


class UnboundedInside(Model):
    """A third one."""

    items: Annotated[list[Unbounded], Field(max_length=3)] = Field(description="Bounded.")


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (Unbounded, "Unbounded.text"),
        (Undescribed, "Undescribed.choice"),
        (UnboundedInside, r"UnboundedInside.items\[\].text"),
    ],
)
def test_a_model_without_bounds_or_descriptions_stops_the_generator(model: type[BaseModel], where: str) -> None:
    with pytest.raises(UnboundedError, match=where):
        structural(model)
