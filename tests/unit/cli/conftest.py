"""A folder of manifests, a data folder that an operator has filled, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vedette_cli.main import main

Run = Callable[..., Result]
Spawn = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled rules go here, not into the home of whoever runs the tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`vedette …` in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(one) for one in arguments], input=stdin, catch_exceptions=False)

    return call


@pytest.fixture
def spawn(cache: Path) -> Spawn:
    """`vedette …` as a process of its own."""

    def call(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "vedette_cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for manifests or rules."""
    made = tmp_path / "folder"
    made.mkdir()
    return made
