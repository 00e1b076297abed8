"""What only the embedded cluster promises: its file and its log of changes."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.cluster import objects
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Change, Key
from vedette_backends.errors import RefusedError


def config(name: str, **data: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data}


def test_only_its_owner_reads_the_file(place: Any, cluster: LocalCluster) -> None:
    cluster.create(config("c"), manager="ui")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.path.parent.iterdir()}
    assert {"cluster.db", "cluster.db-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("content", [b"no database" * 1000, b"\x00" * 5000])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cluster.db"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=r"cluster\.db"):
        LocalCluster(path)


def test_a_file_of_a_newer_program_is_refused(place: Any, cluster: LocalCluster) -> None:
    cluster.close()
    connection = sqlite3.connect(place.path, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RefusedError, match="newer Vedette"):
        place.open()


def test_old_changes_are_told_by_their_last_of_a_kind(cluster: LocalCluster) -> None:
    for number in range(4):
        cluster.apply(config("c", n=str(number)), manager="ui")
        cluster.patch_status(Key("ConfigMap", "shop", "c"), {"n": number})
    cluster.apply(config("gone"), manager="ui")
    cluster.delete(Key("ConfigMap", "shop", "gone"))
    with cluster.writing() as connection:
        objects.prune(connection, cluster.version() + 1)
    told = [(event.change, event.object.key.name) for event in cluster.watch(0, 0)]
    assert told == [(Change.SET, "c"), (Change.STATUS, "c"), (Change.DELETED, "gone")]


def test_the_log_of_changes_is_bounded(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "KEPT_CHANGES", 20)
    monkeypatch.setattr(objects, "_PRUNE_EVERY", 10)
    with cluster.writing() as connection:
        for number in range(300):
            objects.write(connection, config("c", n=str(number)), manager="ui")
        assert connection.execute("SELECT count(*) FROM change").fetchone()[0] <= 31
    assert cluster.version() == 300
    assert len(list(cluster.watch(290, 0))) == 10


def test_many_statuses_are_one_transaction(cluster: LocalCluster) -> None:
    keys = [cluster.create(config(f"c{number}"), manager="ui").key for number in range(3)]
    cluster.patch_statuses((key, {"n": number}) for number, key in enumerate(keys))
    assert [found.status for found in cluster.list("ConfigMap")] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_namespaces_are_those_with_objects(cluster: LocalCluster) -> None:
    assert list(cluster.namespaces()) == []
    cluster.create(config("a"), manager="ui")
    cluster.create({"kind": "ConfigMap", "metadata": {"name": "b"}}, manager="ui")
    assert list(cluster.namespaces()) == ["default", "shop"]


def test_a_new_cluster_begins_at_version_zero(cluster: LocalCluster) -> None:
    assert cluster.version() == 0


def test_a_whole_number_with_a_point_is_another_value(cluster: LocalCluster) -> None:
    """A Kubernetes API server keeps no such difference."""
    cluster.apply(config("c", n=1), manager="ui")
    changed = cluster.apply(config("c", n=1.0), manager="ui")
    assert changed.generation == 2
    assert repr(changed.manifest["data"]) == "{'n': 1.0}"


def test_a_value_that_is_not_base64_is_refused_without_showing_it(cluster: LocalCluster) -> None:
    """A Kubernetes API server takes no such Secret."""
    cluster.create(
        {"kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "data": {"bad": "?"}}, manager="ui"
    )
    with pytest.raises(RefusedError, match=r"Secret shop/s: data\.bad is not base64"):
        cluster.secret("shop", "s", "bad")
