"""When a search alerts: intervals of a moving window, told once whatever the order in which events arrive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.alertrule import Search
from vedette_engine.alerting.searches import (
    Interval,
    Known,
    Limits,
    SearchSpec,
    Seen,
    fresh,
    intervals,
    naive_intervals,
)

MINUTE = 60_000

limits = st.builds(
    Limits,
    at_least=st.none() | st.sampled_from([0, 1, 2, 3, 2.5]),
    more_than=st.none() | st.sampled_from([0, 1, 2, 0.5]),
)
specs = st.builds(
    SearchSpec,
    query=st.just("*"),
    every=st.just(1),
    window=st.integers(1, 12),
    count=st.none() | limits,
    distinct=st.none() | limits.map(lambda limit: ("user.name", limit)),
)
arrivals = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.sampled_from("abcd"), max_size=2).map(tuple)), max_size=14
).map(lambda found: [Seen(time, f"{number:02d}", values) for number, (time, values) in enumerate(found)])


def spec(window: int = 5 * MINUTE, **more: object) -> SearchSpec:
    return SearchSpec(query="*", every=MINUTE, window=window, **more)  # type: ignore[arg-type]  # the caller's


def at(*minutes: float) -> list[Seen]:
    return [Seen(int(minute * MINUTE), f"{number:02d}") for number, minute in enumerate(minutes)]


@given(specs, arrivals)
def test_two_pointers_find_what_counting_every_window_finds(search: SearchSpec, events: list[Seen]) -> None:
    assert intervals(search, events) == naive_intervals(search, events)


@given(specs, arrivals, st.randoms())
def test_order_and_repetition_of_events_mean_nothing(search: SearchSpec, events: list[Seen], random: object) -> None:
    shuffled = [*events, *events[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random.Random
    assert intervals(search, shuffled) == intervals(search, events)


def test_events_within_a_window_of_each_other_are_one_alert_and_later_ones_another() -> None:
    search = spec(20 * MINUTE, count=Limits(at_least=1))
    assert [(one.start, one.end) for one in intervals(search, at(0, 5, 10, 15, 36))] == [
        (0, 35 * MINUTE),
        (36 * MINUTE, 56 * MINUTE),
    ]


def test_an_event_that_comes_when_another_leaves_continues_the_alert() -> None:
    search = spec(5 * MINUTE, count=Limits(at_least=1))
    assert intervals(search, at(0, 5)) == [Interval(0, 10 * MINUTE, "00", 1, 0)]


def test_a_window_does_not_hold_the_event_that_is_as_old_as_it_is_long() -> None:
    search = spec(5 * MINUTE, count=Limits(at_least=2))
    assert intervals(search, at(0, 5)) == []
    assert len(intervals(search, at(0, 4.999))) == 1


def test_the_alert_opens_at_the_event_that_fills_the_count() -> None:
    search = spec(5 * MINUTE, count=Limits(at_least=3))
    (found,) = intervals(search, at(0, 1, 2, 3))
    assert found == Interval(2 * MINUTE, 6 * MINUTE, "02", 3, 0)


def test_of_events_at_the_same_moment_the_smallest_id_opens() -> None:
    events = [Seen(7, "c"), Seen(7, "b"), Seen(1, "a")]
    (found,) = intervals(spec(count=Limits(more_than=1)), events)
    assert (found.opening, found.count) == ("b", 3)


@pytest.mark.parametrize(("users", "alerts"), [("aab", 0), ("abc", 1), ("a", 0)])
def test_different_values_count_once(users: str, alerts: int) -> None:
    search = spec(distinct=("user.name", Limits(at_least=3)))
    events = [Seen(number, str(number), (user, user)) for number, user in enumerate(users)]
    assert len(intervals(search, events)) == alerts


def test_both_conditions_must_hold() -> None:
    search = spec(count=Limits(at_least=3), distinct=("user.name", Limits(at_least=2)))
    assert intervals(search, [Seen(1, "1", ("a",)), Seen(2, "2", ("b",))]) == []
    assert intervals(search, [Seen(1, "1", ("a",)), Seen(2, "2", ("a",)), Seen(3, "3", ("a",))]) == []
    assert intervals(search, [Seen(1, "1", ("a",)), Seen(2, "2", ("b",)), Seen(3, "3", ("a",))])[0].distinct == 2


def test_a_window_without_events_never_alerts() -> None:
    (found,) = intervals(spec(5, count=Limits(at_least=0)), [Seen(1, "a")])
    assert (found.start, found.end) == (1, 6)


# The worker's rounds ------------------------------------------------------------------------------------------


def play(search: SearchSpec, batches: Sequence[Sequence[Seen]]) -> tuple[list[Known], list[Interval]]:
    """What is known after all rounds, and every interval that was alerted; each round reads as the worker does."""
    stored: list[Seen] = []
    known: list[Known] = []
    alerted: list[Interval] = []
    for batch in batches:
        stored += batch
        if not batch:
            continue
        first, last = min(batch).time, max(batch).time
        read = [one for one in stored if first - search.window < one.time < last + search.window]
        known, new = fresh(known, intervals(search, read), lambda one: one.opening)
        alerted += new
    return known, alerted


@st.composite
def batches(draw: st.DrawFn) -> list[list[Seen]]:
    """Events in batches, in any order of arrival."""
    events = draw(arrivals.flatmap(st.permutations))
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=6)))
    return [events[start:end] for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True)]


@given(specs, batches())
def test_in_any_batches_and_order_the_same_intervals_are_known_in_the_end(
    search: SearchSpec, parts: list[list[Seen]]
) -> None:
    known, _ = play(search, parts)
    whole = naive_intervals(search, [seen for part in parts for seen in part])
    assert [(start, end) for start, end, _ in known] == [(one.start, one.end) for one in whole]


@given(specs, batches())
def test_no_interval_is_without_an_alert_and_none_has_two_that_was_not_joined_from_several(
    search: SearchSpec, parts: list[list[Seen]]
) -> None:
    known, alerted = play(search, parts)
    ids = [one.opening for one in alerted]
    assert len(set(ids)) == len(ids)
    for start, end, alert in known:
        inside = [one for one in alerted if start <= one.start and one.end <= end]
        assert alert in {one.opening for one in inside}
        # What was alerted apart was apart: a gap lay between the two when the second was alerted.
        for earlier, later in pairwise(inside):
            assert earlier.end < later.start or later.end < earlier.start
    assert len(alerted) == sum(start <= one.start < end for one in alerted for start, end, _ in known)


@given(specs, arrivals)
def test_events_that_arrive_in_order_raise_exactly_the_alerts_of_one_evaluation(
    search: SearchSpec, events: list[Seen]
) -> None:
    _, alerted = play(search, [[one] for one in sorted(events)])
    expected = naive_intervals(search, events)
    assert [(one.start, one.opening) for one in alerted] == [(one.start, one.opening) for one in expected]


@given(specs, batches())
def test_evaluating_again_adds_nothing(search: SearchSpec, parts: list[list[Seen]]) -> None:
    known, _ = play(search, parts)
    again, new = fresh(known, intervals(search, [seen for part in parts for seen in part]), lambda one: one.opening)
    assert (again, new) == (known, [])


def test_a_late_event_extends_the_alert_that_it_touches() -> None:
    search = spec(5, count=Limits(at_least=1))
    known, alerted = play(search, [[Seen(10, "a")], [Seen(5, "b")], [Seen(15, "c")]])
    assert known == [(5, 20, "a")]
    assert [one.opening for one in alerted] == ["a"]


def test_a_late_event_joins_two_alerts_and_raises_none() -> None:
    search = spec(5, count=Limits(at_least=1))
    known, alerted = play(search, [[Seen(0, "a"), Seen(9, "b")], [Seen(4, "c")]])
    assert known == [(0, 14, "a")]
    assert [one.opening for one in alerted] == ["a", "b"]


def test_a_limit_changed_between_rounds_doubles_nothing() -> None:
    events = at(0, 1, 2)
    strict, loose = spec(count=Limits(at_least=3)), spec(count=Limits(at_least=1))
    known, _ = fresh([], intervals(strict, events), lambda one: one.opening)
    again, new = fresh(known, intervals(loose, events), lambda one: one.opening)
    assert new == []
    assert again == [(0, 7 * MINUTE, "02")]


# The specification in rules and bundles ----------------------------------------------------------------------

SEARCH = {
    "query": "event.action:ssh_login",
    "window": "10m",
    "groupBy": ["source.ip"],
    "condition": {"count": {"gte": 5}, "distinct": {"field": "user.name", "gt": 2}},
}


def test_durations_of_a_rule_become_milliseconds() -> None:
    search = SearchSpec.of(Search.model_validate(SEARCH))
    assert search == SearchSpec(
        "event.action:ssh_login",
        MINUTE,
        10 * MINUTE,
        ("source.ip",),
        Limits(at_least=5),
        ("user.name", Limits(more_than=2)),
    )


@given(specs)
def test_what_is_read_from_a_bundle_is_what_was_written(search: SearchSpec) -> None:
    assert SearchSpec.from_json(search.to_json()) == search


def test_only_what_changes_the_judgement_changes_the_hash() -> None:
    search = spec(count=Limits(at_least=1))
    assert search.hash == SearchSpec("*", 2 * MINUTE, search.window, count=search.count).hash
    assert search.hash != spec(count=Limits(more_than=1)).hash
    assert search.hash != spec(6 * MINUTE, count=search.count).hash
