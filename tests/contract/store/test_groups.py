"""Groups of events, as scheduled searches ask for them: what a store counts is what the documents say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_backends.store import embedded, fanout
from vedette_backends.store.elastic_search import TooManyPartsError
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import Group, NewEvent, Store, TimeRange
from vedette_engine.alerting.groups import group_query, groups_of
from vedette_engine.query.tree import MatchAll, QueryError, Term
from vedette_engine.query.values import leaves

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()

FIELDS = ["user.name", "source.ip", "source.port", "process.entry_leader.interactive", "tags", "message"]
OTHERS = ["winlog.event_data.LogonType", "x", "vedette.other.source.port", "nobody.has.this"]
TEXTS = ["root", "Root", "ROOT", "", "a b", "\u212a", "k", "K", "\u017f", "s", "STRASSE", "straße", "5", "y\nz", "*"]
NUL = ["nul\0byte"]

text = st.sampled_from(TEXTS)
address = st.sampled_from(["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "2001:DB8:0::1", "10.0.0.1"])
long_text = st.sampled_from(["z" * 200, "Z" * 200, "y" * 8000, "x" * 8001])


def many(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, max_size=3))


documents = st.fixed_dictionaries(
    {},
    optional={
        "user.name": many(st.one_of(text, text, long_text)),
        "tags": many(text),
        "message": text,
        "source.ip": many(address),
        "source.port": many(st.sampled_from([0, 22, -1, 2**53 + 1])),
        "process.entry_leader.interactive": st.booleans(),
        "vedette.other": st.fixed_dictionaries(
            {},
            optional={
                "winlog.event_data.LogonType": many(
                    st.one_of(text, st.sampled_from(NUL), st.sampled_from([3, 10, 1.5]))
                ),
                "x": many(st.one_of(text, long_text, st.booleans())),
                "x.y": text,
                "source.port": text,
            },
        ),
    },
)


def naive(events: Sequence[NewEvent], fields: Sequence[str]) -> list[Group]:
    """The specification: each event is in each of its groups."""
    members: dict[tuple[str | None, ...], list[int]] = {}
    for event in events:
        for values in groups_of(event.document, fields):
            members.setdefault(values, []).append(event.time)
    return sorted(
        (Group(values, len(times), min(times), max(times)) for values, times in members.items()),
        key=lambda group: [(value is not None, value or "") for value in group.values],
    )


_example = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    contents=st.lists(documents, min_size=1, max_size=8),
    asked=st.lists(st.lists(st.sampled_from([*FIELDS, *OTHERS]), min_size=1, max_size=3), min_size=2, max_size=3),
)
def test_a_store_forms_the_groups_that_the_specification_forms(
    shared_store: Store, contents: list[dict[str, Any]], asked: list[list[str]]
) -> None:
    number = next(_example)
    events = []
    for place, content in enumerate(contents):
        document = {**content, "event.dataset": f"example{number}"}
        time = T0 + place * 1000
        ingested = T0 - place % 2 * DAY
        events.append(NewEvent(f"{number:016x}{place:016x}", ingested, time, "h", document))
    assert {result.reason for result in shared_store.create_events("7d", events)} == {""}
    mine = Term("event.dataset", f"example{number}")
    for fields in asked:
        expected = naive(events, fields)
        assert shared_store.groups(mine, ALWAYS, fields) == (expected, False), fields
        assert shared_store.groups(mine, ALWAYS, fields, limit=len(expected))[1] is False
    later = [event for event in events if event.time >= T0 + 2000]
    assert shared_store.groups(mine, TimeRange(T0 + 2000, None), asked[0])[0] == naive(later, asked[0])


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=st.lists(documents, min_size=1, max_size=5), field=st.sampled_from([*FIELDS, *OTHERS]))
def test_the_events_of_a_group_are_found_by_its_query(
    shared_store: Store, contents: list[dict[str, Any]], field: str
) -> None:
    number = next(_example)
    fields = ["event.dataset", field]
    events = [
        NewEvent(f"{number:016x}{place:016x}", T0, T0, "h", {**content, "event.dataset": f"example{number}"})
        for place, content in enumerate(contents)
        # A text that no pattern can find counts for no group, and yet is there.
        if not any(
            len(str(leaf)) > 8000
            for value in (*content.values(), *content.get("vedette.other", {}).values())
            for leaf in leaves(value)
        )
    ]
    shared_store.create_events("7d", events)
    found, _ = shared_store.groups(Term("event.dataset", f"example{number}"), ALWAYS, fields)
    for group in found[:4]:
        assert shared_store.count_events(group_query(fields, group.values), ALWAYS) == group.count, group


def test_without_fields_all_matches_are_one_group(store: Store, make_event: Any) -> None:
    assert store.groups(ALL, ALWAYS, []) == ([], False)
    assert store.groups(ALL, ALWAYS, ["host.name"]) == ([], False)
    store.create_events("30d", [make_event(n, ingested=T0 - n % 2 * DAY) for n in range(5)])
    assert store.groups(ALL, ALWAYS, []) == ([Group((), 5, T0, T0 + 4000)], False)
    assert store.groups(ALL, TimeRange(T0 + 1000, T0 + 3000), []) == ([Group((), 2, T0 + 1000, T0 + 2000)], False)
    assert store.groups(Term("host.name", "nobody"), ALWAYS, []) == ([], False)


def test_groups_beyond_the_limit_are_said_to_be_there(store: Store, make_event: Any) -> None:
    events = [make_event(n, {"host.name": f"web{n:02}", "vedette.other": {"x": f"{n:02}"}}) for n in range(30)]
    store.create_events("30d", events)
    for fields in (["host.name"], ["x"], ["host.name", "x"]):
        groups, more = store.groups(ALL, ALWAYS, fields, limit=29)
        assert (len(groups), more) == (29, True)
        assert {group.count for group in groups} == {1}
        assert store.groups(ALL, ALWAYS, fields, limit=30) == (naive(events, fields), False)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        (["@timestamp"], 10),
        (["event.ingested"], 10),
        (["vedette.stored"], 10),
        (["event.created"], 10),
        (["event.risk_score"], 10),
        (["x"] * 11, 10),
        (["x"], 0),
        (["x"], 10**6),
    ],
)
def test_what_cannot_be_grouped_by_is_refused(store: Store, fields: list[str], limit: int) -> None:
    with pytest.raises(QueryError, match=r"\w+ \w+"):
        store.groups(ALL, ALWAYS, fields, limit)


def test_events_of_one_moment_are_all_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_event: Any) -> None:
    monkeypatch.setattr(fanout, "_ROWS", 4)
    store = embedded.open_store(tmp_path, writer=True)
    times = [0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 2**62, 2**63 - 1, 2**63 - 1]
    events = [make_event(n, {"host.name": "web"}, time=time, ingested=T0) for n, time in enumerate(times)]
    store.create_events("30d", events)
    assert store.groups(ALL, ALWAYS, ["host.name"]) == ([Group(("web",), len(times), 0, 2**63 - 1)], False)
    store.close()


@pytest.mark.parametrize("fields", [["host.name"], ["host.name", "x"], ["x", "y", "tags"]])
def test_an_answer_with_too_many_parts_is_asked_for_in_smaller_ones(
    connection: Connection, namespace: str, monkeypatch: pytest.MonkeyPatch, make_event: Any, fields: list[str]
) -> None:
    store = connection.store(namespace)
    documents = [
        {"host.name": f"Web{n % 25}", "tags": ["a", "A"], "vedette.other": {"x": n % 3, "y": f"{n % 2}"}}
        for n in range(50)
    ]
    events = [make_event(n, document) for n, document in enumerate(documents)]
    store.create_events("30d", events)
    asked = store._events._search
    refused = 0

    def strict(body: dict[str, Any]) -> Any:
        nonlocal refused
        answer = asked(body)
        if _parts(answer.get("aggregations", {})) > 12:
            refused += 1
            raise TooManyPartsError("too many")
        return answer

    monkeypatch.setattr(store._events, "_search", strict)
    assert store.groups(ALL, ALWAYS, fields) == (naive(events, fields), False)
    assert refused


def _parts(level: Any) -> int:
    if isinstance(level, list):
        return len(level) + sum(map(_parts, level))
    return sum(map(_parts, level.values())) if isinstance(level, dict) else 0
