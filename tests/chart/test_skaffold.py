"""skaffold.yaml fits Skaffold's own schema, and what it hands to the chart is what the chart takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.chart.charts import CHART, ROOT, Helm, name_of
from tests.chart.schemas import SKAFFOLD, module_folder

CONFIG = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))


def releases() -> Iterator[Any]:
    for part in (CONFIG, *CONFIG["profiles"]):
        yield from part["deploy"]["helm"]["releases"]


def values_of(release: Any) -> list[Path]:
    return [ROOT / name for name in release.get("valuesFiles", ())]


@pytest.fixture(scope="session")
def schema(fetched: Callable[..., Path]) -> Any:
    version = CONFIG["apiVersion"].removeprefix("skaffold/")
    folder = fetched(module_folder, SKAFFOLD)
    return json.loads((folder / "docs-v2" / "content" / "en" / "schemas" / f"{version}.json").read_text("utf-8"))


def test_it_fits_the_schema_of_its_version(schema: Any) -> None:
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(CONFIG)] == []


def test_the_schema_notices_a_slip(schema: Any) -> None:
    wrong = {**CONFIG, "deploys": {}}
    assert not jsonschema.validators.validator_for(schema)(schema).is_valid(wrong)


def test_the_chart_takes_the_values_of_every_profile(helm: Helm) -> None:
    assert {profile["name"] for profile in CONFIG["profiles"]} == {"dev", "e2e"}
    for release in releases():
        assert ROOT / release["chartPath"] == CHART
        assert helm.render(*values_of(release), release=release["name"])


def test_ports_are_forwarded_to_services_that_exist(helm: Helm) -> None:
    (dev,) = (profile for profile in CONFIG["profiles"] if profile["name"] == "dev")
    (release,) = dev["deploy"]["helm"]["releases"]
    made = {name_of(item) for item in helm.render(*values_of(release), release=release["name"])}
    assert {f"Service/{forward['resourceName']}" for forward in dev["portForward"]} <= made
