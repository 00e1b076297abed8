from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_engine.normalise.mapping import compile_mapping

Normalise = Callable[..., dict[str, Any]]


def run(event: dict[str, Any], *steps: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    compiled, problems = compile_mapping(steps)
    assert not problems
    counters: dict[str, int] = {}
    for step in compiled:
        step(event, counters)
    return event, counters


def test_a_field_moves_to_its_new_name() -> None:
    assert run({"user": "bob"}, {"from": "user", "to": "user.name"}) == ({"user.name": "bob"}, {})


def test_a_missing_field_is_no_fault() -> None:
    assert run({"a": 1}, {"from": "user", "to": "user.name"}) == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("convert", "before", "after"),
    [
        ({"number": {"multiply": 1_000_000.0}}, 12, 12_000_000),
        ({"number": {"multiply": 1_000_000.0}}, "1.5", 1_500_000),
        ({"number": {}}, "7", 7),
        ({"number": {"multiply": 0.001}}, 1, 0.001),
        ({"integer": {}}, "7", 7),
        ({"string": {}}, 7, "7"),
        ({"boolean": {}}, "Yes", True),
        ({"boolean": {}}, 0, False),
        ({"ip": {}}, "192.0.2.7:4711", "192.0.2.7"),
        ({"ip": {}}, "[2001:db8::1]:443", "2001:db8::1"),
        ({"ip": {}}, "fe80::1%eth0", "fe80::1"),
        ({"lowercase": {}}, "AbC", "abc"),
        ({"uppercase": {}}, "AbC", "ABC"),
        ({"timestamp": {}}, 1_764_000_000, "2025-11-24T16:00:00.000Z"),
        ({"timestamp": {"timezone": "+02:00"}}, "2025-11-24 18:00:00", "2025-11-24T16:00:00.000Z"),
        ({"split": {}}, "a, b,,c", ["a", "b", "c"]),
        ({"split": {"separator": "|"}}, "a|b", ["a", "b"]),
        ({"lowercase": {}}, ["A", "B"], ["a", "b"]),
    ],
)
def test_conversions(convert: dict[str, Any], before: Any, after: Any) -> None:
    event, counters = run({"x": before}, {"from": "x", "to": "y", "convert": convert})
    assert event == {"y": after}
    assert type(event["y"]) is type(after)
    assert not counters


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        ({"number": {}}, "many"),
        ({"number": {"multiply": 1e308}}, 1e300),
        ({"number": {}}, True),
        ({"integer": {}}, "1.5"),
        ({"boolean": {}}, "perhaps"),
        ({"ip": {}}, "localhost"),
        ({"lowercase": {}}, 7),
        ({"timestamp": {}}, "soon"),
        ({"split": {}}, 7),
        ({"ip": {}}, ["192.0.2.1", "x"]),
    ],
)
def test_a_value_that_cannot_be_converted_stays_where_it_was_and_is_counted(
    convert: dict[str, Any], value: Any
) -> None:
    assert run({"x": value}, {"from": "x", "to": "y", "convert": convert}) == ({"x": value}, {"mapping_failed": 1})


@pytest.mark.parametrize(
    ("when", "event", "applies"),
    [
        ({"has": "a"}, {"a": 1}, True),
        ({"has": "a"}, {}, False),
        ({"lacks": "a"}, {}, True),
        ({"lacks": "a"}, {"a": 1}, False),
        ({"equals": {"a": 1, "b": "x"}}, {"a": 1, "b": "x"}, True),
        ({"equals": {"a": 1, "b": "x"}}, {"a": 1, "b": "y"}, False),
        ({"equals": {"a": 1}}, {"a": True}, False),
        ({"equals": {"a": 1}}, {"a": [2, 1]}, True),
    ],
)
def test_conditions(when: dict[str, Any], event: dict[str, Any], *, applies: bool) -> None:
    result, _ = run(dict(event), {"set": "done", "value": True, "when": when})
    assert ("done" in result) is applies


def test_what_a_step_replaces_is_kept_below_supplied() -> None:
    event, _ = run({"user.name": "old", "user": "new"}, {"from": "user", "to": "user.name"})
    assert event == {"user.name": "new", "supplied.user.name": "old"}


@pytest.mark.parametrize("target", ["vedette.x", "event.ingested", "event.hash"])
def test_a_mapping_cannot_set_what_only_vedette_sets(target: str) -> None:
    _, problems = compile_mapping([{"set": target, "value": 1}])
    assert problems[0].path == "mapping[0]"


def test_a_mapped_time_becomes_the_event_s_own(normalise: Normalise) -> None:
    event = normalise({"when": "2025-11-24T15:00:00Z"}, mapping=({"from": "when", "to": "@timestamp"},))
    assert event["@timestamp"] == 1_763_996_400_000
    assert "vedette.timestamp_problem" not in event
