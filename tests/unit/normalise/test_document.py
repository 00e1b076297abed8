from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.ecs.catalogue import CATALOGUE
from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.document import MAX_OTHER, OTHER, from_document, to_document
from vedette_engine.normalise.flatten import flatten

NOW = 1_764_000_000_000


def split(event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Counters]:
    counters: Counters = {}
    document = to_document(event, counters)
    return document, document.pop(OTHER, {}), counters


def test_catalogued_leaves_stand_at_the_top_and_all_else_below_other() -> None:
    top, other, _ = split({"user.name": "bob", "user": "bob", "shop.cart": 3, "labels.tier": "gold"})
    assert top == {"user.name": "bob"}
    assert other == {"user": "bob", "shop.cart": 3, "labels.tier": "gold"}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("source.port", "4711", 4711),
        ("source.port", 4711.0, 4711),
        ("event.code", 4624, "4624"),
        ("event.code", True, "true"),
        ("event.risk_score", "1.5", 1.5),
        ("process.interactive", "true", True),
        ("event.created", 1_764_000_000, "2025-11-24T16:00:00.000Z"),
        ("event.created", "2025-11-24 16:00:00", "2025-11-24T16:00:00.000Z"),
        ("process.args", ["a", 1], ["a", "1"]),
        ("source.ip", ["192.0.2.1", "2001:db8::1"], ["192.0.2.1", "2001:db8::1"]),
        ("source.geo.location", "51.75,-1.25", "51.75,-1.25"),
    ],
)
def test_a_value_that_fits_its_type_without_loss_is_stored_as_that_type(name: str, value: Any, stored: Any) -> None:
    top, other, counters = split({name: value})
    assert top == {name: stored}
    assert type(top[name]) is type(stored)
    assert not other
    assert counters.get("converted", 0) == (0 if stored == value and type(stored) is type(value) else 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source.ip", "AWS Internal"),
        ("source.ip", "fe80::1%eth0"),
        ("source.ip", ["192.0.2.1", "x"]),
        ("source.port", "0x1f"),
        ("source.port", "007"),
        ("source.port", "١٢"),
        ("source.port", 2**63),
        ("source.port", True),
        ("source.port", 1.5),
        ("event.risk_score", "nan"),
        ("event.risk_score", "1_0"),
        ("process.interactive", 1),
        ("event.created", "yesterday"),
        ("source.geo.location", "91,0"),
        ("source.geo.location", "here"),
    ],
)
def test_a_value_of_the_wrong_type_moves_to_other_under_its_name_and_is_counted(name: str, value: Any) -> None:
    top, other, counters = split({name: value})
    assert not top
    assert other == {name: value}
    assert counters == {"wrong_type": 1}


def test_times_are_integers_in_events_and_iso_in_documents() -> None:
    event = {"@timestamp": NOW + 1, "event.ingested": NOW}
    document = to_document(event)
    assert document == {"@timestamp": "2025-11-24T16:00:00.001Z", "event.ingested": "2025-11-24T16:00:00.000Z"}
    assert from_document(document) == event


@pytest.mark.parametrize(
    ("names", "stored"),
    [
        ([""], ["_empty"]),
        (["", "_empty"], ["_empty", "_empty#2"]),
        (["a\0b", "a␀b"], ["a␀b", "a␀b#2"]),
        (["__proto__", "constructor", "."], ["__proto__", "constructor", "."]),
    ],
)
def test_odd_names_are_made_safe_and_never_merged(names: list[str], stored: list[str]) -> None:
    _, other, _ = split(dict.fromkeys(names, 1))
    assert set(other) == set(stored)


def test_long_names_are_cut_to_512_bytes_and_stay_apart() -> None:
    _, other, counters = split({"ä" * 600 + "1": 1, "ä" * 600 + "2": 2})
    assert sorted(other.values()) == [1, 2]
    assert all(len(name.encode()) <= 512 for name in other)
    assert counters == {"renamed": 2}


def test_more_than_a_thousand_uncatalogued_fields_leave_the_rest_as_one_text() -> None:
    event = {f"x{number}": number for number in range(1500)}
    top, other, counters = split(event)
    assert not top
    assert len(other) == MAX_OTHER
    assert counters["rest"] == 1
    assert from_document({OTHER: other}) == event


def test_a_thousand_uncatalogued_fields_are_no_too_many() -> None:
    event = {f"x{number}": number for number in range(1000)}
    _, other, counters = split(event)
    assert other == event
    assert not counters


def test_a_sender_s_own_rest_field_survives() -> None:
    event: dict[str, Any] = {"_rest": "mine", **{f"x{number}": number for number in range(1500)}}
    _, other, _ = split(event)
    assert from_document({OTHER: other}) == event


@pytest.mark.parametrize("length", [8000, 8001])
def test_long_texts_are_stored_and_counted(length: int) -> None:
    text = "x" * length
    top, _, counters = split({"message": text, "a": "b" * 7999})
    assert top["message"] == text
    assert counters.get("not_searchable", 0) == (length > 8000)


def test_the_same_names_with_other_types_are_not_confused() -> None:
    for value, stored in ((1, 1), ("1", 1), ("x", None), (1.0, 1), (True, None), ([1], [1])):
        top, _, _ = split({"source.port": value})
        assert top.get("source.port") == stored


scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=6))
fields = st.one_of(st.sampled_from([*sorted(CATALOGUE)[1:200], "", "a\0", "vedette.x", "x" * 600]), st.text(max_size=6))
events = st.dictionaries(fields, st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3)), max_size=12)


@given(events)
def test_every_value_is_in_the_document_once(event: dict[str, Any]) -> None:
    top, other, _ = split(event)
    assert len(top) + len(other) == len(event)
    assert set(top) <= set(CATALOGUE)
    assert orjson.loads(orjson.dumps({**top, OTHER: other}))[OTHER].keys() == other.keys()


@given(events)
def test_a_document_read_back_and_written_again_is_the_same(event: dict[str, Any]) -> None:
    document = to_document(event)
    assert to_document(from_document(document)) == document


leaves = st.one_of(st.booleans(), st.integers(0, 9), st.text(max_size=3))
nested = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), inner, max_size=3))


def count_leaves(value: Any) -> int:
    return sum(map(count_leaves, value.values())) if isinstance(value, dict) else 1


@given(st.dictionaries(st.sampled_from(["a", "b", "a.b", "", "a#2"]), nested, max_size=4))
def test_flattening_loses_no_leaf_and_merges_only_equal_ones(record: dict[str, Any]) -> None:
    counters: Counters = {}
    event = flatten(record, counters)
    assert len(event) <= count_leaves(record)
    present = {(type(value), value) for value in event.values()}

    def check(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        else:
            assert (type(value), value) in present

    check(record)


def test_lists_of_objects_become_one_list_per_leaf() -> None:
    counters: Counters = {}
    record: dict[str, Any] = {
        "r": [{"a": 1, "b": {"c": "x"}}, {"a": 2}, 3, [4, {"a": 5}], None],
        "s": [1, "x"],
        "e": [],
        "o": {},
        "n": None,
    }
    assert flatten(record, counters) == {"r.a": [1, 2, 5], "r.b.c": ["x"], "r": [3, 4], "s": [1, "x"]}
    assert counters == {"empty": 4}
