"""The worker as a whole: from the queue of notices to incidents, through failures and stops."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Message
from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.responder import lanes
from vedette_workers.responder import worker as module
from vedette_workers.responder.rate import Limit
from vedette_workers.responder.worker import ResponderWorker, Settings
from vedette_workers.status import LIVE_WITHIN, READY_WITHIN, Vitals
from vedette_workers.together import Together


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(module, "IDLE", 0.02)
    monkeypatch.setattr(module, "SETTLE_AGAIN", 0.02)
    for pause, seconds in (("FIRST_PAUSE", 0.01), ("LONGEST_PAUSE", 0.05), ("AWAY_PAUSE", 0.05)):
        monkeypatch.setattr(lanes, pause, seconds)


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
    until(lambda: desk.broker.stats(ALERT_QUEUE).unacked == 1, seconds=10, what="one message that is left")
    assert desk.incident_of(bad) == ""


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


class Later:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def held_up(desk: Any, broken: Any) -> Iterator[tuple[Any, threading.Event]]:
    """A cluster in which nothing is created until the event is set, which the end of the test does."""
    go_on = threading.Event()
    cluster = broken(desk.cluster, {})

    def create(manifest: Any, *, manager: str) -> Any:
        assert go_on.wait(20)
        return desk.cluster.create(manifest, manager=manager)

    cluster.create = create
    yield cluster, go_on
    go_on.set()


def test_a_responder_that_has_much_to_do_stays_ready(
    desk: Any, held_up: tuple[Any, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PREFETCH", 1)
    cluster, go_on = held_up
    clock = Later()
    worker = desk.worker(cluster=cluster, vitals=Vitals(clock))
    told = [desk.alert(number, ip=f"192.0.2.{number}") for number in range(20)]
    for notice in told:
        desk.tell(notice)
    until(lambda: desk.broker.stats(ALERT_QUEUE).unacked == 1, seconds=10, what="no room for more")
    for _ in range(3):
        clock.now += READY_WITHIN + 1
        until(lambda: not worker.vitals.unready(), seconds=10, what="a ready responder")
    assert worker.vitals.hanging() == ""
    go_on.set()
    desk.wait()
    assert all(desk.incident_of(notice) for notice in told)


def test_a_responder_whose_broker_is_gone_is_not_ready(desk: Any, broken: Any) -> None:
    broker = broken(desk.broker, {})
    clock = Later()
    worker = desk.worker(broker=broker, vitals=Vitals(clock))
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready responder")
    broker.failures["stats"] = [UnavailableError("gone")] * 1_000_000
    until(lambda: len(broker.failures["stats"]) < 999_990, seconds=10, what="some looks")
    clock.now += READY_WITHIN + 1
    until(lambda: set(worker.vitals.unready()) == {"broker"}, seconds=10, what="an unready responder")
    broker.failures.clear()
    until(lambda: not worker.vitals.unready(), seconds=10, what="a ready responder")


def test_a_responder_that_hangs_in_a_notice_is_not_alive_and_one_that_waits_is(
    desk: Any, held_up: tuple[Any, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, go_on = held_up
    clock = Later()
    worker = desk.worker(cluster=cluster, vitals=Vitals(clock))
    for _ in range(3):
        clock.now += LIVE_WITHIN + 1
        until(lambda: not worker.vitals.hanging(), seconds=10, what="a sign of life")
    monkeypatch.setattr(module, "STUCK", 1e-9)
    desk.tell(desk.alert(1))
    until(lambda: desk.broker.stats(ALERT_QUEUE).unacked, seconds=10, what="a delivery")

    def silent() -> bool:
        clock.now += LIVE_WITHIN + 1
        return bool(worker.vitals.hanging())

    until(silent, seconds=10, what="a responder that hangs")
    go_on.set()
    desk.wait()
    until(lambda: not worker.vitals.hanging(), seconds=10, what="a sign of life")


def test_a_group_that_takes_long_does_not_hold_up_others(desk: Any, broken: Any) -> None:
    slow = desk.alert(1)
    quick = [desk.alert(10 + number, rule="other", ip=f"198.51.100.{number}") for number in range(10)]
    go_on = threading.Event()
    cluster = broken(desk.cluster, {})

    def create(manifest: Any, *, manager: str) -> Any:
        if slow.alert in manifest["metadata"]["annotations"].values():
            assert go_on.wait(20)
        return desk.cluster.create(manifest, manager=manager)

    cluster.create = create
    desk.worker(cluster=cluster)
    desk.tell(slow, *quick)
    until(lambda: all(map(desk.incident_of, quick)), seconds=10, what="the others' incidents")
    assert desk.incident_of(slow) == ""
    go_on.set()
    desk.wait()
    assert desk.incident_of(slow)


def attempt(responder: Any, notice: Any) -> Exception | None:
    """As the worker does it."""
    try:
        responder.handle(notice)
    except BackendError as error:
        return error
    return None


@pytest.mark.parametrize("most", [5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_two_busy_responders_open_one_incident_per_group_and_none_beyond_the_limit(
    desk: Any, seed: int, most: int
) -> None:
    """Both get every notice, as after a pause that one was taken for dead in; each handles many at a time."""
    dice = random.Random(seed)
    told = [desk.alert(number, ip=f"192.0.2.{dice.randrange(9)}") for number in range(60)]
    responders = [desk.responder(limit=Limit(most, 3_600_000)) for _ in range(2)]
    both = [lanes.Lanes(functools.partial(attempt, one), 4) for one in responders]
    for each in both:
        dice.shuffle(told)
        each.put(lanes.Work(1), told)
    for each in both:
        assert each.done(30)
        each.close()
    assert sorted({desk.incident_of(notice) for notice in told}) == [one.key.name for one in desk.incidents()]
    assert sum(one.counters["linked"] for one in responders) == 60
    assert len(desk.incidents()) == 9 if most == 20 else len(desk.incidents()) <= most
    if most == 20:
        assert len({(notice.group, desk.incident_of(notice)) for notice in told}) == 9


@pytest.mark.parametrize("threads", [1, 8])
def test_a_busy_responder_opens_exactly_as_many_as_the_limit_allows(desk: Any, threads: int) -> None:
    responder = desk.responder(limit=Limit(5, 3_600_000))
    told = [desk.alert(number, rule=f"rule-{number % 2}", ip=f"192.0.2.{number % 18}") for number in range(72)]
    made = lanes.Lanes(functools.partial(attempt, responder), threads)
    made.put(lanes.Work(1), told)
    assert made.done(30)
    made.close()
    opened = [one.manifest["metadata"]["labels"]["vedette.dev/rule"] for one in desk.incidents()]
    assert sorted(opened) == ["rule-0"] * 5 + ["rule-1"] * 5
    assert all(desk.incident_of(notice) for notice in told)
    assert responder.counters["limited"] == 72 - 2 * 5 * 4
    assert responder.counters["failures"] == 0


def test_one_that_fails_ends_all_in_its_process(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [
        ResponderWorker(Settings(name, worker=name), desk.store, desk.broker, desk.cluster) for name in ("a", "b")
    ]
    monkeypatch.setattr(workers[0], "_begin", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Together(workers).run()
