"""Our definitions, the examples that ship, and objects to send to a real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vedette_crds import generate
from vedette_crds.kinds import KINDS
from vedette_crds.load import load_path
from vedette_crds.resource import API_VERSION

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
