"""What a round makes of what was stored: alerts once, whatever comes late, and however much of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_backends.store.protocol import ItemResult, Outcome
from vedette_engine.alerting.search_alerts import build_alert
from vedette_engine.alerting.searches import SearchSpec, Seen, naive_intervals
from vedette_workers.scheduler import reading, state
from vedette_workers.scheduler import round as module
from vedette_workers.scheduler.figures import Figures

START = 1_795_000_000_000
MINUTE = 60_000
MINUTES = st.integers(0, 90)


# meaning -------------------------------------------------------------------------------------------------------------
def test_events_that_share_windows_are_one_alert_and_one_after_a_pause_is_another(desk: Any) -> None:
    rule = desk.rule()
    rounds = desk.rounds()
    desk.look(rule, rounds)
    for at in (0, 5, 10, 31.5):
        desk.send(at)
        desk.passes(1)
        desk.look(rule, rounds)
    assert desk.minutes() == [0, 31.5]


def test_each_group_is_judged_by_itself(desk: Any) -> None:
    rule = desk.rule(least=3)
    desk.look(rule)
    desk.send(0, 1, 2)
    desk.send(0, 1, ip="192.0.2.8")
    desk.send(3, ip="192.0.2.9")
    desk.look(rule)
    (alert,) = desk.alerts()
    assert alert.time == START + 2 * MINUTE
    assert alert.body["detection"]["group"] == {"source.ip": "192.0.2.7"}


def test_an_alert_says_what_was_counted_where_and_shows_the_events(desk: Any) -> None:
    rule = desk.rule(
        least=2,
        distinct=("user.name", 2),
        title="Guessed passwords",
        summary="{source.ip} tried {user.name} ({count} times)",
        owner="ana",
        runbook="https://run.example/guess",
        tags=["attack.t1110"],
    )
    desk.look(rule)
    desk.send(0, 1)
    opening = desk.send(2, **{"user.name": "oracle"})[0]
    desk.send(3, **{"user.name": "later"})
    desk.look(rule)
    (alert,) = desk.alerts()
    assert alert.title == "Guessed passwords"
    assert alert.summary == "192.0.2.7 tried root, oracle (3 times)"
    assert (alert.severity, alert.time, alert.raised) == ("high", START + 2 * MINUTE, desk.now)
    detection = alert.body["detection"]
    assert detection["kind"] == "search"
    assert (detection["count"], detection["distinct"]) == (3, {"field": "user.name", "count": 2})
    assert detection["window"] == {"start": START - 18 * MINUTE, "end": START + 2 * MINUTE}
    assert (detection["owner"], detection["runbook"]) == ("ana", "https://run.example/guess")
    assert [event["time"] for event in alert.body["events"]] == [START, START + MINUTE, START + 2 * MINUTE]
    assert alert.body["events"][-1]["id"] == opening


def test_the_responder_is_told_of_alerts_whose_rule_opens_incidents(desk: Any) -> None:
    auto = desk.rule(incident={"groupBy": ["source.ip"], "within": 3_600_000})
    desk.look(auto)
    quiet = desk.rule("quiet")
    desk.look(quiet)
    desk.send(0)
    desk.look(auto)
    desk.look(quiet)
    (alert,) = desk.alerts()
    (notice,) = desk.notices()
    assert (notice.alert, notice.rule, notice.time, notice.within) == (alert.id, "guesses", START, 3_600_000)
    assert notice.group == '["192.0.2.7"]'
    assert len(desk.alerts("quiet")) == 1


def test_a_new_rule_looks_one_window_back_and_no_further(desk: Any) -> None:
    desk.send(0)
    desk.passes(30)
    desk.send(30)
    desk.passes(1)
    desk.look(desk.rule(window=20))
    assert desk.minutes() == [30]


def test_what_has_not_settled_is_looked_at_in_the_next_round(desk: Any) -> None:
    rule, rounds = desk.rule(), desk.rounds()
    desk.look(rule, rounds)
    desk.send(0)
    rounds.run(desk.scheduled(rule), Figures())
    assert desk.alerts() == []
    desk.look(rule, rounds)
    assert desk.minutes() == [0]


def test_a_round_after_a_round_adds_nothing(desk: Any) -> None:
    rule = desk.rule()
    desk.look(rule)
    desk.send(0, 50)
    desk.look(rule)
    before = desk.alerts()
    for _ in range(3):
        desk.passes(1)
        desk.look(rule)
    assert desk.alerts() == before


# what comes late -----------------------------------------------------------------------------------------------------
def test_a_late_event_joins_the_alert_of_its_time(desk: Any) -> None:
    rule = desk.rule()
    desk.look(rule)
    desk.send(10)
    desk.look(rule)
    desk.passes(300)
    desk.send(5, 29)
    desk.look(rule)
    assert desk.minutes() == [10]
    ((stretch,),) = desk.state().groups.values()
    assert (stretch.start, stretch.end) == (START + 5 * MINUTE, START + 49 * MINUTE)


def test_a_late_event_that_joins_two_alerts_makes_no_third(desk: Any) -> None:
    rule = desk.rule()
    desk.look(rule)
    desk.send(0, 30)
    desk.look(rule)
    assert desk.minutes() == [0, 30]
    desk.send(15)
    desk.look(rule)
    assert desk.minutes() == [0, 30]
    (stretches,) = desk.state().groups.values()
    assert len(stretches) == 1


def test_a_source_whose_clock_is_days_behind_alerts_once(desk: Any) -> None:
    rule = desk.rule(least=2)
    desk.look(rule)
    for at in range(6):
        desk.send(at - 10_000, at - 10_000 + 0.5)
        desk.passes(1)
        desk.look(rule)
    assert desk.minutes() == [-9999.5]


def test_another_version_of_the_rule_keeps_what_was_alerted(desk: Any) -> None:
    rounds = desk.rounds()
    desk.look(desk.rule(), rounds)
    desk.send(0)
    desk.look(desk.rule(), rounds)
    desk.send(1)
    changed = desk.rule(version="2", least=2, query="event.action:tr*")
    desk.look(changed, rounds)
    assert desk.minutes() == [0]
    assert desk.state().spec == SearchSpec.from_json(changed.search).hash


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrivals=st.lists(st.lists(st.tuples(MINUTES, st.sampled_from("ab")), max_size=6), min_size=1, max_size=5),
    least=st.integers(1, 3),
    window=st.integers(1, 20),
)
def test_in_any_order_of_arrival_each_interval_has_its_alert(
    desk: Any, arrivals: list[list[tuple[int, str]]], least: int, window: int
) -> None:
    case = f"case-{desk._events}-{desk.now}"
    query = f'labels.case:"{case}"'
    rule, rounds = desk.rule(case, query=query, by=("labels.group",), least=least, window=window), desk.rounds()
    desk.look(rule, rounds)
    seen: dict[str, list[Seen]] = {"a": [], "b": []}
    for batch in arrivals:
        for at, group in batch:
            (event_id,) = desk.send(at, **{"labels.case": case, "labels.group": group})
            seen[group].append(Seen(START + at * MINUTE, event_id))
        desk.look(rule, rounds)
    spec = SearchSpec.from_json(rule.search)
    for group, events in seen.items():
        final = naive_intervals(spec, events)
        opened = [a.time for a in desk.alerts(case) if a.body["detection"]["group"] == {"labels.group": group}]
        of_each = [[time for time in opened if one.start <= time < one.end] for one in final]
        assert sum(map(len, of_each)) == len(opened)
        assert all(of_each)
        if len(arrivals) == 1:
            assert of_each == [[one.start] for one in final]
    before = desk.alerts(case)
    desk.look(rule)
    assert desk.alerts(case) == before


# much of it ----------------------------------------------------------------------------------------------------------
def test_who_was_away_for_hours_catches_up_in_steps(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIDE", 30 * MINUTE)
    rule = desk.rule(window=5)
    desk.look(rule)
    for at in range(0, 180, 20):
        desk.send(at)
        desk.passes(20)
    figures = desk.look(rule)
    assert desk.minutes() == list(range(0, 180, 20))
    assert figures.rounds >= 6
    assert figures.matches == 9
    assert figures.checkpoint == desk.now - 2000


def test_more_events_of_a_group_than_a_round_reads_are_counted_and_told(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_EVENTS", 10)
    rule = desk.rule(least=5)
    desk.look(rule)
    desk.send(*(0.01 * number for number in range(11)))
    desk.send(1, ip="192.0.2.8")
    figures = desk.look(rule)
    assert len(desk.alerts()) == 1
    assert figures.truncated == 1
    assert "not looked at" in figures.note
    desk.passes(60)
    assert desk.look(rule, figures=figures).note == ""


def test_events_of_strange_times_keep_nobody_from_seeing_the_others(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_EVENTS", 10)
    rule = desk.rule(least=3, window=5)
    desk.look(rule)
    desk.send(*(-1_000_000 + 10 * number for number in range(30)))
    desk.send(*(1_000_000 + 10 * number for number in range(30)))
    desk.send(0, 1, 2)
    figures = desk.look(rule)
    assert desk.minutes() == [2]
    assert figures.truncated == 1


def test_more_groups_than_can_be_told_at_once_are_looked_at_in_smaller_steps(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_GROUPS", 2)
    rule = desk.rule()
    desk.look(rule)
    for number in range(6):
        desk.send(number, ip=f"192.0.2.{number}")
        desk.now += 2000
    figures = desk.look(rule)
    assert len(desk.alerts()) == 6
    assert figures.truncated == 0
    for number in range(6):
        desk.send(number, ip=f"198.51.100.{number}")
    assert desk.look(rule).truncated == 1


def test_groups_that_have_too_few_events_are_not_read(desk: Any, fragile: Any) -> None:
    rule = desk.rule(least=3)
    desk.look(rule)
    for number in range(10):
        desk.send(number, number + 0.5, ip=f"192.0.2.{number}")
    desk.send(40, 41, 42, ip="198.51.100.1")
    watched = fragile()
    desk.look(rule, desk.rounds(watched))
    assert watched.calls.count("search_events") == 1
    assert desk.minutes() == [42]


def test_events_of_earlier_rounds_count_where_the_number_of_groups_is_large(desk: Any) -> None:
    rule, rounds = desk.rule(least=2), desk.rounds()
    desk.look(rule, rounds)
    for at in (0, 5):
        for number in range(10):
            desk.send(at, ip=f"192.0.2.{number}")
        desk.look(rule, rounds)
    assert desk.minutes() == [5] * 10


def test_many_alerts_of_one_round_are_remembered_a_few_at_a_time(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 2)
    rule = desk.rule(incident={"groupBy": [], "within": 1})
    desk.look(rule)
    for number in range(7):
        desk.send(number, ip=f"192.0.2.{number}")
    figures = desk.look(rule)
    assert len(desk.alerts()) == figures.alerts == 7
    assert {notice.alert for notice in desk.notices()} == {alert.id for alert in desk.alerts()}
    assert desk.state().pending == []


def test_a_rule_that_alerts_all_too_often_says_so(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST", 3)
    rule = desk.rule()
    desk.look(rule)
    for number in range(5):
        desk.send(number, ip=f"192.0.2.{number}")
    figures = desk.look(rule)
    assert len(desk.alerts()) == 5
    assert figures.forgotten == 2
    assert "raise some of them again" in figures.note
    assert desk.look(rule, figures=figures).note == ""


def test_rounds_in_which_nothing_happens_write_next_to_nothing(desk: Any, fragile: Any) -> None:
    watched = fragile()
    rule, rounds = desk.rule(), desk.rounds(watched)
    desk.look(rule, rounds)
    watched.calls.clear()
    for _ in range(10):
        desk.passes(1)
        desk.look(rule, rounds)
    assert watched.calls.count("put_record") == 2
    assert desk.now - desk.state().checkpoint < module.SAVE_EVERY + 2000


def test_a_group_that_cannot_be_judged_does_not_hold_up_the_others(
    desk: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def choke(rule: Any, namespace: str, spec: Any, group: Any, *rest: Any) -> Any:
        if group == ("192.0.2.8",):
            raise ValueError("what is this")
        return build_alert(rule, namespace, spec, group, *rest)

    rule = desk.rule()
    desk.look(rule)
    for number in (7, 8, 9):
        desk.send(number, ip=f"192.0.2.{number}")
    with monkeypatch.context() as patched:
        patched.setattr(module, "build_alert", choke)
        figures = desk.look(rule)
    assert desk.minutes() == [7, 9]
    assert figures.skipped == 1
    assert "left out" in figures.note
    assert "what is this" in caplog.text
    # What was not alerted is not taken for alerted either.
    desk.send(8.5, ip="192.0.2.8")
    assert desk.look(rule, figures=figures).note == ""
    assert desk.minutes() == [7, 8, 9]


def test_events_may_claim_any_time_that_a_calendar_has(desk: Any) -> None:
    rule = desk.rule()
    desk.look(rule)
    for year, moment in ((1, -62_135_596_800_000), (9999, 253_402_300_799_999)):
        desk.send((moment - START) / MINUTE, ip="192.0.2.8")
        desk.send((moment - START) / MINUTE, ip=f"192.0.2.{year % 100}")
    desk.send(1, ip="192.0.2.8")
    figures = desk.look(rule)
    assert (figures.skipped, figures.truncated) == (0, 0)
    assert len(desk.alerts()) == 5


def test_an_alert_that_the_store_cannot_hold_is_counted_and_does_not_stop_the_rule(desk: Any) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(desk.store, name)

        def create_alerts(self, alerts: Any) -> list[ItemResult]:
            return [ItemResult(Outcome.REJECTED, "too strange")] * len(alerts)

    rule, rounds = desk.rule(), desk.rounds(store=Refusing())
    desk.look(rule, rounds)
    desk.send(0)
    figures = desk.look(rule, rounds)
    assert (figures.rejected, figures.alerts) == (1, 0)
    assert desk.state().pending == []
