"""A scheduler that dies at any moment, and two at a time: nothing is alerted twice, nothing is missing."""

from __future__ import annotations

from typing import Any

import pytest

from vedette_backends.errors import ConflictError, UnavailableError
from vedette_workers.scheduler import round as module
from vedette_workers.scheduler.state import GONE_AFTER

INCIDENT = {"groupBy": ["source.ip"], "within": 3_600_000}
EXPECTED = [0, 1, 40]


def busy(desk: Any, name: str) -> Any:
    """A rule with events that come to three alerts, of which one has two windows."""
    marker = f"case-{name}"
    rule = desk.rule(name, query=f"labels.case:{marker}", incident=INCIDENT, least=2, window=5)
    desk.look(rule)
    desk.send(-1, 0, 1, 39, 40, **{"labels.case": marker})
    desk.send(0, 1, ip="192.0.2.8", **{"labels.case": marker})
    return rule


def calls_of_a_round(desk: Any, fragile: Any) -> list[str]:
    """What a round asks store and broker for, in order."""
    desk.notices()  # declares the queue, once and for all
    watched = fragile()
    desk.look(busy(desk, "calls"), desk.rounds(watched))
    return list(watched.calls)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_loses_and_doubles_nothing(
    desk: Any, fragile: Any, crash: type[Exception], monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 2)
    calls = calls_of_a_round(desk, fragile)
    assert {"groups", "put_record", "create_alerts", "publish", "search_events"} <= set(calls)
    desk.notices()
    for at, name in enumerate(calls):
        rule = busy(desk, f"at-{at}")
        with pytest.raises(crash):
            desk.look(rule, desk.rounds(fragile(at, late=late)))
        desk.look(rule)
        assert desk.minutes(rule.name) == EXPECTED, f"{name}, call {at}"
        told = {notice.alert for notice in desk.notices() if notice.rule == rule.name}
        assert told == {alert.id for alert in desk.alerts(rule.name)}, f"{name}, call {at}"
        assert desk.state(rule.name).pending == []


def test_a_crash_in_the_very_first_round_changes_nothing(desk: Any, fragile: Any, crash: type[Exception]) -> None:
    for at in range(4):
        rule = desk.rule(f"first-{at}", query=f"labels.case:first-{at}")
        desk.send(0, **{"labels.case": f"first-{at}"})
        with pytest.raises(crash):
            desk.look(rule, desk.rounds(fragile(at)))
        desk.look(rule)
        assert desk.minutes(rule.name) == [0]


def test_what_a_scheduler_drew_up_is_written_by_the_next_though_the_rule_has_changed(
    desk: Any, fragile: Any, crash: type[Exception]
) -> None:
    rule = busy(desk, "changed")
    calls = calls_of_a_round(desk, fragile)
    with pytest.raises(crash):
        desk.look(rule, desk.rounds(fragile(calls.index("create_alerts"))))
    drawn_up = {pending.alert.id for pending in desk.state("changed").pending}
    assert drawn_up
    changed = desk.rule("changed", query="labels.case:nothing", version="2")
    desk.look(changed)
    assert {alert.id for alert in desk.alerts("changed")} == drawn_up


def test_while_the_broker_is_down_the_alerts_wait_to_be_told(desk: Any) -> None:
    class Down:
        def __init__(self) -> None:
            self.down = True

        def publish(self, messages: Any) -> None:
            if self.down:
                raise UnavailableError("RabbitMQ is away")
            desk.broker.publish(messages)

        def __getattr__(self, name: str) -> Any:
            return getattr(desk.broker, name)

    broker = Down()
    rule = busy(desk, "silent")
    rounds = module.Rounds("shop", desk.store, broker, lambda: desk.now, 2000, lambda: None)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            desk.look(rule, rounds)
        assert len(desk.state("silent").pending) == 3
    broker.down = False
    desk.look(rule, rounds)
    assert desk.minutes("silent") == EXPECTED
    assert len({notice.alert for notice in desk.notices()}) == 3


def test_of_two_schedulers_one_is_faster_and_the_other_begins_anew(desk: Any) -> None:
    """The second one does a whole round at each of the moments at which the first one breathes."""
    steps = iter(range(1000))
    rule = busy(desk, "steps")
    desk.look(rule, desk.rounds(breathe=lambda: next(steps)))
    moments = next(steps)
    assert moments >= 4
    conflicts = 0
    for moment in range(moments):
        rule = busy(desk, f"moment-{moment}")
        left = iter(range(moment, -1, -1))

        def meanwhile(rule: Any = rule, left: Any = left) -> None:
            if next(left, None) == 0:
                desk.look(rule)

        first = desk.rounds(breathe=meanwhile)
        try:
            desk.look(rule, first)
        except ConflictError:
            conflicts += 1
            desk.look(rule, first)
        assert desk.minutes(rule.name) == EXPECTED, f"moment {moment}"
        assert desk.state(rule.name).pending == []
    assert conflicts


# rules that go and come ----------------------------------------------------------------------------------------------
def test_a_rule_that_comes_back_soon_goes_on_where_it_was(desk: Any) -> None:
    rule, rounds = desk.rule(), desk.rounds()
    desk.look(rule, rounds)
    desk.send(0)
    desk.look(rule, rounds)
    assert rounds.retire("guesses")
    assert desk.state().gone == desk.now
    desk.passes(30)
    desk.send(1, 30)
    desk.look(rule, rounds)
    assert desk.minutes() == [0, 30]
    assert desk.state().gone is None


def test_a_rule_that_comes_back_after_days_begins_anew(desk: Any) -> None:
    rule, rounds = desk.rule(), desk.rounds()
    desk.look(rule, rounds)
    desk.send(0)
    desk.look(rule, rounds)
    rounds.retire("guesses")
    desk.send(100)
    desk.now += GONE_AFTER + 1
    rounds.retire("guesses")
    assert desk.state().groups == {}
    desk.send(3000)
    figures = desk.look(rule, rounds)
    assert desk.minutes() == [0, 3000]
    assert figures.matches == 1


def test_alerts_that_were_drawn_up_for_a_rule_that_is_gone_are_written_all_the_same(
    desk: Any, fragile: Any, crash: type[Exception]
) -> None:
    rule = busy(desk, "gone")
    calls = calls_of_a_round(desk, fragile)
    with pytest.raises(crash):
        desk.look(rule, desk.rounds(fragile(calls.index("create_alerts"))))
    assert desk.rounds().retire("gone")
    assert desk.minutes("gone") == EXPECTED


def test_of_a_rule_that_never_ran_nothing_is_noted(desk: Any) -> None:
    assert not desk.rounds().retire("unknown")
    assert desk.rounds().remembered() == []


def test_a_round_that_is_left_in_the_middle_is_begun_again(desk: Any, crash: type[Exception]) -> None:
    rule = busy(desk, "left")
    breaths = iter(range(3))

    def breathe() -> None:
        if next(breaths, None) is None:
            raise crash

    rounds = desk.rounds(breathe=breathe)
    with pytest.raises(crash):
        desk.look(rule, rounds)
    desk.look(rule)
    assert desk.minutes("left") == EXPECTED
