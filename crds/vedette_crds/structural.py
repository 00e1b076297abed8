"""pydantic's JSON schema as Kubernetes wants it: structural, inlined, bounded.

pydantic writes `$defs` and `$ref`, `anyOf` with `null`, `const`, `title`, `propertyNames` and
`additionalProperties: false`; a structural schema has none of these. Kubernetes also asks, for the sake of CEL's cost
estimate and of etcd, that everything is bounded; what is not is a mistake in the model and stops the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"

_ORDER = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
#: Below these fields there may be so many objects that rules over each would cost too much.
_MANY = frozenset({"tests"})


class UnboundedError(ValueError):
    """A model has a field without a bound or without a description."""


def structural(model: type[BaseModel]) -> Schema:
    """The model's schema.

    Raises:
        UnboundedError: a string, list or map has no bound, or a field no description.
    """
    raw = model.model_json_schema(by_alias=True)
    return _convert(raw, raw.get("$defs", {}), model.__name__, rules=True)


def _convert(raw: Mapping[str, Any], definitions: Mapping[str, Any], path: str, *, rules: bool) -> Schema:
    def convert(child: Mapping[str, Any], where: str) -> Schema:
        return _convert(child, definitions, where, rules=rules)

    node = _resolve(raw, definitions)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    made: Schema = {key: value for key, value in node.items() if key in _ORDER and key != "additionalProperties"}
    if not rules:
        made.pop(VALIDATIONS, None)
    if "properties" in node:
        made["properties"] = {
            name: _field(child, definitions, f"{path}.{name}", rules=rules and name not in _MANY)
            for name, child in node["properties"].items()
        }
    elif node.get("type") == "object":
        values = _values(node)
        made |= {"additionalProperties": convert(values, f"{path}{{}}")} if values else {PRESERVE: True}
    if "items" in node:
        made["items"] = convert(node["items"], f"{path}[]")
        made["items"].pop("description", None)
        made.setdefault(LIST_TYPE, "atomic")
    if "type" not in made:
        made[PRESERVE] = True
    _refuse_unbounded(made, path)
    return {key: made[key] for key in _ORDER if key in made}


def _values(node: Schema) -> Schema:
    """The schema of a map's values; {} for any JSON. Rules for its keys cannot be said in a structural schema."""
    by_pattern = node.get("patternProperties", {})
    values = next(iter(by_pattern.values())) if by_pattern else node["additionalProperties"]
    return {} if values is True else dict(values)


def _resolve(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """References and `anyOf` with `null` replaced by what they stand for; what the field itself says wins."""
    node = dict(raw)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            target = definitions[node.pop("$ref").rpartition("/")[2]]
        else:
            (target,) = (option for option in node.pop("anyOf") if option.get("type") != "null")
        node = {**target, **node}
    if node.get("default", ...) is None:
        del node["default"]
    return node


def _field(raw: Mapping[str, Any], definitions: Mapping[str, Any], path: str, *, rules: bool) -> Schema:
    made = _convert(raw, definitions, path, rules=rules)
    if "description" not in made:
        raise UnboundedError(f"{path} has no description")
    return made


def _refuse_unbounded(made: Schema, path: str) -> None:
    kind = made.get("type")
    if kind == "string" and not made.keys() & {"enum", "maxLength"}:
        raise UnboundedError(f"{path} is a string without maxLength")
    if kind == "array" and "maxItems" not in made:
        raise UnboundedError(f"{path} is a list without maxItems")
    if kind == "object" and "properties" not in made and "maxProperties" not in made:
        raise UnboundedError(f"{path} is a map without maxProperties")
    if kind in {"integer", "number"} and not made.keys() >= {"minimum", "maximum"}:
        raise UnboundedError(f"{path} is a number without minimum and maximum")
