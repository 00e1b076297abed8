"""Many notices at a time: in order within a group, side by side among groups, each until it is done."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers import until

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_engine.alerting.notices import Notice
from vedette_workers.responder import lanes as module
from vedette_workers.responder.lanes import Lanes, Work


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    for pause in ("FIRST_PAUSE", "LONGEST_PAUSE", "AWAY_PAUSE"):
        monkeypatch.setattr(module, pause, 0.001)


@pytest.fixture
def lanes() -> Iterator[Any]:
    """Makes lanes that are closed after the test."""
    made: list[Lanes] = []

    def make(handle: Any, threads: int = 4) -> Lanes:
        made.append(Lanes(handle, threads))
        return made[-1]

    yield make
    for each in made:
        each.close()


def notice(number: int, group: str = "g", rule: str = "r") -> Notice:
    return Notice(f"{number:032x}", rule, number, group, 10)


class Handler:
    """Writes down what it is given; fails as often as it is told, and when two of a group come at once."""

    def __init__(self, failures: dict[str, list[Exception]]) -> None:
        self._failures = failures
        self._lock = threading.Lock()
        self._busy: set[tuple[str, str]] = set()
        self.done: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.clashes = 0
        self.most = 0

    def __call__(self, told: Notice) -> Exception | None:
        key = (told.rule, told.group)
        with self._lock:
            self.clashes += key in self._busy
            self._busy.add(key)
            self.most = max(self.most, len(self._busy))
            failures = self._failures.get(told.alert)
            error = failures.pop() if failures else None
            if error is None:
                self.done[key].append(told.alert)
            self._busy.discard(key)
        return error


some_errors = st.lists(st.sampled_from([UnavailableError("gone"), RefusedError("no"), ZeroDivisionError()]), max_size=2)
messages = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), some_errors), max_size=8), max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages, st.integers(1, 5))
def test_each_group_is_handled_in_order_and_each_message_is_done_once(told: list[Any], threads: int) -> None:
    expected: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    failures: dict[str, list[Exception]] = {}
    works: list[tuple[Work, list[Notice]]] = []
    for number, parts in enumerate(told):
        notices = []
        for place, (rule, group, errors) in enumerate(parts):
            one = notice(number * 100 + place, group, rule)
            failures[one.alert] = list(errors)
            expected[rule, group].append(one.alert)
            notices.append(one)
        works.append((Work(number), notices))
    handler = Handler(failures)
    lanes = Lanes(handler, threads)
    done: list[Work] = []
    try:
        for work, notices in works:
            lanes.put(work, notices)
            done += lanes.done()
        while len(done) < len(works):
            found = lanes.done(20)
            assert found, "not all messages are done"
            done += found
        assert lanes.waiting() == 0
        assert not lanes.failing
    finally:
        lanes.close()
    assert sorted(work.tag for work in done) == list(range(len(works)))
    assert handler.done == expected
    assert handler.clashes == 0


def test_groups_are_handled_side_by_side_in_no_more_threads_than_allowed(lanes: Any) -> None:
    together = threading.Barrier(3, timeout=20)
    running: list[int] = []
    most: list[int] = []

    def handle(_: Notice) -> None:
        running.append(1)
        most.append(len(running))
        together.wait()
        running.pop()

    made = lanes(handle, 3)
    made.put(Work(1), [notice(number, f"g{number}") for number in range(9)])
    assert made.done(20)
    assert max(most) <= 3


def test_a_large_group_does_not_keep_a_small_one_waiting(lanes: Any) -> None:
    handler = Handler({})
    order: list[str] = []

    def handle(told: Notice) -> Exception | None:
        order.append(told.group)
        return handler(told)

    made = lanes(handle, 1)
    made.put(Work(1), [*(notice(number, "large") for number in range(100)), notice(200, "small")])
    assert made.done(20)
    assert order.index("small") <= 2


def test_what_fails_holds_up_its_own_group_only_and_is_told(lanes: Any) -> None:
    mended = threading.Event()
    done: list[str] = []

    def handle(told: Notice) -> Exception | None:
        if told.group == "bad" and not mended.is_set():
            return RefusedError("a policy says no")
        done.append(told.alert)
        return None

    made = lanes(handle)
    bad, good = Work(1), Work(2)
    made.put(bad, [notice(1, "bad"), notice(2, "bad")])
    made.put(good, [notice(3, "good")])
    assert made.done(20) == [good]
    until(lambda: made.failing, seconds=10, what="a failure")
    assert made.waiting() == 2
    mended.set()
    assert made.done(20) == [bad]
    assert done[1:] == [notice(1).alert, notice(2).alert]
    assert not made.failing


def test_while_a_backend_is_away_the_others_are_not_tried_either(lanes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AWAY_PAUSE", 3600)
    monkeypatch.setattr(module, "FIRST_PAUSE", 3600)
    tried: list[Notice] = []

    def handle(told: Notice) -> Exception | None:
        tried.append(told)
        return UnavailableError("gone")

    made = lanes(handle, 1)
    made.put(Work(1), [notice(number, f"g{number}") for number in range(5)])
    until(lambda: made.failing, seconds=10, what="a failure")
    assert made.done(0.1) == []
    assert len(tried) == 1


def test_closing_finishes_what_is_at_hand_and_begins_nothing(lanes: Any) -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def handle(told: Notice) -> None:
        begun.set()
        assert go_on.wait(20)
        done.append(told.alert)

    made = lanes(handle, 1)
    made.put(Work(1), [notice(1), notice(2)])
    assert begun.wait(20)
    closing = threading.Thread(target=made.close)
    closing.start()
    go_on.set()
    closing.join(20)
    assert done == [notice(1).alert]
    assert made.waiting() == 1
    assert made.done() == []


def test_how_long_the_slowest_notice_takes_is_told(lanes: Any) -> None:
    go_on = threading.Event()

    def handle(_: Notice) -> None:
        assert go_on.wait(20)

    made = lanes(handle)
    assert made.longest == 0
    made.put(Work(1), [notice(1)])
    until(lambda: made.longest > 0.01, seconds=10, what="some time to pass")
    go_on.set()
    assert made.done(20)
    assert made.longest == 0


def test_a_message_without_notices_is_done_at_once(lanes: Any) -> None:
    made = lanes(Handler({}))
    work = Work(7, refused="it is none of ours")
    made.put(work, [])
    assert made.done(20) == [work]
