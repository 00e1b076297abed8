"""A folder of manifests that is broken, hostile or too large: what was good stays, and what is wrong is told."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.cluster.configs import BROKEN, config, messages, origins, values

from vedette_backends.cluster import files
from vedette_backends.cluster.folder import SyncResult
from vedette_backends.cluster.local import LocalCluster
from vedette_crds.load import Loaded, load_text
from vedette_crds.problems import Problem


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"# " + b"x" * files.MAX_FILE_BYTES), id="too large"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\x00"), id="not UTF-8"),
        pytest.param(lambda path: _replace(path, path.symlink_to, path), id="link to itself"),
        pytest.param(lambda path: _replace(path, path.symlink_to, "/etc/hostname"), id="link outside"),
        pytest.param(lambda path: _replace(path, path.symlink_to, "nowhere"), id="dangling link"),
        pytest.param(lambda path: _replace(path, os.mkfifo, path), id="pipe"),
    ],
)
def test_a_file_that_turns_hostile_is_a_problem_and_keeps_its_objects(
    cluster: LocalCluster,
    folder: Path,
    write: Callable[..., None],
    sync: Callable[[], SyncResult],
    spoil: Callable[[Path], object],
) -> None:
    write("a.yaml", config("a"))
    write("b.yaml", config("b"))
    sync()
    spoil(folder / "a.yaml")
    for _ in range(2):
        sync()
        assert values(cluster) == {"a": "1", "b": "1"}
        assert [problem.file for problem in cluster.problems()] == ["a.yaml"]
    (folder / "a.yaml").unlink()
    sync()
    assert values(cluster) == {"b": "1"}


def test_a_folder_that_cannot_be_looked_into_keeps_its_objects(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("sub/a.yaml", config("a"))
    write("b.yaml", config("b"))
    sync()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    sync()
    assert values(cluster) == {"a": "1", "b": "1"}
    assert messages(cluster) == ["sub: cannot be read: Permission denied"]


@pytest.mark.parametrize("name", [b"bad\xff.yaml", b"new\nline.yaml", b"esc\x1b[2J.yaml"])
def test_a_hostile_name_is_a_problem(
    cluster: LocalCluster, folder: Path, sync: Callable[[], SyncResult], name: bytes
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(config("a"))
    sync()
    assert values(cluster) == {}
    (problem,) = cluster.problems()
    assert "control characters or is not UTF-8" in problem.message
    assert problem.file.isprintable()


def test_folders_that_lead_in_circles_end(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("sub/a.yaml", config("a"))
    (folder / "sub" / "again").symlink_to(folder)
    (folder / "again.yaml").symlink_to(folder)
    sync()
    assert values(cluster) == {"a": "1"}
    assert messages(cluster) == ["again.yaml: is not a regular file"]


def test_a_mounted_config_map_is_read_through_its_links(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("..v1/a.yaml", config("a"))
    (folder / "..data").symlink_to("..v1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    sync()
    assert origins(cluster) == {"a": "a.yaml:1"}
    write("..v2/a.yaml", config("a", "2"))
    (folder / "..new").symlink_to("..v2")
    (folder / "..new").rename(folder / "..data")
    sync()
    assert values(cluster) == {"a": "2"}


def test_folders_nested_too_deep_are_a_problem(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("/".join("d" * 40) + "/a.yaml", config("a"))
    sync()
    assert values(cluster) == {}
    assert "nested deeper than 32" in messages(cluster)[0]


def test_too_many_files_are_a_problem(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 2)
    for name in "abc":
        write(f"{name}.yaml", config(name))
    sync()
    assert len(values(cluster)) == 2
    assert "more than 2 manifest files" in messages(cluster)[0]


def test_what_cannot_be_kept_is_a_problem(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.yaml", config("a"), config("b"))
    sync()
    monkeypatch.setattr("vedette_backends.cluster.objects.MAX_OBJECT_BYTES", 400)
    write("a.yaml", config("a", "x" * 500), config("b", "2"))
    sync()
    assert values(cluster) == {"a": "1", "b": "2"}
    assert "cannot be kept" in messages(cluster)[0]


def test_a_file_that_the_loader_stumbles_over_does_not_stop_the_others(
    cluster: LocalCluster,
    write: Callable[..., None],
    sync: Callable[[], SyncResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write("a.yaml", config("a"))
    sync()

    def stumble(data: bytes, name: str) -> Loaded:
        if name == "a.yaml":
            raise RecursionError("too deep")
        return load_text(data, name)

    monkeypatch.setattr("vedette_backends.cluster.folder.load_text", stumble)
    write("a.yaml", config("a", "2"))
    write("b.yaml", config("b"))
    sync()
    assert values(cluster) == {"a": "1", "b": "1"}
    assert messages(cluster) == ["a.yaml: cannot be understood: RecursionError: too deep"]
    assert "a.yaml" in caplog.text


def test_many_problems_of_a_file_are_bounded(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", *[BROKEN] * 300)
    sync()
    problems = cluster.problems()
    assert len(problems) == 201
    assert problems[-1] == Problem("100 more problems are not shown", file="a.yaml")


def _replace(path: Path, make: Callable[[Any], object], target: Any) -> None:
    path.unlink()
    make(target)
