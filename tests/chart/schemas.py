"""JSON schemas for kubeconform, made from what the projects themselves publish in their Go modules.

kubeconform's own schemas are on a web site; Go modules have fixed versions and checksums.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tests.chart.charts import ROOT

Schema = dict[str, Any]

_DEFINITIONS = "#/definitions/"
_INT_OR_STRING: Schema = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
_QUANTITY: Schema = {"oneOf": [{"type": "string"}, {"type": "number"}]}


class Module(NamedTuple):
    """A version of a Go module; `sum` is what go.sum would say of it."""

    path: str
    version: str
    sum: str


KUBERNETES = Module("k8s.io/kubernetes", "v1.36.3", "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=")
PROMETHEUS = Module(
    "github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
)
KEDA = Module("github.com/kedacore/keda/v2", "v2.18.0", "h1:ttR223fii/4QJ0YvtrhcWHaEoezByb/t5CeFopjl6EI=")
SKAFFOLD = Module(
    "github.com/GoogleContainerTools/skaffold/v2", "v2.16.1", "h1:eMrp2qpn/5j2c1P/JqLo+mxcpEIdtokb/tCY2W/05ic="
)
LUA = Module("github.com/yuin/gopher-lua", "v1.1.1", "h1:kYKnWBjvbNP4XLT3+bPEwAXJx262OhaHDWDVOPjL46M=")
"""The interpreter that Argo CD has."""


class NoModuleError(Exception):
    """A module cannot be had here; the message says why."""


def module_folder(module: Module) -> Path:
    """Where the go command unpacked the module; it downloads what its cache does not have.

    Raises:
        NoModuleError: there is no go command, the download failed, or the content is not what it was.
    """
    # Outside of any module, so that only the one asked for is looked at.
    said = _go("mod", "download", "-json", f"{module.path}@{module.version}", folder=Path("/"))
    found = json.loads(said)
    if found["Sum"] != module.sum:
        raise NoModuleError(f"{module.path}@{module.version} is not what it was: {found['Sum']}")
    return Path(found["Dir"])


def install(module: Module, package: str, folder: Path) -> Path:
    """Build a program of a module into a folder; its path.

    Raises:
        NoModuleError: as above, or it does not build.
    """
    module_folder(module)
    _go("install", f"{module.path}/{package}@{module.version}", folder=folder, GOBIN=str(folder))
    return folder / package.rpartition("/")[2]


def _go(*arguments: str, folder: Path, **variables: str) -> str:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise NoModuleError("there is no go command to fetch modules with")
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-buildvcs=false", **variables}
    command = [go, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoModuleError(f"`{' '.join(command)}` said {done.stdout}{done.stderr}".strip())
    return done.stdout


def write_schemas(folder: Path) -> None:
    """Write a strict schema per kind: all of Kubernetes, those of Prometheus and KEDA that we use, and ours."""
    swagger = json.loads((module_folder(KUBERNETES) / "api" / "openapi-spec" / "swagger.json").read_bytes())
    for name, schema in _of_swagger(swagger["definitions"]):
        (folder / name).write_text(json.dumps(schema))
    prometheus = module_folder(PROMETHEUS) / "example" / "prometheus-operator-crd"
    keda = module_folder(KEDA) / "config" / "crd" / "bases"
    files = [
        *(
            prometheus / f"monitoring.coreos.com_{kind}.yaml"
            for kind in ("servicemonitors", "podmonitors", "prometheusrules")
        ),
        *(keda / f"keda.sh_{kind}.yaml" for kind in ("scaledobjects", "triggerauthentications")),
        *sorted((ROOT / "crds").glob("*.yaml")),
    ]
    for file in files:
        for name, schema in _of_definition(yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)):
            (folder / name).write_text(json.dumps(schema))


def file_name(group: str, version: str, kind: str) -> str:
    """How kubeconform's `{{.ResourceKind}}{{.KindSuffix}}.json` names a kind."""
    return "-".join(part for part in (kind.lower(), group.split(".", maxsplit=1)[0], version) if part) + ".json"


def _of_swagger(raw: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    definitions = {name: _strict(schema) for name, schema in raw.items()}
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = _QUANTITY
    for name, schema in raw.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if name.startswith("io.k8s.apimachinery"):
                continue  # lists' options and the like, which every group has
            needed = {one: definitions[one] for one in _needed(definitions, name)}
            properties = {**definitions[name]["properties"], "kind": {"enum": [kind["kind"]]}}
            made = {**definitions[name], "properties": properties, "definitions": needed}
            yield file_name(kind["group"], kind["version"], kind["kind"]), made


def _of_definition(crd: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        properties = {**schema["properties"], "metadata": {"type": "object"}}
        yield file_name(spec["group"], version["name"], spec["names"]["kind"]), {**schema, "properties": properties}


def _strict(schema: Any) -> Any:
    """The schema without Kubernetes' extensions, in which only fields that are named may occur."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return _INT_OR_STRING
    made = {key: _strict(value) for key, value in schema.items() if not str(key).startswith("x-kubernetes-")}
    if isinstance(fields := schema.get("properties"), dict):
        # What stands here are names of fields, some of which look like extensions.
        made["properties"] = {name: _strict(value) for name, value in fields.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not open_ended:
        made["additionalProperties"] = False
    return made


def _needed(definitions: Mapping[str, Schema], name: str) -> set[str]:
    """The definitions that one refers to, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for reference in _references(definitions[todo.pop()]):
            if reference not in found:
                found.add(reference)
                todo.append(reference)
    return found


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_DEFINITIONS)
        for value in schema.values():
            yield from _references(value)
