"""Whether a search can be run, and its tests: timelines played in rounds."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vedette_crds.alertrule import AlertRuleSpec, Search
from vedette_engine.alerting import ruletests
from vedette_engine.alerting.ruletests import run_rule_tests
from vedette_engine.alerting.search_rules import check_search, describe
from vedette_engine.alerting.search_timeline import Occurrence, Timelines, TooLongError
from vedette_engine.alerting.searches import Limits, SearchSpec, Seen, fresh, intervals
from vedette_engine.testing import TestResult

GOOD: dict[str, Any] = {
    "query": "event.action:ssh_login AND event.outcome:failure",
    "window": "10m",
    "groupBy": ["source.ip"],
    "condition": {"distinct": {"field": "user.name", "gte": 3}},
}
FAILED = {"event.action": "ssh_login", "event.outcome": "failure", "source.ip": "192.0.2.7"}


def problems(**changes: Any) -> list[tuple[str, str]]:
    _, found = check_search(Search.model_validate({**GOOD, **changes}))
    return [(problem.path.removeprefix("spec.search."), problem.message) for problem in found]


def test_a_good_search_has_no_problems() -> None:
    assert problems() == []
    assert problems(query="*", groupBy=["vedette.source", "message", "x.y", "source.port"]) == []


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"query": "a:(b"}, "query", "too early"),
        ({"query": "a AND"}, "query", "character"),
        ({"query": "a~2"}, "query", ""),
        ({"query": "source.port:abc"}, "query", "numbers"),
        ({"query": "a OR NOT @timestamp:[2026 TO *]"}, "query", "asks for @timestamp"),
        ({"query": "event.ingested:*"}, "query", "asks for event.ingested"),
        ({"query": "vedette.stored:2026"}, "query", "asks for vedette.stored"),
        ({"groupBy": ["@timestamp"]}, "groupBy[0]", "date"),
        ({"groupBy": ["a", "host.cpu.usage"]}, "groupBy[1]", "float"),
        ({"groupBy": ["a", "a"]}, "groupBy[1]", "twice"),
        ({"condition": {"distinct": {"field": "file.created", "gte": 1}}}, "condition.distinct.field", "date"),
        ({"condition": {"count": {"gte": 0}}}, "condition.count.gte", "any number"),
        ({"condition": {"count": {"gt": -1}}}, "condition.count.gt", "any number"),
        ({"condition": {"count": {"gte": 10_001}}}, "condition.count.gte", "no window"),
        ({"condition": {"count": {"gt": 10_000}}}, "condition.count.gt", "no window"),
        ({"every": "999ms"}, "every", "too short"),
        ({"every": "25h"}, "every", "too long"),
        ({"window": "0s"}, "window", "too short"),
        ({"window": "31d"}, "window", "too long"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changes: dict[str, Any], path: str, message: str) -> None:
    ((where, said),) = problems(**changes)
    assert where == path
    assert message in said


def test_the_place_in_a_query_is_told() -> None:
    assert "at character 3" in problems(query="a )b")[0][1]


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(query="(", every="0s", groupBy=["@timestamp"], condition={"count": {"gt": -2, "gte": 1e9}})
    assert [where for where, _ in found] == [
        "every",
        "query",
        "groupBy[0]",
        "condition.count.gte",
        "condition.count.gt",
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            SearchSpec("*", 1, 600_000, ("a", "b"), Limits(at_least=5)),
            "at least 5 events within 10m for each a and b",
        ),
        (
            SearchSpec("*", 1, 1000, (), Limits(2, 2.5), ("user.name", Limits(more_than=2))),
            "at least 2 and more than 2.5 events with more than 2 different values of user.name within 1s",
        ),
    ],
)
def test_a_condition_can_be_told_in_words(spec: SearchSpec, words: str) -> None:
    assert describe(spec) == words


# Tests of rules ---------------------------------------------------------------------------------------------------


def run(search: dict[str, Any], *timeline: dict[str, Any], **expect: Any) -> TestResult:
    test = {"name": "t", "timeline": list(timeline), "expect": expect}
    spec = AlertRuleSpec.model_validate({"severity": "low", "search": search, "tests": [test]})
    (result,) = run_rule_tests(spec, ())
    return result


def login(at: str, user: str, **more: Any) -> dict[str, Any]:
    return {"at": at, "event": {**FAILED, "user": {"name": user}}, **more}


def test_a_timeline_raises_its_alert_with_the_event_that_opened_it() -> None:
    timeline = [login("0s", "a"), login("9m", "B"), login("9m", "b"), login("9m30s", "c"), login("9m40s", "d")]
    assert run(GOOD, *timeline, alerts=1, fields={"user.name": "c"}).passed
    result = run(GOOD, *timeline, alerts=1, fields={"user.name": "d"})
    assert result == TestResult("t", False, "alert 1: user.name is 'c', expected 'd'", "spec.tests[0].expect.fields")


@pytest.mark.parametrize(
    ("last", "alerts"),
    [
        (login("10m", "c"), 0),
        (login("9m59s", "c"), 1),
        ({**login("1m", "c"), "event": {**FAILED, "user.name": "c", "source.ip": "192.0.2.8"}}, 0),
        ({**login("1m", "c"), "event": {**FAILED, "user.name": "c", "event.outcome": "success"}}, 0),
        ({**login("1m", "c"), "event": {**FAILED, "user.name": None}}, 0),
        (login("1m", "c", arrives="3d"), 1),
        (login("1m", "c", logsource={"product": "windows"}), 1),
    ],
    ids=["a window later", "just inside", "another group", "not found", "no value", "late", "any log source"],
)
def test_time_group_and_query_decide(last: dict[str, Any], alerts: int) -> None:
    result = run(GOOD, login("0s", "a"), login("30s", "b"), last, alerts=alerts)
    assert result.passed, result.message


def test_repeated_events_happen_one_after_the_other() -> None:
    search = {**GOOD, "window": "5s", "condition": {"count": {"gte": 5}}}
    assert run(search, login("0s", "a", repeat={"count": 5}), alerts=1).passed
    assert run(search, login("0s", "a", repeat={"count": 5, "every": "2s"}), alerts=0).passed
    assert run(search, login("0s", "a", repeat={"count": 9, "every": "1s"}), alerts=1).passed


def test_a_late_event_that_fills_a_gap_raises_no_further_alert() -> None:
    search = {**GOOD, "window": "1m", "every": "1m", "condition": {"count": {"gte": 1}}}
    first, second = login("0s", "a"), login("90s", "a")
    assert run(search, first, second, alerts=2).passed
    assert run(search, first, second, login("50s", "a", arrives="10m"), alerts=2).passed
    assert run(search, first, second, login("50s", "a", arrives="1m"), alerts=1).passed


def test_an_event_counts_in_each_of_its_groups() -> None:
    search = {**GOOD, "condition": {"count": {"gte": 1}}}
    event = {**FAILED, "source.ip": ["192.0.2.1", "192.0.2.2", "192.0.2.2"]}
    assert run(search, {"event": event}, alerts=2).passed


def test_the_wrong_number_of_alerts_is_told() -> None:
    result = run(GOOD, login("0s", "a"), alerts=1)
    assert (result.passed, result.message) == (False, "raised 0 alerts, expected 1")
    assert result.path == "spec.tests[0].expect.alerts"


def test_tests_that_take_too_long_fail_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruletests, "Timelines", partial(Timelines, steps=10_000))
    search = {**GOOD, "window": "30d", "every": "1s", "condition": {"count": {"gte": 1}}}
    # Each event lies in time before the one that arrived before it, so that each is a round with all the others.
    stream = {"count": 200, "every": "2s"}
    timeline = [login("2h", "a", arrives="0s", repeat=stream), login("0s", "a", arrives="1s", repeat=stream)]
    result = run(search, *timeline, alerts=1)
    assert result.passed is False
    assert "steps" in result.message
    assert result.path == "spec.tests[0].timeline"


occurrences = st.lists(
    st.builds(
        Occurrence,
        event=st.fixed_dictionaries({"u": st.sampled_from("ab")}, optional={"g": st.sampled_from(["x", "y"])}),
        at=st.integers(0, 30),
        arrives=st.integers(0, 60),
        times=st.integers(1, 3),
        every=st.integers(0, 9),
    ),
    max_size=8,
)


@example(
    [
        Occurrence({"u": "a"}, 0, 0),
        *(Occurrence({"u": "a"}, at, arrives) for at, arrives in ((12, 1), (13, 2), (14, 0))),
    ],
    SearchSpec("*", 1, 1, (), Limits(at_least=1)),
)
@given(
    occurrences,
    st.builds(
        SearchSpec,
        query=st.just("*"),
        every=st.integers(1, 20),
        window=st.integers(1, 12),
        group_by=st.sampled_from([(), ("g",)]),
        count=st.sampled_from([Limits(at_least=1), Limits(at_least=2), Limits(more_than=2)]),
        distinct=st.sampled_from([None, ("u", Limits(at_least=2))]),
    ),
)
def test_a_timeline_raises_what_rounds_one_by_one_raise(timeline: list[Occurrence], search: SearchSpec) -> None:
    try:
        opened = Timelines(search).play(timeline)
    except TooLongError:
        pytest.fail("so few events take no such time")
    assert sorted(map(str, opened)) == sorted(map(str, _rounds(timeline, search)))


def _rounds(timeline: list[Occurrence], search: SearchSpec) -> list[Any]:
    """Every round by itself, every group from all that is stored."""
    arrived: list[tuple[int, str | None, Seen, Any]] = []
    for index, one in enumerate(timeline):
        for number in range(one.times):
            later = number * one.every
            seen = Seen(one.at + later, f"{index}/{number}", (one.event["u"],) if search.distinct else ())
            group = one.event.get("g") if search.group_by else None
            arrived.append((-(-(one.arrives + later) // search.every), group, seen, one.event))
    events = {seen.id: event for _, _, seen, event in arrived}
    opened: list[Any] = []
    known: dict[str | None, list[tuple[int, int, str]]] = {}
    for tick in sorted({tick for tick, _, _, _ in arrived}):
        for group in {group for at, group, _, _ in arrived if at == tick}:
            stored = [seen for at, theirs, seen, _ in arrived if at <= tick and theirs == group]
            known[group], new = fresh(known.get(group, []), intervals(search, stored), lambda one: one.opening)
            opened += [events[one.opening] for one in new]
    return opened
