"""The examples for kustomize, Argo CD and Flux do what their pages say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import ROOT, Helm, Manifest, of_kind, program
from tests.chart.schemas import LUA, install

from vedette_crds.kinds import KINDS
from vedette_crds.load import load_path

EXAMPLES = ROOT / "examples"
KUSTOMIZE = EXAMPLES / "kustomize"


def documents(path: Path) -> list[Manifest]:
    return [item for item in yaml.safe_load_all(path.read_text("utf-8")) if item]


# kustomize ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def build() -> Callable[[str], str]:
    kubectl = program("kubectl")

    def run(overlay: str) -> str:
        command = [str(kubectl), "kustomize", str(KUSTOMIZE / "overlays" / overlay)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def built(text: str) -> list[Manifest]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_what_kustomize_builds_are_valid_objects_of_that_tenant(
    build: Callable[[str], str], overlay: str, tmp_path: Path
) -> None:
    text = build(overlay)
    (tmp_path / "built.yaml").write_text(text)
    loaded = load_path(tmp_path)
    assert list(loaded.problems) == []
    assert {item["metadata"]["namespace"] for item in built(text)} == {overlay}


def test_generated_names_are_followed_into_our_kinds(build: Callable[[str], str]) -> None:
    manifests = built(build("staging"))
    (secret,), (table,) = of_kind(manifests, "Secret"), of_kind(manifests, "ConfigMap")
    (source,), (enrichment,) = of_kind(manifests, "LogSource"), of_kind(manifests, "Enrichment")
    assert secret["metadata"]["name"] != "linux-auth-token"
    assert source["spec"]["input"]["http"]["tokenSecretRef"]["name"] == secret["metadata"]["name"]
    assert enrichment["spec"]["lookup"]["table"]["configMap"]["name"] == table["metadata"]["name"]


def test_an_overlay_changes_what_it_says(build: Callable[[str], str]) -> None:
    (staging,), (production,) = (of_kind(built(build(name)), "LogSource") for name in ("staging", "production"))
    assert staging["spec"]["retention"]["search"] == "7d"
    assert production["spec"]["retention"]["search"] == "90d"


def references(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """(kind that is named, path of the field with the name), for all fields below `path` of a definition's schema."""
    schema = schema.get("items", schema)
    for name, inner in schema.get("properties", {}).items():
        target = "Secret" if name.endswith("SecretRef") else "ConfigMap" if name == "configMap" else ""
        if target:
            yield target, f"{path}/{name}" + ("/name" if "properties" in inner else "")
        yield from references(inner, f"{path}/{name}")


def test_kustomize_knows_every_field_of_ours_that_names_a_secret_or_a_table() -> None:
    known = {
        (spec["kind"], entry["kind"], spec["path"])
        for entry in documents(KUSTOMIZE / "base" / "vedette.yaml")[0]["nameReference"]
        for spec in entry["fieldSpecs"]
    }
    there = set()
    for path in (ROOT / "crds").glob("*.yaml"):
        (definition,) = documents(path)
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        kind = definition["spec"]["names"]["kind"]
        there |= {(kind, target, field) for target, field in references(schema, "spec")}
    assert known == there


# Argo CD ------------------------------------------------------------------------------------------------------------
def lua(value: Any) -> str:
    """A value as Lua writes it."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list():
            return "{" + ", ".join(map(lua, value)) + "}"
        case _:
            return "{" + ", ".join(f"[{lua(key)}] = {lua(inner)}" for key, inner in value.items()) + "}"


@pytest.fixture(scope="module")
def health(fetched: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], tuple[str, str]]:
    """What Argo CD's own interpreter makes of an object with our script."""
    interpreter = fetched(install, LUA, "cmd/glua", tmp_path_factory.mktemp("lua"))
    (config,) = documents(EXAMPLES / "argo-cd" / "argocd-cm.yaml")
    script = yaml.safe_load(config["data"]["resource.customizations"])["vedette.dev/*"]["health.lua"]

    def run(manifest: Any) -> tuple[str, str]:
        check = f"obj = {lua(manifest)}\nlocal function check()\n{script}\nend\nlocal hs = check()\n"
        file = interpreter.with_name("check.lua")
        file.write_text(check + 'print(hs.status)\nprint(hs.message or "")\n')
        said = subprocess.run([str(interpreter), str(file)], capture_output=True, text=True, check=True).stdout
        status, message = said.splitlines()[:2]
        return status, message

    return run


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": f"because of {reason}"}


ACCEPTED, READY = condition("Accepted", "True", "Valid"), condition("Ready", "True", "AllGood")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "expected", "says"),
    [
        (None, "Progressing", "not looked at it yet"),
        ({"observedGeneration": 1, "conditions": [ACCEPTED, READY]}, "Progressing", "this version"),
        ({"observedGeneration": 2, "conditions": [ACCEPTED, READY]}, "Healthy", "because of AllGood"),
        (
            {"observedGeneration": 2, "conditions": [condition("Accepted", "False", "Invalid"), READY]},
            "Degraded",
            "Invalid: because of Invalid",
        ),
        (
            {"observedGeneration": 2, "conditions": [ACCEPTED, condition("Tested", "False", "TestsFailed"), READY]},
            "Degraded",
            "TestsFailed",
        ),
        (
            {"observedGeneration": 2, "conditions": [ACCEPTED, condition("Ready", "False", "Waiting")]},
            "Progressing",
            "Waiting",
        ),
        ({"observedGeneration": 2, "conditions": [ACCEPTED]}, "Progressing", "no verdict"),
    ],
)
def test_argo_cd_shows_the_state_of_our_objects(
    health: Callable[[Any], tuple[str, str]], status: Any, expected: str, says: str
) -> None:
    manifest = {"metadata": {"name": "x", "generation": 2}, **({"status": status} if status else {})}
    shown, message = health(manifest)
    assert shown == expected
    assert says in message


@pytest.mark.slow
def test_argo_cd_shows_paused_objects_as_suspended(health: Callable[[Any], tuple[str, str]]) -> None:
    paused = {"metadata": {"generation": 1, "annotations": {"vedette.dev/paused": "true"}}}
    assert health(paused)[0] == "Suspended"


# both ---------------------------------------------------------------------------------------------------------------
def test_the_chart_takes_the_values_of_the_examples(helm: Helm, tmp_path: Path) -> None:
    (application,) = documents(EXAMPLES / "argo-cd" / "vedette.yaml")
    release = next(item for item in documents(EXAMPLES / "flux" / "vedette.yaml") if item["kind"] == "HelmRelease")
    for values in (application["spec"]["source"]["helm"]["valuesObject"], release["spec"]["values"]):
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
        assert helm.render(tmp_path / "values.yaml")


def test_flux_looks_at_every_kind_that_people_keep_in_git() -> None:
    (kustomization,) = of_kind(documents(EXAMPLES / "flux" / "rules.yaml"), "Kustomization")
    assert {entry["kind"] for entry in kustomization["spec"]["healthCheckExprs"]} == set(KINDS) - {"Incident"}
