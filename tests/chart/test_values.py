"""values.yaml, its comments, its schema and the templates say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, VALUES, Helm, Manifest, RefusedError, leaves

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
TEXT = (CHART / "values.yaml").read_text("utf-8")
DEFAULTS = yaml.safe_load(TEXT)
FREE = {"cpu", "memory", "requests", "limits"}
"""Names that Kubernetes explains."""

SAMPLES: dict[tuple[str, ...], Any] = {
    ("backends", "elasticsearch", "ca"): "-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n",
    ("backends", "rabbitmq", "ca"): "-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n",
    ("backends", "rabbitmq", "url"): "amqps://other:pw@mq.example:5671",
    ("dev", "elasticsearch", "heap"): "2g",
    ("gateway", "service", "type"): "NodePort",
    ("image", "digest"): "sha256:" + 64 * "1",
    ("image", "pullPolicy"): "Always",
    ("logs", "format"): "text",
    ("logs", "level"): "debug",
    ("pods", "affinity"): {"podAffinity": {}},
    ("web", "publicUrl"): "https://siem.example",
    ("web", "service", "type"): "NodePort",
    ("webhook", "failurePolicy"): "Ignore",
}
"""Other values where a made-up one would not fit."""

ALONE = {
    ("backends", "existingSecret"): {"backends": {"existingSecret": "mine"}},
    ("dev", "enabled"): {"dev": {"enabled": True}},
    ("gateway", "replicas"): {"gateway": {"replicas": 3}},
    ("image", "tag"): {"image": {"tag": "other"}},
}
"""Settings that others hide: these are tried on their own."""


BY_NAME: dict[str, Any] = {
    "tenants": [{"name": "other"}],
    "tolerations": [{"key": "other", "operator": "Exists"}],
    "pullSecrets": ["other"],
    "changedByAlsoFrom": ["other"],
    **dict.fromkeys(("scratchSize", "storage"), "3Gi"),
    **dict.fromkeys(("lagTarget", "interval"), "7s"),
    **dict.fromkeys(("url", "managementUrl"), "https://other.example:1"),
    "resources": {"limits": {"memory": "3Gi"}},
}
BY_TYPE: tuple[tuple[type, Any], ...] = (
    (list, [{"cidrs": ["192.0.2.0/24"], "ports": [1234]}]),
    (dict, {"other": "value"}),
    (str, "other"),
)


def other_value(path: tuple[str, ...], value: Any) -> Any:
    """A valid value that is not this one."""
    if path in SAMPLES:
        return SAMPLES[path]
    if path[-1] in BY_NAME:
        return BY_NAME[path[-1]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return next(other for kind, other in BY_TYPE if isinstance(value, kind))


def nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def resolved(schema: Any) -> Any:
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def schema_leaves(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Settings that the schema knows; resources and free maps are leaves."""
    schema = resolved(schema)
    if "properties" in schema and path[-1:] != ("resources",):
        for name, inner in schema["properties"].items():
            yield from schema_leaves(inner, (*path, name))
    else:
        yield path


def objects(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


def default_leaves() -> list[tuple[str, ...]]:
    """Settings of values.yaml, resources as one."""
    found = []
    for path, _ in leaves(DEFAULTS):
        cut = path.index("resources") + 1 if "resources" in path else len(path)
        if path[:cut] not in found:
            found.append(path[:cut])
    return found


def test_the_schema_knows_every_setting_and_no_other() -> None:
    known = set(schema_leaves(SCHEMA)) - {("global",)}
    assert known == set(default_leaves())


def test_the_schema_is_closed_everywhere() -> None:
    for one in objects(SCHEMA):
        # `properties` may itself be the name of a property.
        if one.get("type") == "object":
            assert one["additionalProperties"] is False, one


def test_every_setting_has_a_comment() -> None:
    lines = TEXT.splitlines()
    silent = []
    for number, line in enumerate(lines):
        if (found := re.match(r" *(?:- )?([A-Za-z]+):", line)) and found[1] not in FREE:
            above = lines[number - 1].strip()
            # What follows a list's dash is explained by the list.
            if not above.startswith("#") and not re.match(r" *- | {6,}ports:", line):
                silent.append(line.strip())
    assert silent == []


@pytest.fixture
def text_with(helm: Helm, tmp_path: Path) -> Callable[..., str]:
    """What helm writes with a set of values and a setting on top; the long definitions only where they are meant."""
    small = tmp_path / "small.yaml"
    small.write_text("crds: {enabled: false}\n")

    def render(which: str, values: Any) -> str:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        base = [VALUES / f"{which}.yaml"] if which else []
        return helm.text(*base, *([] if "crds" in values else [small]), file)

    return render


@pytest.mark.slow
def test_every_setting_changes_what_is_rendered(text_with: Callable[..., str]) -> None:
    def settled(text: str) -> str:
        """Without what is drawn by lot in each rendering."""
        return "\n---".join(part for part in text.split("\n---") if "templates/dev/secrets" not in part)

    files = {which: yaml.safe_load((VALUES / f"{which}.yaml").read_text("utf-8")) for which in ("everything", "dev")}
    before = {which: settled(text_with(which, {})) for which in ("everything", "dev", "")}
    whole = text_with("everything", {"crds": {}})
    unused = []
    for path in default_leaves():
        if path in ALONE:
            which, values = "", ALONE[path]
        else:
            which = "dev" if path[0] == "dev" else "everything"
            given = at(files[which], path)
            value = given if given is not None else at(DEFAULTS, path)
            values = nested(path, other_value(path, value))
        if settled(text_with(which, values)) == (whole if path[0] == "crds" else before[which]):
            unused.append(".".join(path))
    assert unused == []


@pytest.mark.parametrize(
    "values",
    [
        {"unknown": 1},
        {"gateway": {"replica": 2}},
        {"gateway": {"replicas": 0}},
        {"gateway": {"replicas": "2"}},
        {"gateway": {"service": {"type": "Cluster"}}},
        {"gateway": {"resources": {"requests": {"cpu": 1}}}},
        {"gateway": {"resources": {"limits": {"gpu": "1"}}}},
        {"gateway": {"from": [{"cidrs": ["everywhere"]}]}},
        {"image": {"repository": ""}},
        {"image": {"digest": "sha256:abc"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"tenants": ["shop"]},
        {"tenants": [{"create": True}]},
        {"tenants": [{"name": "Shop"}]},
        {"tenants": [{"name": "shop.eu"}]},
        {"webhook": {"failurePolicy": "fail"}},
        {"webhook": {"timeoutSeconds": 31}},
        {"backends": {"rabbitmq": {"url": "amqps://no-password@mq.example"}}},
        {"backends": {"rabbitmq": {"url": "amqps://a:b@mq.example/vhost"}}},
        {"backends": {"rabbitmq": {"ca": "/etc/ssl/ca.crt"}}},
        {"backends": {"elasticsearch": {"url": "es.example:9200"}}},
        {"logs": {"level": "trace"}},
        {"pods": {"labels": {"spaces are": "wrong"}}},
        {"pipeline": {"scale": {"lagTarget": "ten seconds"}}},
        {"networkPolicy": {"dns": [{"port": 53}]}},
        {"crds": {"keep": "yes"}},
        {"web": {"publicUrl": "https://siem.example/path"}},
        {"userRoles": {"prefix": ""}},
        {"dev": {"elasticsearch": {"heap": "1 GB"}}},
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused_by_the_schema(with_values: Callable[..., list[Manifest]], values: object) -> None:
    with pytest.raises(RefusedError, match="values don't meet the specifications of the schema"):
        with_values(values)
