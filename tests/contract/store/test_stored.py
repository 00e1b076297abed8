"""`vedette.stored`: what a store says of when it stored an event, for those who read what is new."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_backends.store.protocol import NewEvent, Outcome, Store, TimeRange
from vedette_engine.query.lucene import parse
from vedette_engine.query.tree import And, Exists, MatchAll, Not, Or, Query, QueryError, Range, Term, Text

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()
STORED = "vedette.stored"


def found(store: Store, query: Query) -> list[int]:
    """Numbers of the events that match."""
    page = store.search_events(query, ALWAYS, size=100)
    assert page.total == store.count_events(query, ALWAYS) == len(page.events)
    return sorted(int(event.id, 16) for event in page.events)


def store_three(clocked: Any, make_event: Any) -> Store:
    """Events 0, 1, 2, stored a second apart, the last one a day after it was ingested."""
    for number, now in enumerate([T0, T0 + 1000, T0 + DAY]):
        clocked.now = now
        clocked.store.create_events("30d", [make_event(number, ingested=T0 - 5, time=T0 - number)])
    store: Store = clocked.store
    return store


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, T0 - 1, []),
        (None, T0, [0]),
        (T0, T0 + 999, [0]),
        (T0 + 1, T0 + 1000, [1]),
        (T0 + 1001, None, [2]),
        (T0 + DAY, T0 + DAY, [2]),
        (T0 + DAY + 1, None, []),
        (None, None, [0, 1, 2]),
    ],
)
def test_a_range_finds_what_was_stored_in_it(
    clocked: Any, make_event: Any, low: int | None, high: int | None, expected: list[int]
) -> None:
    store = store_three(clocked, make_event)
    assert found(store, Range(STORED, low, high)) == expected
    assert found(store, And((Term("event.dataset", "test"), Range(STORED, low, high)))) == expected
    assert found(store, Not(Range(STORED, low, high))) == sorted({0, 1, 2} - set(expected))


def test_ranges_may_be_open_joined_and_written_as_people_do(clocked: Any, make_event: Any) -> None:
    store = store_three(clocked, make_event)
    assert found(store, Range(STORED, T0, T0 + DAY, include_low=False, include_high=False)) == [1]
    assert found(store, Or((Range(STORED, None, T0), Range(STORED, T0 + DAY, None)))) == [0, 2]
    assert found(store, And((Or((Range(STORED, T0, T0), ALL)), Range(STORED, T0 + 1, None)))) == [1, 2]
    assert found(store, parse("vedette.stored:2026-11-22")) == [0, 1]
    assert found(store, parse("vedette.stored:>=1970")) == [0, 1, 2]
    assert found(store, Exists(STORED)) == [0, 1, 2]
    with pytest.raises(QueryError):
        store.count_events(Range(STORED, "soon", None), ALWAYS)


def test_a_redelivery_keeps_the_first_stamp(clocked: Any, make_event: Any) -> None:
    clocked.store.create_events("30d", [make_event(1)])
    clocked.now += 60_000
    assert clocked.store.create_events("30d", [make_event(1)])[0].outcome is Outcome.DUPLICATE
    assert found(clocked.store, Range(STORED, None, T0)) == [1]


def test_the_stamp_is_no_field_of_an_event(clocked: Any, make_event: Any) -> None:
    store: Store = clocked.store
    claimed = {"event.dataset": "test", STORED: "1999-01-01T00:00:00Z"}
    store.create_events("30d", [make_event(1), make_event(2, claimed)])
    for event in store.search_events(ALL, ALWAYS).events:
        assert event.document == {"event.dataset": "test"}
    assert found(store, Range(STORED, T0, T0)) == [1, 2]
    assert found(store, Text(str(T0))) == found(store, Text("1999")) == []
    with pytest.raises(QueryError):
        store.top_values(ALL, ALWAYS, STORED)


def test_pages_groups_and_histograms_keep_to_the_stamp(clocked: Any, make_event: Any) -> None:
    store = store_three(clocked, make_event)
    new = Range(STORED, T0 + 1, None)
    first = store.search_events(new, ALWAYS, size=1)
    second = store.search_events(new, ALWAYS, size=1, after=first.next)
    assert [int(event.id, 16) for event in (*first.events, *second.events)] == [1, 2]
    assert second.next is None
    assert [(group.count, group.first, group.last) for group in store.groups(new, ALWAYS, [])[0]] == [
        (2, T0 - 2, T0 - 1)
    ]
    assert store.groups(new, ALWAYS, ["event.dataset"])[0][0].count == 2
    assert sum(count for _, count in store.histogram(new, ALWAYS, 1000)) == 2


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_who_reads_on_from_where_he_was_reads_every_event_once(clocked: Any, steps: list[tuple[int, int]]) -> None:
    """Events are created, the clock goes on, and now and then somebody reads (checkpoint, now - 1]."""
    store: Store = clocked.store
    base = store.count_events(ALL, ALWAYS) << 64  # the store is shared by the examples
    checkpoint, made = clocked.now - 1, 0
    read: list[int] = []
    for amount, passed in [*steps, (0, 1)]:
        events = [NewEvent(f"{base + made + n:032x}", T0, T0, "h", {"event.dataset": "t"}) for n in range(amount)]
        store.create_events("30d", events)
        made += amount
        clocked.now += passed
        if passed:
            read += found(store, Range(STORED, checkpoint + 1, clocked.now - 1))
            checkpoint = clocked.now - 1
    assert sorted(read) == [base + number for number in range(made)]
