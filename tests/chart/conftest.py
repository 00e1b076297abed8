from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import VALUES, Helm, Manifest, not_here, program
from tests.chart.schemas import NoModuleError, write_schemas

SETS = ("nothing", "everything", "dev", "least")
Render = Callable[[str], list[Manifest]]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(program("helm"), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    return program("kubeconform")


@pytest.fixture(scope="session")
def fetched() -> Callable[..., Any]:
    """Calls what needs a Go module, which a machine without a network may not have."""

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except NoModuleError as error:
            not_here(str(error))

    return call


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory, fetched: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    fetched(write_schemas, folder)
    return folder


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> Render:
    """The objects of one of the sets of values; each set is rendered once."""
    done: dict[str, list[Manifest]] = {}

    def render(which: str) -> list[Manifest]:
        if which not in done:
            files = [] if which == "nothing" else [VALUES / f"{which}.yaml"]
            done[which] = helm.render(*files)
        return done[which]

    return render


@pytest.fixture
def with_values(helm: Helm, tmp_path: Path) -> Callable[..., list[Manifest]]:
    """Render with values that a test makes up, on top of a set's."""

    def render(values: object, *, on: str = "", release: str = "siem") -> list[Manifest]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        return helm.render(*([VALUES / f"{on}.yaml"] if on else []), file, release=release)

    return render


@pytest.fixture(params=SETS)
def manifests(request: pytest.FixtureRequest, rendered: Render) -> list[Manifest]:
    """The objects of every set of values in turn."""
    return rendered(request.param)
