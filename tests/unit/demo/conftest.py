"""The quickstart's manifests, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette_crds.load import Loaded, load_path

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def quickstart() -> Path:
    return ROOT / "examples" / "quickstart"


@pytest.fixture(scope="session")
def loaded(quickstart: Path) -> Loaded:
    return load_path(quickstart)
