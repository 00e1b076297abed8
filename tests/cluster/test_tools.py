"""The programs of the cluster: when they are built, and what is said when they cannot be."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster.tools import build
from tests.cluster.tools.build import HERE, MODULES, Module, NoToolchainError, ToolsError, build_tools, missing_tools


@pytest.fixture
def go() -> None:
    """There is a Go; a user's machine may do without it, one that has to run every test may not."""
    if shutil.which("go") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("Go is not installed")


@pytest.fixture
def hello(tmp_path: Path) -> Module:
    """A module of one program."""
    folder = tmp_path / "modules" / "hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module hello\n\ngo 1.21\n")
    (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    return Module("hello", {"hello": "."}, folder=folder.parent)


def silent(_: str) -> None:
    """Nobody listens."""


def test_every_folder_of_tools_is_a_module_that_is_built() -> None:
    assert {path.parent.name for path in HERE.glob("*/go.mod")} == {module.name for module in MODULES}


def test_every_module_that_needs_others_pins_them_with_their_hashes() -> None:
    for path in HERE.glob("*/go.mod"):
        assert "require" not in path.read_text() or (path.parent / "go.sum").stat().st_size > 0, path


def test_the_version_that_the_programs_tell_is_the_one_that_is_pinned() -> None:
    assert f"k8s.io/kubernetes v{build.KUBERNETES}" in (HERE / "kubernetes" / "go.mod").read_text()


@pytest.mark.usefixtures("go")
def test_what_is_built_is_built_again_only_when_its_files_change(
    hello: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MODULES", (hello,))
    target = tmp_path / "bin"
    said: list[str] = []
    assert missing_tools(target) == ["hello"]
    build_tools(target, said.append)
    assert missing_tools(target) == []
    assert len(said) == 2
    build_tools(target, said.append)
    assert len(said) == 2
    (hello.folder / "hello" / "main.go").write_text("package main\n\nfunc main() { println() }\n")
    assert missing_tools(target) == ["hello"]


@pytest.mark.usefixtures("go")
def test_a_program_that_does_not_build_says_what_the_compiler_said(
    hello: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MODULES", (hello,))
    (hello.folder / "hello" / "main.go").write_text("package main\n\nfunc main() { sing() }\n")
    with pytest.raises(ToolsError, match="undefined: sing"):
        build_tools(tmp_path / "bin", silent)
    assert missing_tools(tmp_path / "bin") == ["hello"]


def test_other_flags_are_another_program(hello: Module) -> None:
    assert hello.pin() != replace(hello, ldflags="").pin()


@pytest.mark.parametrize("said", ["", "go version go1.19.8 linux/amd64"])
def test_a_machine_without_a_usable_go_is_told_so(
    said: str, hello: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MODULES", (hello,))
    monkeypatch.setattr(build, "USUAL_PLACES", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    if said:
        (tmp_path / "go").write_text(f"#!/bin/sh\necho {said}\n")
        (tmp_path / "go").chmod(0o755)
    with pytest.raises(NoToolchainError, match=r"install Go 1\.26"):
        build_tools(tmp_path / "bin", silent)
