"""What is remembered of a rule: it survives being written, and does not grow without end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.notices import Notice
from vedette_engine.alerting.search_alerts import SearchAlert
from vedette_engine.alerting.searches import Interval
from vedette_workers.scheduler import state as module
from vedette_workers.scheduler.state import REMEMBERED, Pending, RuleState, Stretch

NOW = 1_795_000_000_000
HOUR = 3_600_000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.integers(-(2**53), 2**53)
stretches = st.lists(st.builds(Stretch, times, times, texts, times), min_size=1, max_size=3)
documents = st.dictionaries(texts, texts | times | st.booleans() | st.lists(texts, max_size=2), max_size=3)
pending = st.builds(
    Pending,
    st.builds(
        SearchAlert,
        id=texts,
        time=times,
        raised=times,
        rule=texts,
        severity=texts,
        title=texts,
        summary=texts,
        body=st.fixed_dictionaries({"detection": documents, "events": st.lists(documents, max_size=2)}),
    ),
    st.none() | st.builds(Notice, texts, texts, times, texts, times),
)
states = st.builds(
    RuleState,
    times,
    texts,
    st.dictionaries(texts, stretches, max_size=4),
    st.lists(pending, max_size=3),
    st.none() | times,
)


@given(states)
def test_what_was_written_is_read_again(state: RuleState) -> None:
    assert RuleState.read(json.loads(json.dumps(state.write()))) == state


@given(states)
def test_no_text_of_an_event_becomes_the_name_of_a_field(state: RuleState) -> None:
    """A store may take dots and blanks in names for something else."""

    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    assert names(state.write()) <= {"v", "checkpoint", "spec", "groups", "pending", "gone"}


def stretch(start: int, touched: int, alert: str = "a") -> Stretch:
    return Stretch(start, start + HOUR, alert, touched)


def test_an_interval_is_forgotten_long_after_the_last_event_that_had_to_do_with_it() -> None:
    state = RuleState(NOW, groups={"old": [stretch(NOW, NOW - REMEMBERED)], "new": [stretch(0, NOW - REMEMBERED + 1)]})
    assert state.forget(HOUR) == 0
    assert set(state.groups) == {"new"}


def test_wide_windows_are_remembered_for_longer() -> None:
    state = RuleState(NOW, groups={"old": [stretch(NOW, NOW - 3 * REMEMBERED)]})
    state.forget(2 * REMEMBERED)
    assert set(state.groups) == {"old"}


def test_the_intervals_that_were_touched_last_are_kept_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    state = RuleState(NOW, groups={f"g{number}": [stretch(NOW - number, NOW - number)] for number in range(8)})
    state.groups["g0"] += [stretch(NOW + 2 * HOUR, NOW, "b"), stretch(NOW + 4 * HOUR, NOW - 100, "c")]
    assert state.forget(HOUR) == 7
    assert {text: [one.alert for one in held] for text, held in state.groups.items()} == {"g0": ["a", "b"], "g1": ["a"]}


def test_only_intervals_that_something_was_found_of_are_touched() -> None:
    state = RuleState(NOW, groups={"g": [stretch(0, NOW - 5), stretch(10 * HOUR, NOW - 5, "b")]})
    merged = [(0, HOUR, "a"), (10 * HOUR, 12 * HOUR, "b"), (20 * HOUR, 21 * HOUR, "c")]
    found = [Interval(11 * HOUR, 12 * HOUR, "x", 1, 0), Interval(20 * HOUR, 21 * HOUR, "y", 1, 0)]
    state.learn("g", merged, found, NOW)
    assert [one.touched for one in state.groups["g"]] == [NOW - 5, NOW, NOW]
    state.learn("new", [], [], NOW)
    assert "new" not in state.groups
