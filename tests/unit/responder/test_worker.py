"""The worker as a whole: from the queue of notices to incidents, through failures and stops."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Message
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.responder import worker as module
from vedette_workers.responder.together import Together
from vedette_workers.responder.worker import ResponderWorker, Settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(module, "IDLE", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)


def test_notices_become_incidents(desk: Any) -> None:
    desk.worker()
    told = [desk.alert(number, ip=f"192.0.2.{number % 2}") for number in range(6)]
    desk.tell(*told)
    desk.wait()
    assert len(desk.incidents()) == 2
    assert all(desk.incident_of(notice) for notice in told)


def test_a_message_that_is_none_of_ours_is_set_aside_and_the_others_go_on(desk: Any) -> None:
    desk.broker.declare(ALERT_QUEUE, single_active_consumer=True)
    desk.broker.publish(
        [
            Message(ALERT_QUEUE, b"what is this", {"v": "1", "kind": "alerts"}),
            Message(ALERT_QUEUE, b"[]", {"v": "99", "kind": "alerts"}),
            Message(ALERT_QUEUE, b'[["a","r",0,"g",true]]', {"v": "1", "kind": "alerts"}),
        ]
    )
    worker = desk.worker()
    notice = desk.alert(1)
    desk.tell(notice)
    desk.wait()
    assert desk.incident_of(notice)
    assert desk.broker.stats(f"{ALERT_QUEUE}.dead").ready == 3
    assert worker.responder.counters["rejected"] == 3


@pytest.mark.parametrize("error", [UnavailableError("gone"), ZeroDivisionError()], ids=["backend", "fault of ours"])
def test_while_something_fails_notices_are_kept_and_it_is_told(desk: Any, broken: Any, error: Exception) -> None:
    cluster = broken(desk.cluster, {"create": [error] * 1_000_000})
    worker = desk.worker(cluster=cluster)
    notice = desk.alert(1)
    desk.tell(notice)

    def told() -> bool:
        return any(notice.alert in problem for beat in desk.store.heartbeats() for problem in beat.body["errors"])

    until(told, seconds=10, what="a heartbeat that tells")
    assert desk.broker.stats(ALERT_QUEUE).unacked == 1
    cluster.failures.clear()
    desk.wait()
    assert desk.incident_of(notice)
    assert worker.responder.counters["failures"] > 0
    until(lambda: not told(), seconds=10, what="the problem to be over")


def test_an_alert_that_cannot_have_an_incident_now_does_not_hold_up_the_others(desk: Any, broken: Any) -> None:
    bad, good = desk.alert(1), desk.alert(2, ip="198.51.100.9")
    cluster = broken(desk.cluster, {})

    def create(manifest: Any, *, manager: str) -> Any:
        if bad.alert in manifest["metadata"]["annotations"].values():
            raise RefusedError("a policy says no")
        return desk.cluster.create(manifest, manager=manager)

    cluster.create = create
    desk.worker(cluster=cluster)
    desk.tell(bad)
    desk.tell(good)
    until(lambda: desk.incident_of(good), seconds=10, what="the other incident")
    assert desk.incident_of(bad) == ""
    assert desk.broker.stats(ALERT_QUEUE).unacked == 1


def test_what_was_not_done_when_a_responder_stops_is_done_by_the_next(desk: Any, broken: Any) -> None:
    told = [desk.alert(number, ip=f"192.0.2.{number}") for number in range(5)]
    desk.worker(cluster=broken(desk.cluster, {"create": [UnavailableError("gone")] * 1_000_000}))
    desk.tell(*told)
    until(lambda: desk.broker.stats(ALERT_QUEUE).unacked, seconds=10, what="a delivery")
    desk.stop()
    assert desk.incidents() == []
    desk.worker()
    desk.wait()
    assert len({desk.incident_of(notice) for notice in told}) == 5


def test_of_two_responders_one_works_and_the_other_takes_over(desk: Any) -> None:
    first = desk.worker()
    one = desk.alert(1)
    desk.tell(one)
    desk.wait()
    second = desk.worker()
    other = desk.alert(2, ip="198.51.100.9")
    desk.tell(other)
    desk.wait()
    assert second.responder.counters["notices"] == 0
    first.stop()
    third = desk.alert(3, ip="203.0.113.1")
    desk.tell(third)
    desk.wait()
    assert second.responder.counters["notices"] >= 1
    assert len(desk.incidents()) == 3


def test_a_responder_is_ready_once_it_consumes_and_its_backends_answered(desk: Any) -> None:
    worker = desk.worker()
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready responder")
    assert worker.vitals.hanging() == ""


def test_one_that_fails_ends_all_in_its_process(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [
        ResponderWorker(Settings(name, worker=name), desk.store, desk.broker, desk.cluster) for name in ("a", "b")
    ]
    monkeypatch.setattr(workers[0], "_begin", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Together(workers).run()
