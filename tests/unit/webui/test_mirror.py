"""The cluster's objects in memory: the same as a list, a moment later, and without asking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import UnavailableError
from vedette_backends.store.embedded import open_store
from vedette_webui import mirror as module
from vedette_webui.mirror import Mirror
from vedette_webui.pages import incidents


class Counting(LocalCluster):
    """Counts questions, and can be down."""

    lists = 0
    gets = 0
    down = False

    def get(self, key: Key) -> Object | None:
        self.gets += 1
        return super().get(key)

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        if self.down:
            raise UnavailableError("no connection")
        self.lists += 1
        return super().list(kind, namespace)

    def watch(self, after: int, timeout: float, *, statuses: bool = True) -> Iterator[Any]:
        for event in super().watch(after, min(timeout, 0.05), statuses=statuses):
            yield event
            if self.down:
                raise UnavailableError("no connection")
        if self.down:
            raise UnavailableError("no connection")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Counting]:
    made = Counting(tmp_path / "cluster.db")
    yield made
    made.close()


@pytest.fixture
def mirror(cluster: Counting) -> Iterator[Mirror]:
    made = Mirror(cluster, retry=0.02)
    yield made
    made.close()
    if made._thread is not None:
        made._thread.join(10)
        assert not made._thread.is_alive()


def create(cluster: LocalCluster, kind: str, name: str, namespace: str = "shop", **spec: Any) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": "vedette.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    cluster.create(manifest, manager="test")


def names(mirror: Mirror, kind: str, namespace: str | None = None) -> list[str]:
    return [each.key.name for each in mirror.of(kind, namespace)]


def test_what_was_there_and_what_comes_changes_and_goes_is_known(cluster: Counting, mirror: Mirror) -> None:
    create(cluster, "Incident", "b", title="old")
    create(cluster, "Incident", "c", namespace="bank")
    assert names(mirror, "Incident") == ["c", "b"]
    assert names(mirror, "Incident", "shop") == ["b"]
    assert mirror.namespaces() == ["bank", "shop"]
    create(cluster, "Incident", "a")
    until(lambda: names(mirror, "Incident", "shop") == ["a", "b"], seconds=10, what="the new one")
    cluster.patch_status(Key("Incident", "shop", "b"), {"alerts": 3})
    until(lambda: mirror.of("Incident", "shop")[1].status == {"alerts": 3}, seconds=10, what="the status")
    cluster.delete(Key("Incident", "shop", "a"))
    until(lambda: names(mirror, "Incident", "shop") == ["b"], seconds=10, what="the end")


def test_many_questions_cost_one_list_of_each_kind(cluster: Counting, mirror: Mirror) -> None:
    for number in range(5):
        create(cluster, "LogSource", f"s{number}")
        until(lambda count=number + 1: len(mirror.of("LogSource")) == count, seconds=10, what="the source")  # type: ignore[misc] # mypy does not infer defaults
    assert cluster.lists == len(module.KINDS)


def test_one_object_is_told_without_asking_for_it(cluster: Counting, mirror: Mirror) -> None:
    key = Key("Incident", "shop", "a")
    assert mirror.get(key) is None
    create(cluster, "Incident", "a", title="old")
    until(lambda: mirror.get(key) is not None, seconds=10, what="the new one")
    cluster.patch_status(key, {"alerts": 3})
    until(
        lambda: (found := mirror.get(key)) is not None and found.status == {"alerts": 3}, seconds=10, what="the status"
    )
    cluster.delete(key)
    until(lambda: mirror.get(key) is None, seconds=10, what="the end")
    assert cluster.gets == 0


def test_the_page_of_an_incident_waits_for_news_without_asking_the_cluster(
    cluster: Counting, mirror: Mirror, tmp_path: Path
) -> None:
    create(cluster, "Incident", "a", title="old")
    with contextlib.closing(open_store(tmp_path / "store", writer=True)) as store:
        visit: Any = SimpleNamespace(desk=SimpleNamespace(objects=mirror), namespace="shop", store=store)
        before = incidents.state(visit, "a")
        cluster.patch_status(Key("Incident", "shop", "a"), {"alerts": 3})
        until(lambda: incidents.state(visit, "a") != before, seconds=10, what="the change")
        changed = incidents.state(visit, "a")
        store.put_record("notes", "a", "n1", {"text": "x"})
        assert incidents.state(visit, "a") != changed
    assert cluster.gets == 0


def test_rules_are_kept_without_their_tests(cluster: Counting, mirror: Mirror) -> None:
    create(cluster, "AlertRule", "r", sigma="title: x", tests=[{"name": "t"}])
    (rule,) = mirror.of("AlertRule")
    assert rule.manifest["spec"] == {"sigma": "title: x"}


def test_pages_show_what_was_known_while_the_cluster_is_down(cluster: Counting, mirror: Mirror) -> None:
    create(cluster, "Incident", "a")
    assert names(mirror, "Incident") == ["a"]
    cluster.down = True
    create(cluster, "Incident", "b")
    assert "a" in names(mirror, "Incident")
    cluster.down = False
    create(cluster, "Incident", "c")
    until(lambda: names(mirror, "Incident") == ["a", "b", "c"], seconds=10, what="what was missed")


def test_before_anything_could_be_listed_a_page_says_so(
    cluster: Counting, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    cluster.down = True
    with pytest.raises(UnavailableError):
        mirror.of("Incident")
