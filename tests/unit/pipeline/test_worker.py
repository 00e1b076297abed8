"""The worker as a whole: from the queue to the store, through bundles, failures and stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import until
from tests.unit.pipeline.poison import deadly_pipeline

from vedette_backends.broker.protocol import Message
from vedette_backends.errors import UnavailableError
from vedette_backends.store.protocol import AlertFilter
from vedette_workers.pipeline import committer
from vedette_workers.pipeline.worker import now_ms
from vedette_workers.status import READY_WITHIN, Vitals

Manifest = Callable[..., str]


def test_events_and_alerts_reach_the_store(space: Any, make_source: Manifest, make_rule: Manifest) -> None:
    space.publish(space.bundle(make_source(), make_rule()))
    space.worker()
    space.send(*[b'{"event":{"action":"plain"}}'] * 99, b'{"event":{"action":"marked"}}')
    space.wait_drained()
    assert space.count() == 100
    assert space.store.search_alerts(AlertFilter()).total == 1


def test_without_a_bundle_nothing_is_consumed(space: Any, make_source: Manifest) -> None:
    space.broker.declare("events.app")
    space.send(b"{}")
    worker = space.worker()
    until(space.store.heartbeats, seconds=10, what="a heartbeat")
    assert worker.counters.totals["bytes"] == 0
    assert space.broker.stats("events.app").ready == 1
    space.publish(space.bundle(make_source()))
    space.wait_drained()
    assert space.count() == 1


def test_the_queue_of_a_new_source_is_picked_up(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source("app")))
    space.worker()
    space.send(b"{}")
    space.wait_drained()
    space.publish(space.bundle(make_source("app"), make_source("new")))
    space.send(b"{}", source="new")
    space.wait_drained("new")
    space.send(b"{}", key="k2")
    space.wait_drained("app")
    assert space.count() == 3


def test_the_queue_of_a_removed_source_keeps_what_it_holds(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source("app"), make_source("old")))
    worker = space.worker()
    space.send(b"{}", source="old")
    space.wait_drained("old")
    newest = space.publish(space.bundle(make_source("app")))
    until(lambda: worker._follower.current == newest, seconds=10, what="the new bundle")
    space.send(b"{}", source="old", key="k2")
    space.send(b"{}", key="k3")
    space.wait_drained("app")
    assert space.broker.stats("events.old").ready == 1
    assert space.letters() == []
    space.publish(space.bundle(make_source("app"), make_source("old")))
    space.wait_drained("old")
    assert space.count() == 3


def test_a_changed_rule_takes_over_while_events_go_by(space: Any, make_source: Manifest, make_rule: Manifest) -> None:
    space.publish(space.bundle(make_source(), make_rule("r", "a")))
    worker = space.worker()
    newest = space.publish(space.bundle(make_source(), make_rule("r", "b")))
    until(lambda: worker._follower.current == newest, seconds=10, what="the new bundle")
    space.send(b'{"event":{"action":"a"}}', b'{"event":{"action":"b"}}')
    space.wait_drained()
    (alert,) = space.store.search_alerts(AlertFilter()).alerts
    assert alert.body["events"][0]["document"]["event.action"] == "b"


def test_stopping_finishes_what_was_fetched(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source()))
    for number in range(40):
        space.send(*[b"{}"] * 50, key=f"k{number}", keyed=False)
    worker = space.worker()
    until(lambda: worker.counters.totals["bytes"] > 0, seconds=10, what="the first message")
    space.stop()
    stats = space.broker.stats("events.app")
    assert stats.unacked == 0
    assert space.count() == 2000 - 50 * stats.ready
    space.worker()
    space.wait_drained()
    assert space.count() == 2000


def test_a_worker_can_be_stopped_while_the_store_is_gone_and_nothing_is_lost(
    space: Any, make_source: Manifest, unavailable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("vedette_workers.pipeline.worker.MAX_EVENTS", 5)
    space.publish(space.bundle(make_source()))
    broken = unavailable(space.store, {"create_events": [UnavailableError("no space left")] * 1_000_000})
    space.worker(store=broken)
    for number in range(30):
        space.send(*[b"{}"] * 5, key=f"k{number}", keyed=False)
    until(
        lambda: any("no space left" in error for beat in space.store.heartbeats() for error in beat.body["errors"]),
        seconds=10,
        what="a heartbeat that tells",
    )
    space.stop(seconds=15)
    assert space.broker.stats("events.app").ready == 30
    space.worker()
    space.wait_drained()
    assert space.count() == 150


def test_a_message_that_is_not_ours_is_a_dead_letter_of_the_queues_source(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source()))
    space.worker()
    space.broker.publish(
        [
            Message("events.app", b"what is this", {"v": "1", "source": "other"}),
            Message("events.app", b"from the future", {"v": "99"}),
        ]
    )
    space.wait_drained()
    letters = sorted(space.letters(), key=lambda letter: letter.original)
    assert [letter.original for letter in letters] == [b"from the future", b"what is this"]
    assert {(letter.reason, letter.source) for letter in letters} == {("UnreadableMessage", "app")}


def test_an_event_that_kills_its_process_is_set_aside_and_its_neighbours_are_stored(
    space: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    space.publish(space.bundle(make_source(), make_rule()))
    space.send(b'{"n":1}', b'{"n":"segfault"}', b'{"event":{"action":"marked"}}')
    for _ in range(2):  # two workers that died with it
        consumer = space.broker.consume(["events.app"], prefetch=10)
        assert len(consumer.fetch(10, 5)) == 1
        consumer.close()
    space.worker(make=deadly_pipeline)
    space.wait_drained()
    (letter,) = space.letters()
    assert (letter.reason, letter.original) == ("Poison", b'{"n":"segfault"}')
    assert space.count() == 2
    assert space.store.search_alerts(AlertFilter()).total == 1


def test_a_bundle_that_cannot_be_read_leaves_the_old_one_in_force_and_is_reported(
    space: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    good = space.publish(space.bundle(make_source(), make_rule()))
    worker = space.worker()
    until(lambda: worker._follower.current == good, seconds=10, what="the bundle")
    space.store.set_head("bundle", space.store.put_blob(b'{"v":99}'))

    def errors() -> list[str]:
        (beat,) = space.store.heartbeats()
        return list(beat.body["errors"])

    until(errors, seconds=10, what="an error in the heartbeat")
    assert "refused" in errors()[0]
    space.send(b'{"event":{"action":"marked"}}')
    space.wait_drained()
    assert space.store.search_alerts(AlertFilter()).total == 1
    space.store.set_head("bundle", good)
    until(lambda: not errors(), seconds=10, what="the error to go")


def test_heartbeats_carry_the_bundle_and_cumulative_counters(
    space: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    digest = space.publish(space.bundle(make_source(), make_rule()))
    space.worker()
    space.send(b'{"event":{"action":"marked"}}', b"broken")
    space.wait_drained()
    space.stop()
    (beat,) = space.store.heartbeats()
    assert beat.body["role"] == "pipeline"
    assert beat.body["bundle"] == digest
    assert beat.body["counters"]["stored"] == 1
    assert beat.body["counters"]["dead_letters"] == 1
    assert beat.body["sources"]["app"]["events"] == 1
    assert beat.body["rules"]["marked"]["alerts"] == 1
    assert threading.active_count() < 20


def test_lag_is_the_age_of_what_waits_and_nothing_once_the_queue_is_empty(
    space: Any, make_source: Manifest, unavailable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "LONGEST_PAUSE", 0.1)
    space.publish(space.bundle(make_source()))
    worker = space.worker(store=unavailable(space.store, {"create_events": [UnavailableError("busy")] * 5}))
    monkeypatch.setattr(worker, "_clock", lambda: now_ms() + 60_000)

    def lag() -> int:
        return max(
            (beat.body["sources"].get("app", {}).get("lag_ms", 0) for beat in space.store.heartbeats()), default=0
        )

    space.send(b"{}")
    until(lambda: lag() >= 60_000, seconds=10, what="a lag of a minute")
    space.wait_drained()
    until(lambda: lag() == 0, seconds=10, what="no lag")


def test_a_pipeline_whose_broker_is_gone_is_not_ready_though_its_consumer_says_nothing(
    space: Any, unavailable: Any, make_source: Manifest
) -> None:
    """Between two attempts to connect again a consumer has nothing and no error, like one whose queues are empty."""
    times = [0.0]
    broker = unavailable(space.broker, {})
    space.publish(space.bundle(make_source()))
    worker = space.worker(broker=broker, vitals=Vitals(lambda: times[0]))
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready pipeline")
    broker.failures["stats"] = [UnavailableError("gone")] * 1_000_000
    until(lambda: len(broker.failures["stats"]) < 999_990, seconds=10, what="some looks")
    times[0] += READY_WITHIN + 1
    until(lambda: set(worker.vitals.unready()) == {"broker"}, seconds=10, what="an unready pipeline")
    broker.failures.clear()
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready pipeline")
