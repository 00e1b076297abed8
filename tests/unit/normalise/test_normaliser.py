from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from vedette_crds.problems import ProblemsError
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig

Normalise = Callable[..., dict[str, Any]]
NOW = 1_764_000_000_000  # 2025-11-24T16:00:00Z


def test_plain_json_keeps_its_names_with_dots_for_nesting(normalise: Normalise) -> None:
    event = normalise({"@timestamp": "2025-11-24T15:59:59Z", "user": {"name": "bob"}, "shop.cart": {"items": [1, 2]}})
    assert event["user.name"] == "bob"
    assert event["shop.cart.items"] == [1, 2]
    assert event["@timestamp"] == NOW - 1000
    assert event["event.ingested"] == NOW
    assert event["counters"] == {"events": 1}
    assert "event.original" not in event


@pytest.mark.parametrize(
    ("record", "problem", "counter"),
    [
        ({"a": 1}, "missing", "time_missing"),
        ({"@timestamp": "soon"}, "unreadable", "time_unreadable"),
        ({"@timestamp": {"a": 1}}, "missing", "time_missing"),
        ({"@timestamp": "0000-01-01T00:00:00Z"}, "unreadable", "time_unreadable"),
        ({"@timestamp": "9999-12-31T23:59:59Z"}, "unreadable", "time_unreadable"),
        ({"timestamp": "soon"}, "unreadable", "time_unreadable"),
    ],
)
def test_an_event_without_a_readable_time_is_marked_and_sorted_by_its_arrival(
    normalise: Normalise, record: dict[str, object], problem: str, counter: str
) -> None:
    event = normalise(record)
    assert event["@timestamp"] == NOW
    assert event["vedette.timestamp_problem"] == problem
    assert event["counters"][counter] == 1


def test_an_unreadable_time_is_kept_as_it_was_written(normalise: Normalise) -> None:
    assert normalise({"@timestamp": "soon"})["supplied.@timestamp"] == "soon"


@pytest.mark.parametrize(("ahead", "marked"), [(300_000, False), (300_001, True)])
def test_a_time_more_than_five_minutes_ahead_is_marked_and_stays(
    normalise: Normalise, ahead: int, *, marked: bool
) -> None:
    event = normalise({"@timestamp": NOW + ahead})
    assert event["@timestamp"] == NOW + ahead
    assert (event.get("vedette.timestamp_problem") == "future") is marked
    assert event["counters"].get("time_future", 0) == marked


def test_digits_below_a_millisecond_are_kept_beside(normalise: Normalise) -> None:
    event = normalise({"@timestamp": "2025-11-24T15:59:59.123456Z"})
    assert event["@timestamp"] == NOW - 877
    assert event["supplied.@timestamp"] == "2025-11-24T15:59:59.123456Z"


@pytest.mark.parametrize("kind", ["json", "mozdef", "windowsEvent"])
@pytest.mark.parametrize("name", ["event.ingested", "event.hash", "vedette.timestamp_problem", "vedette.other"])
def test_what_only_vedette_sets_is_moved_away_from_senders(normalise: Normalise, kind: str, name: str) -> None:
    event = normalise({name: "forged", "EventID": 1}, format=kind)
    assert event.get(name) != "forged"
    assert [key for key, value in event.items() if value == "forged" and key.endswith(name)]
    if kind != "mozdef":
        assert event["counters"]["reserved"] == 1


def test_nested_reserved_names_are_moved_too(normalise: Normalise) -> None:
    event = normalise({"event": {"ingested": 1}, "vedette": {"other": {"a": 2}}})
    assert event["event.ingested"] == NOW
    assert event["supplied.event.ingested"] == 1
    assert event["supplied.vedette.other.a"] == 2


def test_the_source_s_dataset_wins_and_the_sender_s_is_kept(normalise: Normalise) -> None:
    event = normalise({"event.dataset": "theirs"}, dataset="ours.log")
    assert event["event.dataset"] == "ours.log"
    assert event["supplied.event.dataset"] == "theirs"


def test_a_record_that_was_decoded_already_gives_the_same_event() -> None:
    worker = Normaliser(SourceConfig("shop", "web", "json"))
    raw = b'{"a": {"b": 1}}'
    assert worker.normalise(raw, orjson.loads(raw), NOW) == worker.normalise(raw, None, NOW)


def test_a_source_that_cannot_work_says_everything_that_is_wrong() -> None:
    source = SourceConfig(
        "shop", "web", "xml", "cobol", ({"from": "a", "to": "b", "convert": {"magic": {}}},), timezone="Mars/Base"
    )
    with pytest.raises(ProblemsError) as error:
        Normaliser(source)
    assert [problem.path for problem in error.value.problems] == [
        "spec.format",
        "spec.parser",
        "spec.timezone",
        "spec.mapping[0].convert",
    ]
    assert all(problem.object == "LogSource shop/web" and problem.hint for problem in error.value.problems)


def test_a_source_config_survives_json() -> None:
    source = SourceConfig(
        "shop", "web", "json", "linux.auth", ({"set": "a", "value": [1]},), dataset="x", security_4688=True
    )
    assert SourceConfig.from_json(orjson.loads(orjson.dumps(source.to_json()))) == source


def test_a_source_config_of_a_newer_version_is_read() -> None:
    source = SourceConfig("shop", "web", "json")
    assert SourceConfig.from_json({**source.to_json(), "future": 1}) == source


def test_times_without_a_zone_are_in_the_source_s(normalise: Normalise) -> None:
    event = normalise({"@timestamp": "2025-11-24 17:00:00"}, timezone="Europe/Berlin")
    assert event["@timestamp"] == NOW


@pytest.mark.parametrize("form", ["syslog", "text"])
def test_bytes_that_are_not_utf8_are_replaced_and_kept_in_base64(normalise: Normalise, form: str) -> None:
    event = normalise(b"caf\xe9 closed", format=form)
    assert event["message"] == "caf\ufffd closed"
    assert event["event.original_base64"] == "Y2Fm6SBjbG9zZWQ="
    assert event["counters"]["invalid_utf8"] == 1


@pytest.mark.parametrize("form", ["syslog", "text"])
def test_a_shipper_s_wrapper_around_a_line_is_unpacked(normalise: Normalise, form: str) -> None:
    event = normalise({"message": "Nov 22 10:00:00 web1 su[1]: hello", "agent": {"name": "a"}}, format=form)
    assert event["agent.name"] == "a"
    assert event["event.original"] == "Nov 22 10:00:00 web1 su[1]: hello"
    assert event["message"] == ("hello" if form == "syslog" else event["event.original"])
