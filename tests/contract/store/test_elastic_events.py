"""Events in Elasticsearch where others meddle with its indices, or documents are odd."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers.elasticsearch import Elasticsearch

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    NewEvent,
    Outcome,
    Store,
    TimeRange,
)
from vedette_engine.normalise.document import to_document
from vedette_engine.query.tree import MatchAll

T0 = 1_795_348_800_000
ALL, ALWAYS = MatchAll(), TimeRange()
DAY = "2026.11.22"


@pytest.fixture(name="store")
def elasticsearch_store(connection: Connection, namespace: str) -> Store:
    return connection.store(namespace)


def test_an_index_that_takes_no_writes_is_a_fault_of_ours_and_passes(
    store: Store, server: Elasticsearch, namespace: str, make_event: Any
) -> None:
    store.create_events("30d", [make_event(1)])
    index = f"vedette-events.{namespace}.30d.{DAY}"
    server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    with pytest.raises(RefusedError, match="cluster_block"):
        store.create_events("30d", [make_event(2)])
    server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    assert store.create_events("30d", [make_event(2)])[0].outcome is Outcome.CREATED


def test_a_day_that_somebody_removed_begins_again(
    store: Store, server: Elasticsearch, namespace: str, make_event: Any
) -> None:
    store.create_events("30d", [make_event(1)])
    server.ask("DELETE", f"/vedette-events.{namespace}.30d.{DAY}")
    assert store.create_events("30d", [make_event(1), make_event(2)])[0].outcome is Outcome.CREATED
    assert store.top_values(ALL, ALWAYS, "event.dataset") == [("test", 2)]


def test_of_many_writers_of_the_same_events_one_creates_each(
    store: Store, connection: Connection, namespace: str
) -> None:
    created: list[str] = []

    def write() -> None:
        mine = connection.store(namespace)
        events = [NewEvent(f"{n:032x}", T0, T0, "h", {"event.code": "1"}) for n in range(50)]
        for event, result in zip(events, mine.create_events("30d", events), strict=True):
            assert result.outcome in {Outcome.CREATED, Outcome.DUPLICATE}
            if result.outcome is Outcome.CREATED:
                created.append(event.id)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [f"{n:032x}" for n in range(50)]
    assert store.count_events(ALL, ALWAYS) == 50


odd = st.one_of(
    st.text(max_size=40),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.sampled_from(
        [
            "x" * 9000,
            "\U0001f980" * 8000,
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:60Z",
            "2026-11-22",
            "::1",
            "91,181",
            "1e999",
        ]
    ),
)
names = st.sampled_from(
    [
        *("source.ip", "event.created", "source.port", "event.risk_score", "source.geo.location", "user", "user.name"),
        *(
            "message",
            "process.args",
            "tags",
            "process.interactive",
            "labels",
            "dns.answers",
            "@timestamp",
            "event.hash",
        ),
        *("x", "", "a.b", "a..b", ".", "vedette", "q" * 600, "n\0l", "\u00fc"),
    ]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=st.lists(st.dictionaries(names, st.one_of(odd, st.lists(odd, max_size=3)), max_size=6), min_size=1))
def test_whatever_the_normaliser_lets_through_is_stored_and_comes_back(
    store: Store, events: list[dict[str, Any]]
) -> None:
    made = [
        NewEvent(secrets.token_hex(16), T0, T0, "h", to_document({**event, "@timestamp": T0, "event.ingested": T0}))
        for event in events
    ]
    results = store.create_events("30d", made)
    assert [result.reason for result in results] == [""] * len(made)
    for event in made[:2]:
        found = store.get_event(event.id)
        assert found is not None
        assert found.document == event.document


def test_a_partition_that_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.drop_day("30d", DAY)
    with pytest.raises(RefusedError):
        store.drop_day("30d", "*")
