"""Tables of enrichments in a cluster: ConfigMaps are read now and then, volumes are the workers'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.cluster.folder import FolderSync
from vedette_backends.cluster.local import LocalCluster
from vedette_crds.problems import Problem
from vedette_operator.tables import ClusterTables

REFERENCE = {"configMap": {"name": "owners", "key": "owners.csv"}}


class Place:
    """ConfigMaps of a folder, a clock that tests set, and how often anybody asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "manifests"
        self._folder.mkdir()
        self.cluster = LocalCluster(folder / "cluster.db")
        self._sync = FolderSync(self._folder, self.cluster)
        self.now = 0.0
        self.asked = 0
        self.tables = ClusterTables(self, age=20, clock=lambda: self.now)

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        self.asked += 1
        return self.cluster.config(namespace, name, key)

    def write(self, text: str | None) -> None:
        file = self._folder / "owners.yaml"
        if text is None:
            file.unlink()
        else:
            metadata = {"name": "owners", "namespace": "shop"}
            data = {"owners.csv": text}
            file.write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        self._sync.sync()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.cluster.close()


def test_a_configmap_is_read_and_one_that_is_missing_is_named(place: Place) -> None:
    missing = place.tables.read("shop", REFERENCE, "spec.lookup.table")
    assert isinstance(missing, Problem)
    assert "ConfigMap owners with key owners.csv does not exist" in missing.message
    assert missing.path == "spec.lookup.table"
    place.write("name,owner\n")
    assert place.tables.read("shop", REFERENCE, "") == b"name,owner\n"
    assert isinstance(place.tables.read("bank", REFERENCE, ""), Problem)


@pytest.mark.parametrize(
    "change",
    [lambda place: place.write("two"), lambda place: place.write(None)],
    ids=["changed", "deleted"],
)
def test_the_stamp_follows_the_content_after_a_while(place: Place, change: Callable[[Place], None]) -> None:
    place.write("one")
    before = place.tables.stamp("shop", REFERENCE)
    assert before is not None
    change(place)
    place.now = 19
    assert place.tables.stamp("shop", REFERENCE) == before
    assert place.asked == 1
    place.now = 20
    assert place.tables.stamp("shop", REFERENCE) != before
    assert place.asked == 2


def test_the_stamp_stays_while_the_content_does(place: Place) -> None:
    place.write("one")
    before = place.tables.stamp("shop", REFERENCE)
    place.write("two")
    place.write("one")
    place.now = 30
    assert place.tables.stamp("shop", REFERENCE) == before


def test_a_configmap_that_comes_later_changes_the_stamp(place: Place) -> None:
    assert place.tables.stamp("shop", REFERENCE) is None
    place.write("one")
    place.now = 20
    assert place.tables.stamp("shop", REFERENCE) is not None


def test_volumes_are_not_looked_at(place: Place) -> None:
    reference: dict[str, Any] = {"pvc": {"claimName": "tables", "path": "owners.csv"}}
    assert place.tables.on_workers
    assert place.tables.stamp("shop", reference) is None
    assert place.asked == 0


@pytest.mark.parametrize("reference", [{"file": "/etc/hostname"}, {"file": "owners.csv"}], ids=["absolute", "relative"])
def test_files_of_the_operators_own_disk_are_never_read(place: Place, reference: dict[str, str]) -> None:
    found = place.tables.read("shop", reference, "spec.lookup.table")
    assert isinstance(found, Problem)
    assert "vedette up" in found.message
    assert "ConfigMap" in found.hint
    assert place.tables.stamp("shop", reference) is None
