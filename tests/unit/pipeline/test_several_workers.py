"""Workers side by side on one namespace: each its part, nothing lost, nothing twice, all of them tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.errors import UnavailableError
from vedette_backends.store.protocol import AlertFilter
from vedette_workers.heartbeat import pod_worker
from vedette_workers.pipeline.worker import Settings

Manifest = Callable[..., str]


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        (Settings("shop"), {"a", "b", "c"}),
        (Settings("shop", only=frozenset({"a"})), {"a"}),
        (Settings("shop", leave=frozenset({"a", "b"})), {"c"}),
        (Settings("shop", only=frozenset({"gone"})), set()),
    ],
    ids=["all", "one", "all but two", "one that is not there"],
)
def test_which_sources_a_worker_serves(settings: Settings, served: set[str]) -> None:
    assert {source for source in "abc" if settings.wants(source)} == served


def test_a_dedicated_worker_and_the_shared_one_divide_the_sources(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source("app"), make_source("big")))
    shared = space.worker(worker="pipeline@a", leave=frozenset({"big"}))
    dedicated = space.worker(worker="pipeline@b", only=frozenset({"big"}))
    for number in range(10):
        space.send(b"{}", key=f"a{number}")
        space.send(b"{}", source="big", key=f"b{number}")
    space.wait_drained("app")
    space.wait_drained("big")
    assert {name for name, one in shared.counters.sources.items() if one.events} == {"app"}
    assert {name for name, one in dedicated.counters.sources.items() if one.events} == {"big"}
    assert space.count() == 20


def test_workers_come_and_go_in_mid_stream(space: Any, make_source: Manifest, make_rule: Manifest) -> None:
    """One, then four, then one: they share the embedded store here, which only one process could."""
    space.publish(space.bundle(make_source(), make_rule()))
    first = space.worker(worker="pipeline@0")
    for number in range(30):
        space.send(*[b"{}"] * 19, b'{"event":{"action":"marked"}}', key=f"k{number}", keyed=False)
    others = [space.worker(worker=f"pipeline@{number}") for number in (1, 2, 3)]
    for number in range(30, 60):
        space.send(*[b"{}"] * 19, b'{"event":{"action":"marked"}}', key=f"k{number}", keyed=False)
    until(lambda: any(one.counters.totals["stored"] for one in others), seconds=20, what="another worker's work")
    for one in others:
        one.stop()
    for number in range(60, 70):
        space.send(*[b"{}"] * 19, b'{"event":{"action":"marked"}}', key=f"k{number}", keyed=False)
    space.wait_drained()
    assert space.count() == 70 * 20
    assert space.store.search_alerts(AlertFilter()).total == 70
    assert space.letters() == []
    assert sum(one.counters.totals["stored"] for one in (first, *others)) == 70 * 20


def test_each_worker_has_a_heartbeat_of_its_own(space: Any, make_source: Manifest) -> None:
    head = space.publish(space.bundle(make_source()))
    for name in ("pipeline@a", "pipeline@b"):
        space.worker(worker=name)

    def loaded() -> bool:
        beats = {beat.worker: beat.body for beat in space.store.heartbeats()}
        return {name: body["bundle"] for name, body in beats.items()} == {"pipeline@a": head, "pipeline@b": head}

    until(loaded, seconds=10, what="both heartbeats")
    assert {beat.body["role"] for beat in space.store.heartbeats()} == {"pipeline"}
    assert pod_worker("pipeline").startswith("pipeline@")


def test_a_queue_that_is_not_there_yet_is_taken_up_when_it_comes(
    space: Any, make_source: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette_workers.pipeline.worker.RETRY", 0.02)
    bundle = space.bundle(make_source("app"), make_source("late"))
    space.publish(bundle)
    space.broker.delete("events.late")
    worker = space.worker()
    space.send(b"{}")
    space.wait_drained()
    assert "events.late" in worker.vitals.unready()["consuming"]
    space.broker.declare("events.late")
    space.send(b"{}", source="late", key="k2")
    space.wait_drained("late")
    assert space.count() == 2
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready worker")


def test_a_worker_is_ready_only_with_a_bundle_and_says_what_is_missing(space: Any, make_source: Manifest) -> None:
    worker = space.worker()
    until(space.store.heartbeats, seconds=10, what="a heartbeat")
    assert {"bundle", "consuming"} <= worker.vitals.unready().keys()
    space.publish(space.bundle(make_source()))
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready worker")


def test_a_namespace_without_sources_has_a_ready_worker(space: Any) -> None:
    space.publish(space.bundle())
    worker = space.worker()
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready worker")


def test_a_worker_whose_store_is_gone_is_alive_and_not_ready(
    space: Any, make_source: Manifest, unavailable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette_workers.status.READY_WITHIN", 0.3)
    monkeypatch.setattr("vedette_workers.status.LIVE_WITHIN", 5.0)
    monkeypatch.setattr("vedette_workers.pipeline.committer.LONGEST_PAUSE", 0.1)
    space.publish(space.bundle(make_source()))
    store = unavailable(space.store, {})
    worker = space.worker(store=store)
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready worker")
    store.failures |= {
        name: [UnavailableError("gone")] * 1_000_000 for name in ("create_events", "put_heartbeat", "head")
    }
    space.send(b"{}")
    until(lambda: "gone" in worker.vitals.unready().get("store", ""), seconds=10, what="an unready worker")
    assert worker.vitals.hanging() == ""
    store.failures.clear()
    space.wait_drained()
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready worker")
    assert space.count() == 1
