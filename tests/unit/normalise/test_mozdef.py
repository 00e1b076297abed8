from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Normalise = Callable[..., dict[str, Any]]


def test_known_fields_get_their_ecs_names_and_others_stay_below_mozdef(normalise: Normalise) -> None:
    event = normalise(
        {
            "utctimestamp": "2025-11-24T15:00:00+00:00",
            "receivedtimestamp": "2025-11-24T15:00:01+00:00",
            "category": "authentication",
            "severity": "INFO",
            "summary": "failed",
            "hostname": "web1",
            "processname": "sshd",
            "processid": "12",
            "source": "auth",
            "tags": "a",
            "surprise": {"x": 1},
            "details": {
                "sourceipaddress": "2001:db8::1",
                "username": "ana",
                "success": False,
                "sourceport": 7,
                "odd": [1],
            },
        },
        format="mozdef",
    )
    expected = {
        "@timestamp": 1_763_996_400_000,
        "event.created": "2025-11-24T15:00:01+00:00",
        "event.category": ["authentication"],
        "mozdef.category": "authentication",
        "log.level": "INFO",
        "message": "failed",
        "host.name": "web1",
        "process.name": "sshd",
        "process.pid": "12",
        "mozdef.source": "auth",
        "tags": ["a"],
        "mozdef.surprise.x": 1,
        "source.ip": "2001:db8::1",
        "user.name": "ana",
        "event.outcome": "failure",
        "source.port": 7,
        "mozdef.details.odd": [1],
        "mozdef.details.success": False,
    }
    assert {name: event.get(name) for name in expected} == expected


def test_macros_of_syslog_ng_mean_the_same(normalise: Normalise) -> None:
    event = normalise(
        {"HOST": "web1", "PROGRAM": "su", "PID": "3", "MESSAGE": "hi", "DATE": "Nov 24 15:00:00"}, format="mozdef"
    )
    expected = {"host.name": "web1", "process.name": "su", "message": "hi", "@timestamp": 1_763_996_400_000}
    assert {name: event[name] for name in expected} == expected


def test_a_log_in_json_inside_the_message_is_unpacked(normalise: Normalise) -> None:
    event = normalise(
        {"category": "bro", "MESSAGE": '{"ts": 1763996400.5, "id.orig_h": "192.0.2.1", "x": 1}'}, format="mozdef"
    )
    assert event["@timestamp"] == 1_763_996_400_500
    assert event["source.ip"] == "192.0.2.1"
    assert event["mozdef.details.x"] == 1


@pytest.mark.parametrize("details", ["somestring", 7, ["a"]])
def test_details_that_are_no_object_are_kept(normalise: Normalise, details: Any) -> None:
    assert normalise({"summary": "s", "details": details}, format="mozdef")["mozdef.details"] == details


def test_a_second_value_for_a_name_keeps_its_own(normalise: Normalise) -> None:
    event = normalise({"hostname": "a", "host": "b", "details": {"username": "x", "suser": "y"}}, format="mozdef")
    assert event["host.name"] == "a"
    assert event["mozdef.host"] == "b"
    assert event["user.name"] == "x"
    assert event["mozdef.details.suser"] == "y"


@pytest.mark.parametrize("epoch", ["1763996400", 1763996400, "1763996400000"])
def test_an_epoch_as_text_is_a_time(normalise: Normalise, epoch: Any) -> None:
    assert normalise({"timestamp": epoch}, format="mozdef")["@timestamp"] == 1_763_996_400_000
