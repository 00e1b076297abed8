"""What every store owes for events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.store.protocol import NewEvent, Outcome, Sort, Store, TimeRange
from vedette_engine.query import tree
from vedette_engine.query.lucene import parse
from vedette_engine.query.tree import MatchAll, Query, QueryError, Term

T0 = 1_795_348_800_000
DAY = 86_400_000
MIDNIGHT = T0 - T0 % DAY
ALL = MatchAll()
ALWAYS = TimeRange()


def outcomes(store: Store, events: list[NewEvent], retention: str = "30d") -> list[Outcome]:
    return [result.outcome for result in store.create_events(retention, events)]


def read_all(store: Store, query: Query, sort: Sort, size: int) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = store.search_events(query, ALWAYS, sort=sort, size=size, after=after)
        found += [event.id for event in page.events]
        assert len(page.events) <= size
        if page.next is None:
            return found
        after = page.next


def test_a_created_event_is_found_at_once_as_it_was(store: Store, make_event: Any) -> None:
    document = {"host.name": "web1", "message": "hello", "vedette.other": {"x": [1, "two", {"deep": None}]}}
    created = make_event(1, document)
    assert outcomes(store, [created]) == [Outcome.CREATED]
    found = store.get_event(created.id)
    assert found is not None
    assert (found.id, found.time, found.ingested, found.document) == (
        created.id,
        created.time,
        created.ingested,
        document,
    )
    assert store.count_events(Term("host.name", "web1"), ALWAYS) == 1


def test_an_event_that_does_not_exist_is_none(store: Store) -> None:
    assert store.get_event("0" * 32) is None


def test_a_redelivered_event_is_stored_once(store: Store, make_event: Any) -> None:
    events = [make_event(number) for number in range(5)]
    assert outcomes(store, events) == [Outcome.CREATED] * 5
    assert outcomes(store, [*events, make_event(5)]) == [Outcome.DUPLICATE] * 5 + [Outcome.CREATED]
    assert store.count_events(ALL, ALWAYS) == 6


def test_an_event_that_repeats_inside_one_call_is_stored_once(store: Store, make_event: Any) -> None:
    twice = make_event(1, maybe_repeat=False)
    assert outcomes(store, [twice, twice]) == [Outcome.CREATED, Outcome.DUPLICATE]
    assert store.count_events(ALL, ALWAYS) == 1


def test_another_event_under_a_taken_id_is_a_collision_and_changes_nothing(store: Store, make_event: Any) -> None:
    first, other = make_event(1, {"message": "first"}), make_event(1, {"message": "other"}, hash="another")
    assert outcomes(store, [first, other]) == [Outcome.CREATED, Outcome.COLLISION]
    assert outcomes(store, [other]) == [Outcome.COLLISION]
    found = store.get_event(first.id)
    assert found is not None
    assert found.document == {"message": "first"}


@pytest.mark.parametrize(
    "document",
    [{"message": "\ud800"}, {"vedette.other": {"\udfff": 1}}, {"message": {1, 2}}, {"source.port": 2**70}],
    ids=["lone surrogate", "surrogate in a name", "not JSON", "integer beyond 64 bits"],
)
def test_a_document_that_cannot_be_stored_is_rejected_and_its_neighbours_are_kept(
    store: Store, make_event: Any, document: dict[str, Any]
) -> None:
    results = store.create_events("30d", [make_event(1), make_event(2, document), make_event(3)])
    assert [result.outcome for result in results] == [Outcome.CREATED, Outcome.REJECTED, Outcome.CREATED]
    assert results[1].reason
    assert store.count_events(ALL, ALWAYS) == 2


def test_times_outside_of_the_calendar_are_rejected(store: Store, make_event: Any) -> None:
    events = [make_event(1, ingested=2**60), make_event(2, time=2**70, ingested=T0), make_event(3, time=-(10**15))]
    assert outcomes(store, events)[:2] == [Outcome.REJECTED, Outcome.REJECTED]


def test_a_repeat_just_after_midnight_is_looked_up_in_yesterdays_partition(store: Store, make_event: Any) -> None:
    before = make_event(1, ingested=MIDNIGHT - 1000)
    again = make_event(1, ingested=MIDNIGHT + 1000)
    other = make_event(1, ingested=MIDNIGHT + 1000, hash="another")
    assert outcomes(store, [before, again, other]) == [Outcome.CREATED, Outcome.DUPLICATE, Outcome.COLLISION]
    assert store.count_events(ALL, ALWAYS) == 1


def test_retention_class_and_day_of_ingestion_decide_the_partition(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(1, ingested=MIDNIGHT - 1), make_event(2, ingested=MIDNIGHT)])
    store.create_events("7d", [make_event(3, ingested=MIDNIGHT, time=MIDNIGHT - 40 * DAY)])
    assert store.days() == [("30d", "2026.11.21", 1), ("30d", "2026.11.22", 1), ("7d", "2026.11.22", 1)]


def test_dropping_a_day_removes_its_events_only(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(1, ingested=MIDNIGHT - 1), make_event(2, ingested=MIDNIGHT)])
    store.drop_day("30d", "2026.11.21")
    assert [day for _, day, _ in store.days()] == ["2026.11.22"]
    assert read_all(store, ALL, Sort.NEWEST, 10) == [f"{2:032x}"]
    with pytest.raises(NotFoundError):
        store.drop_day("30d", "2026.11.21")
    assert outcomes(store, [make_event(1, ingested=MIDNIGHT - 1)]) == [Outcome.CREATED]


@pytest.mark.parametrize("retention", ["", "../x", "30D", "a/b", "x" * 40])
def test_a_retention_class_that_cannot_name_a_partition_is_refused(store: Store, retention: str) -> None:
    with pytest.raises(RefusedError):
        store.create_events(retention, [])


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_pages_hold_every_event_once_in_the_order_of_time_then_id(
    store: Store, make_event: Any, sort: Sort, size: int
) -> None:
    # Many share a time, days of ingestion and of the event differ.
    events = [make_event(n, time=T0 + n // 6 * 1000, ingested=T0 - (n % 3) * DAY) for n in range(40)]
    store.create_events("30d", events[:20])
    store.create_events("7d", events[20:])
    expected = [e.id for e in sorted(events, key=lambda e: (e.time, e.id), reverse=sort is Sort.NEWEST)]
    assert read_all(store, ALL, sort, size) == expected


def test_pages_stay_the_same_while_events_arrive(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(n) for n in range(10)])
    first = store.search_events(ALL, ALWAYS, size=5)
    late = make_event(100, time=T0 + 2500, ingested=T0 + 60_000)
    store.create_events("30d", [make_event(50), late])
    second = store.search_events(ALL, ALWAYS, size=5, after=first.next)
    assert [int(event.id, 16) for event in [*first.events, *second.events]] == list(range(9, -1, -1))
    assert (second.total, second.next) == (10, None)


def test_total_counts_all_matches_whatever_the_page(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(n, {"host.name": f"web{n % 2}"}) for n in range(9)])
    assert store.search_events(Term("host.name", "WEB1"), ALWAYS, size=2).total == 4


def test_a_time_range_holds_its_start_and_not_its_end(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(n) for n in range(5)])
    assert store.count_events(ALL, TimeRange(T0 + 1000, T0 + 3000)) == 2
    assert store.count_events(ALL, TimeRange(T0 + 4000, None)) == 1
    assert store.count_events(ALL, TimeRange(None, T0)) == 0
    assert store.count_events(ALL, TimeRange(T0 + 3000, T0 + 1000)) == 0


@pytest.mark.parametrize("cursor", ["", "x", "e30", "bnVsbA", "WzEsMiwzXQ", "A" * 5000])
def test_a_cursor_that_is_not_ours_is_refused(store: Store, make_event: Any, cursor: str) -> None:
    store.create_events("30d", [make_event(1)])
    with pytest.raises(QueryError):
        store.search_events(ALL, ALWAYS, after=cursor)


@pytest.mark.parametrize("size", [0, -1, 1_000_000])
def test_the_size_of_a_page_is_bounded(store: Store, size: int) -> None:
    with pytest.raises(QueryError):
        store.search_events(ALL, ALWAYS, size=size)


def test_a_histogram_counts_by_event_time_over_all_partitions(store: Store, make_event: Any) -> None:
    events = [make_event(n, time=T0 + n * 500, ingested=T0 - n % 2 * DAY) for n in range(10)]
    store.create_events("30d", events)
    assert store.histogram(ALL, ALWAYS, 2000) == [(T0, 4), (T0 + 2000, 4), (T0 + 4000, 2)]
    assert store.histogram(ALL, TimeRange(T0 + 4000, None), 2000) == [(T0 + 4000, 2)]


def test_a_histogram_puts_times_before_1970_into_the_right_bucket(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(1, time=-1, ingested=T0), make_event(2, time=1, ingested=T0)])
    assert store.histogram(ALL, ALWAYS, 1000) == [(-1000, 1), (0, 1)]


@pytest.mark.parametrize("interval", [0, -5, 1])
def test_a_histogram_with_too_many_buckets_is_refused(store: Store, make_event: Any, interval: int) -> None:
    store.create_events("30d", [make_event(1), make_event(90_000)])
    with pytest.raises(QueryError):
        store.histogram(ALL, ALWAYS, interval)


def test_top_values_are_counted_over_all_partitions_and_keep_their_case(store: Store, make_event: Any) -> None:
    names = ["web1", "web1", "Web1", "db", "db", "db", "\u00fcber"]
    events = [make_event(n, {"host.name": name}, ingested=T0 - n % 2 * DAY) for n, name in enumerate(names)]
    store.create_events("30d", events)
    assert store.top_values(ALL, ALWAYS, "host.name", 3) == [("db", 3), ("web1", 2), ("Web1", 1)]
    assert store.top_values(parse("host.name:web*"), ALWAYS, "host.name") == [("web1", 2), ("Web1", 1)]
    assert store.top_values(ALL, ALWAYS, "user.name") == []


def test_top_values_count_an_event_once_for_each_value_it_holds(store: Store, make_event: Any) -> None:
    store.create_events("30d", [make_event(1, {"tags": ["a", "b", "a"]}), make_event(2, {"vedette.other": {"n": 5}})])
    assert store.top_values(ALL, ALWAYS, "tags") == [("a", 1), ("b", 1)]
    assert store.top_values(ALL, ALWAYS, "n") == [("5", 1)]
    assert store.top_values(ALL, ALWAYS, "vedette.other.n") == [("5", 1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("failed", True),
        ("FAILED password", True),
        ('"password failed"', False),
        ('"root from"', True),
        ('"root web1"', False),
        ("rundll32", True),
        ("4711", True),
        ("web", False),
        ("web1", True),
        ("deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef", True),
        ("vendor", True),
    ],
)
def test_bare_words_are_found_in_every_value(
    store: Store,
    make_event: Any,
    text: str,
    found: bool,  # noqa: FBT001 # pytest gives it by name
) -> None:
    document = {
        "message": "Failed password for root from 192.0.2.7",
        "host.name": "web1",
        "process.command_line": r"C:\Windows\rundll32.exe comsvcs.dll, MiniDump",
        "source.port": 4711,
        "file.hash.sha256": "deadbeef" * 8,
        "vedette.other": {"x": ["some vendor text"]},
    }
    store.create_events("30d", [make_event(1, document)])
    assert store.count_events(parse(text), ALWAYS) == int(found)


@pytest.mark.parametrize(
    "query",
    [
        tree.Range("x", 1, 2),
        tree.Range("host.name", "a", "b"),
        tree.Wildcard("source.ip", "192.*"),
        tree.Term("source.port", "ssh"),
        tree.Text("words", "host.name"),
        tree.Cidr("host.name", "10.0.0.0/8"),
        tree.Cidr("source.ip", "10.0.0.0/99"),
        tree.Regex("host.name", "(?i)x"),
        tree.Regex("host.name", "("),
        tree.Regex("host.name", "a{5000}"),
        tree.Wildcard("host.name", "*" + "x?" * 2000),
    ],
    ids=str,
)
def test_what_a_field_cannot_be_asked_is_refused_with_a_sentence(store: Store, make_event: Any, query: Query) -> None:
    store.create_events("30d", [make_event(1)])
    with pytest.raises(QueryError, match=r"\w+ \w+"):
        store.search_events(query, ALWAYS)


def test_a_query_that_is_nested_too_deeply_is_refused(store: Store) -> None:
    query: Query = ALL
    for _ in range(5000):
        query = tree.Not(query)
    with pytest.raises(QueryError):
        store.count_events(query, ALWAYS)


def test_very_many_different_field_names_do_no_harm(store: Store, make_event: Any) -> None:
    events = [make_event(n, {"vedette.other": {f"name {n} {m}": m for m in range(200)}}) for n in range(20)]
    assert set(outcomes(store, events)) == {Outcome.CREATED}
    assert store.count_events(Term("name 7 3", 3), ALWAYS) == 1
    assert store.count_events(tree.Exists("name 7 3"), ALWAYS) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), max_size=8), max_size=5))
def test_any_sequence_of_repeats_leaves_each_id_once_with_its_first_content(
    store: Store, calls: list[list[tuple[int, int]]]
) -> None:
    base = store.count_events(ALL, ALWAYS) << 64  # the store is shared by the examples: ids of their own for each
    first: dict[str, int] = {}
    for call in calls:
        events = [
            NewEvent(f"{base + number:032x}", T0, T0, str(content), {"event.code": str(content)})
            for number, content in call
        ]
        for event, result in zip(events, store.create_events("30d", events), strict=True):
            known = first.setdefault(event.id, int(event.hash))
            expected = {Outcome.DUPLICATE, Outcome.CREATED} if known == int(event.hash) else {Outcome.COLLISION}
            assert result.outcome in expected
    for event_id, content in first.items():
        found = store.get_event(event_id)
        assert found is not None
        assert found.document == {"event.code": str(content)}
    assert store.count_events(ALL, ALWAYS) == (base >> 64) + len(first)
