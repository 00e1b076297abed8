"""`vedette up` as users run it; tests/up.py is the rest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.up import Vedette


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path, free_port: int) -> Iterator[Callable[..., Vedette]]:
    """Makes a running Vedette of manifests, by file name; all end with the test."""
    made: list[Vedette] = []

    def run(folder: Path | Mapping[str, str], namespace: str) -> Vedette:
        target = tmp_path / "manifests"
        if isinstance(folder, Path):
            subprocess.run(["cp", "-r", str(folder), str(target)], check=True)
        else:
            target.mkdir()
            for name, text in folder.items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_text(text)
        vedette = Vedette(target, namespace, free_port)
        made.append(vedette)
        vedette.start()
        return vedette

    yield run
    for vedette in made:
        vedette.kill()


@pytest.fixture
def alive() -> Callable[[int], bool]:
    return is_alive


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert os.environ["XDG_CACHE_HOME"]
