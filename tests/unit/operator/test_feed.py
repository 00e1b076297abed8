"""What the control loop gets to see of the watches' changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Change, Event, Key, Object
from vedette_operator import feed as module
from vedette_operator.feed import MISSING_AGE, SECRET_AGE, Feed
from vedette_operator.marks import PAUSE
from vedette_operator.status_writer import StatusWriter

KEY = Key("AlertRule", "shop", "decoy")


def ignore(*_: Any) -> None:
    """Statuses are not written here."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path / "cluster.db")
    yield made
    made.close()


@pytest.fixture
def feed(cluster: LocalCluster) -> Feed:
    return Feed(cluster, StatusWriter(ignore, ignore))


def rule(version: int, generation: int = 1, *, uid: str = "u1", **metadata: Any) -> Object:
    manifest = {"metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": uid, **metadata}, "spec": {}}
    return Object(KEY, manifest, {}, generation, version)


def seen(feed: Feed) -> list[tuple[Change, int]]:
    """Changes that wait, as (change, version)."""
    return [(event.change, event.object.version) for event in feed.watch(0, 0.01, statuses=False)]


def test_what_was_put_arrives_once_and_in_order(feed: Feed) -> None:
    feed.put(Change.SET, rule(1))
    feed.put(Change.SET, rule(2, 2))
    assert seen(feed) == [(Change.SET, 1), (Change.SET, 2)]
    assert seen(feed) == []


def test_changes_that_the_operator_would_not_act_on_are_passed_over(feed: Feed) -> None:
    feed.put(Change.SET, rule(1))
    feed.put(Change.SET, rule(2))
    feed.put(Change.SET, rule(3, annotations={"somebody.example/note": "x"}))
    assert seen(feed) == [(Change.SET, 1)]


@pytest.mark.parametrize(
    "changed",
    [
        {"annotations": {PAUSE: "true"}},
        {"deletionTimestamp": "2026-11-22T10:00:00Z"},
        {"finalizers": ["somebody.example/x"]},
        {"uid": "u2"},
    ],
    ids=["paused", "deleted", "finalizers", "made again"],
)
def test_changes_of_metadata_that_ask_for_something_arrive(feed: Feed, changed: Mapping[str, Any]) -> None:
    feed.put(Change.SET, rule(1))
    feed.put(Change.SET, rule(2, **changed))
    assert seen(feed) == [(Change.SET, 1), (Change.SET, 2)]


def test_a_watch_that_begins_anew_does_not_bring_back_what_is_older(feed: Feed) -> None:
    feed.put(Change.SET, rule(5, 2))
    feed.put(Change.SET, rule(3, 1))
    assert seen(feed) == [(Change.SET, 5)]


def test_a_deletion_arrives_and_so_does_the_same_object_made_again(feed: Feed) -> None:
    feed.put(Change.SET, rule(1))
    feed.put(Change.DELETED, rule(2))
    feed.put(Change.SET, rule(1))
    assert seen(feed) == [(Change.SET, 1), (Change.DELETED, 2), (Change.SET, 1)]


def test_what_was_listed_is_not_reported_again(feed: Feed, cluster: LocalCluster) -> None:
    manifest = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "a", "namespace": "shop"},
    }
    made = cluster.create({**manifest, "spec": {}}, manager="test")
    assert feed.list("Incident") == [made]
    feed.put(Change.SET, made)
    assert seen(feed) == []


def test_a_list_of_the_watches_asks_for_one_resync(feed: Feed) -> None:
    assert not feed.must_resync()
    feed.relisted()
    feed.relisted()
    assert feed.must_resync()
    assert not feed.must_resync()


def test_a_change_wakes_the_control_loop(feed: Feed) -> None:
    found: list[Event] = []
    loop = threading.Thread(target=lambda: found.extend([next(feed.watch(0, 30, statuses=False))]))
    loop.start()
    feed.put(Change.SET, rule(1))
    loop.join(20)
    assert [event.object.version for event in found] == [1]


class Secrets:
    """A cluster whose Secret changes."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.asked = 0

    def secret(self, *_: str) -> bytes | None:
        self.asked += 1
        return self.value


def test_secrets_are_read_again_after_a_while_and_missing_ones_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    secrets = Secrets()
    feed = Feed(secrets, StatusWriter(ignore, ignore))  # type: ignore[arg-type] # only this is asked of it
    place = ("shop", "web", "token")
    assert [feed.secret(*place), feed.secret(*place)] == [None, None]
    assert secrets.asked == 1
    secrets.value = b"first"
    now[0] += MISSING_AGE
    assert feed.secret(*place) == b"first"
    secrets.value = b"second"
    now[0] += SECRET_AGE - 1
    assert feed.secret(*place) == b"first"
    now[0] += 1
    assert feed.secret(*place) == b"second"
    assert secrets.asked == 3


def test_a_kind_of_which_nothing_is_left_has_everything_looked_at_again(cluster: LocalCluster, feed: Feed) -> None:
    """Its watch was broken while the last objects went, and told nothing of the empty list with which it began anew."""
    manifest = {"apiVersion": "vedette.dev/v1alpha1", "kind": KEY.kind, "metadata": rule(1).manifest["metadata"]}
    cluster.apply(manifest, manager="x")
    feed.list(KEY.kind)

    def has_any(kind: str) -> bool:
        return bool(cluster.list(kind))

    feed.look_for_emptied(has_any)
    assert not feed.must_resync()
    cluster.delete(KEY)
    feed.look_for_emptied(has_any)
    assert feed.must_resync()
    assert feed.list(KEY.kind) == []  # as the control loop does then
    feed.look_for_emptied(has_any)
    assert not feed.must_resync()


def test_a_list_of_one_namespace_says_nothing_of_the_others(feed: Feed) -> None:
    feed.put(Change.SET, rule(1))
    feed.list(KEY.kind, "elsewhere")
    feed.put(Change.SET, rule(1))
    assert seen(feed) == [(Change.SET, 1)]
