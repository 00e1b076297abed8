"""A folder of manifests and the objects that come of it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.cluster.configs import BROKEN, config, messages, origins, told, values

from vedette_backends.cluster.folder import FolderSync, SyncResult
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Change, Key
from vedette_backends.errors import ConflictError


def test_documents_of_all_files_become_objects(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    write("deep/er/c.yml", config("c"))
    write("d.json", '{"kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"v": "1"}, "apiVersion": "v1"}')
    result = sync()
    assert (result.read, result.changed, result.deleted, result.problems) == (3, 4, 0, 0)
    assert origins(cluster) == {"a": "a.yaml:1", "b": "a.yaml:6", "c": "deep/er/c.yml:1", "d": "d.json:1"}
    assert cluster.get(Key("ConfigMap", "default", "d")) is not None


def test_what_is_no_manifest_is_passed_over(cluster: LocalCluster, folder: Path, write: Callable[..., None]) -> None:
    write("README.md", "# not yaml: [")
    write(".hidden.yaml", config("a"))
    write(".git/config.yaml", config("b"))
    write("data/c.yaml", config("c"))
    assert FolderSync(folder, cluster, exclude=[folder / "data"]).sync().read == 0
    assert values(cluster) == {}
    assert cluster.problems() == []


def test_an_edit_changes_the_object_and_its_generation(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    sync()
    write("a.yaml", config("a", "2"), config("b"))
    assert sync().changed == 1
    assert values(cluster) == {"a": "2", "b": "1"}
    assert [found.generation for found in cluster.list("ConfigMap")] == [2, 1]


def test_a_comment_moves_the_origin_and_nothing_else(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"))
    sync()
    version = cluster.version()
    write("a.yaml", "# new\n\n" + config("a"))
    assert sync().changed == 0
    assert origins(cluster) == {"a": "a.yaml:3"}
    assert cluster.version() == version


def test_what_did_not_change_is_not_read_again(
    folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"))
    write("b.yaml", BROKEN)
    for path in folder.iterdir():  # old enough to trust their times
        os.utime(path, ns=(0, 0))
    assert sync().read == 2
    assert sync() == SyncResult(problems=1)


def test_what_was_only_touched_is_not_parsed_again(
    cluster: LocalCluster,
    folder: Path,
    write: Callable[..., None],
    sync: Callable[[], SyncResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("a.yaml", config("a"))
    sync()
    os.utime(folder / "a.yaml")
    monkeypatch.setattr("vedette_backends.cluster.folder.load_text", None)
    assert sync().read == 1
    assert values(cluster) == {"a": "1"}


def test_two_edits_in_one_tick_of_the_clock_are_both_seen(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    path = folder / "a.yaml"
    write("a.yaml", config("a", "1"))
    time = path.stat().st_mtime_ns
    sync()
    with path.open("r+") as file:
        file.write(config("a", "2"))
    os.utime(path, ns=(time, time))
    sync()
    assert values(cluster) == {"a": "2"}


def test_another_loader_reads_everything_again(cluster: LocalCluster, folder: Path, write: Callable[..., None]) -> None:
    write("a.yaml", config("a"))
    os.utime(folder / "a.yaml", ns=(0, 0))
    FolderSync(folder, cluster).sync()
    newer = FolderSync(folder, cluster)
    newer._loader = "newer"
    assert newer.sync().read == 1
    assert newer.sync().read == 0


def test_a_removed_document_or_file_removes_its_objects(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    write("c.yaml", config("c"))
    sync()
    write("a.yaml", config("b"))
    (folder / "c.yaml").unlink()
    assert sync().deleted == 2
    assert values(cluster) == {"b": "1"}


def test_a_broken_file_keeps_what_was_good_and_says_where_it_is_broken(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    sync()
    write("a.yaml", BROKEN, config("b", "2"), config("c"))
    sync()
    assert values(cluster) == {"a": "1", "b": "2", "c": "1"}
    (problem,) = cluster.problems()
    assert (problem.file, problem.line, problem.object) == ("a.yaml", 4, "ConfigMap shop/a")
    write("a.yaml", config("a", "3"), config("b", "2"))
    sync()
    assert values(cluster) == {"a": "3", "b": "2"}
    assert cluster.problems() == []


def test_a_syntax_error_keeps_every_object_of_its_file(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    sync()
    write("a.yaml", "kind: [\n")
    sync()
    assert values(cluster) == {"a": "1", "b": "1"}
    assert cluster.problems()[0].file == "a.yaml"
    assert cluster.problems()[0].line is not None


def test_a_foreign_kind_does_not_keep_a_removed_object_alive(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    foreign = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"
    write("a.yaml", config("a"), foreign)
    sync()
    write("a.yaml", foreign)
    sync()
    assert values(cluster) == {}
    assert len(cluster.problems()) == 1


def test_problems_outlive_the_process_and_end_with_the_file(
    cluster: LocalCluster, folder: Path, place: Any, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", BROKEN)
    sync()
    assert [problem.file for problem in place.open().problems()] == ["a.yaml"]
    sync()
    assert len(cluster.problems()) == 1
    (folder / "a.yaml").unlink()
    sync()
    assert cluster.problems() == []


def test_a_document_that_moves_stays_the_same_object(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"), config("b"))
    sync()
    cluster.patch_status(Key("ConfigMap", "shop", "a"), {"kept": True})
    before = told(cluster)
    write("a.yaml", config("b"))
    write("b.yaml", config("a"))
    sync()
    (folder / "b.yaml").rename(folder / "c.yaml")
    sync()
    (folder / "c.yaml").rename(folder / "0.yaml")
    sync()
    assert told(cluster) == before
    assert origins(cluster) == {"a": "0.yaml:1", "b": "a.yaml:1"}
    assert cluster.list("ConfigMap")[0].status == {"kept": True}


def test_of_two_files_with_one_object_the_first_stays_in_force(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("m.yaml", config("a", "first"))
    sync()
    write("b.yaml", config("a", "second"))
    write("z.yaml", config("a", "third"))
    sync()
    assert values(cluster) == {"a": "first"}
    assert [(problem.file, problem.object, problem.line) for problem in cluster.problems()] == [
        ("b.yaml", "ConfigMap shop/a", 1),
        ("z.yaml", "ConfigMap shop/a", 1),
    ]
    assert all("in m.yaml as well" in message for message in messages(cluster))
    (folder / "m.yaml").unlink()
    sync()
    assert values(cluster) == {"a": "second"}
    assert messages(cluster) == ["z.yaml: the object is in b.yaml as well, and that one is in force"]
    (folder / "b.yaml").unlink()
    sync()
    assert values(cluster) == {"a": "third"}
    assert cluster.problems() == []


def test_an_object_of_the_program_is_not_touched(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    key = Key("ConfigMap", "shop", "a")
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
    cluster.create({**manifest, "data": {"v": "program"}}, manager="ui")
    write("a.yaml", config("a", "file"), config("b"))
    sync()
    assert values(cluster) == {"a": "program", "b": "1"}
    assert "made by the program" in messages(cluster)[0]
    cluster.delete(key)
    sync()
    assert values(cluster) == {"a": "file", "b": "1"}
    assert cluster.problems() == []


def test_what_a_file_holds_is_changed_there_only(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"))
    sync()
    found = cluster.list("ConfigMap")[0]
    with pytest.raises(ConflictError, match=r"kept in a\.yaml:1"):
        cluster.apply(found.manifest, manager="ui")
    with pytest.raises(ConflictError):
        cluster.delete(found.key)
    cluster.patch_status(found.key, {"a": 1})
    assert cluster.list("ConfigMap")[0].status == {"a": 1}


def test_one_look_is_one_transaction(
    cluster: LocalCluster, write: Callable[..., None], sync: Callable[[], SyncResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.yaml", config("a"))
    write("b.yaml", config("b"))
    monkeypatch.setattr("vedette_backends.cluster.problems.count", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sync()
    assert values(cluster) == {}
    assert cluster.version() == 0


def test_an_empty_file_that_is_being_written_removes_nothing(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"))
    sync()
    write("a.yaml")
    result = sync()
    assert result.again
    assert values(cluster) == {"a": "1"}
    os.utime(folder / "a.yaml", ns=(0, 0))
    assert not sync().again
    assert values(cluster) == {}


def test_a_missing_folder_removes_nothing(
    cluster: LocalCluster, folder: Path, write: Callable[..., None], sync: Callable[[], SyncResult]
) -> None:
    write("a.yaml", config("a"))
    sync()
    folder.rename(folder.with_name("elsewhere"))
    sync()
    assert values(cluster) == {"a": "1"}
    assert messages(cluster) == [": cannot be read: No such file or directory"]
    folder.with_name("elsewhere").rename(folder)
    sync()
    assert cluster.problems() == []


_STEP = st.dictionaries(
    st.sampled_from(["a.yaml", "b.yaml", "sub/c.yaml"]),
    st.none() | st.dictionaries(st.sampled_from("pqr"), st.sampled_from("12"), max_size=3),
    min_size=1,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(_STEP, min_size=1, max_size=5))
def test_the_cluster_follows_any_history_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, dict[str, str] | None]]
) -> None:
    place = tmp_path_factory.mktemp("history")
    folder = place / "manifests"
    (folder / "sub").mkdir(parents=True)
    cluster = LocalCluster(place / "cluster.db")
    held: dict[str, dict[str, str]] = {}
    for step in steps:
        for name, documents in step.items():
            (folder / name).unlink(missing_ok=True)
            held.pop(name, None)
            if documents is not None:
                held[name] = documents
                (folder / name).write_text("---\n".join(config(*item) for item in documents.items()) or "# none\n")
        FolderSync(folder, cluster).sync()
        now = {
            found.key.name: (found.origin.split(":")[0], found.manifest["data"]["v"])
            for found in cluster.list("ConfigMap")
        }
        assert set(now) == {name for documents in held.values() for name in documents}
        assert all(held[file][name] == value for name, (file, value) in now.items())
        doubled = sum(len(documents) for documents in held.values()) - len(now)
        assert len(cluster.problems()) == doubled
    cluster.close()
    shutil.rmtree(place)


def test_an_edit_is_followed(
    cluster: LocalCluster, following: Path, write: Callable[..., None], until: Callable[..., None]
) -> None:
    write("a.yaml", config("a"))
    until(lambda: values(cluster) == {"a": "1"})
    write("a.yaml", config("a", "2"))
    until(lambda: values(cluster) == {"a": "2"})
    write("new/folder/b.yaml", config("b"))
    until(lambda: "b" in values(cluster))
    write("new/folder/b.yaml", config("b", "2"))
    until(lambda: values(cluster)["b"] == "2")
    write("a.yaml", BROKEN)
    until(cluster.problems)
    assert values(cluster)["a"] == "2"
    shutil.rmtree(following / "new")
    until(lambda: values(cluster) == {"a": "2"})


def test_a_folder_that_appears_later_is_followed(
    cluster: LocalCluster, following: Path, write: Callable[..., None], until: Callable[..., None]
) -> None:
    shutil.rmtree(following)
    until(cluster.problems)
    write("a.yaml", config("a"))
    until(lambda: values(cluster) == {"a": "1"})
    assert [change for change, _ in told(cluster)] == [Change.SET]
