from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Normalise = Callable[..., dict[str, Any]]

STRUCTURED = (
    '<165>1 2025-11-24T15:00:00.003Z mymachine.example.com evntslog 42 ID47 [exampleSDID@32473 iut="3" '
    'eventSource="App \\"lication\\]"][x@1 a=""] \ufeffAn application event'
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "Nov 22 10:00:00 web1 sshd[188]: Hello: world",
            {"host.name": "web1", "process.name": "sshd", "process.pid": 188, "message": "Hello: world"},
        ),
        (
            "<86>Nov  2 10:00:00 web1 su: hi",
            {
                "log.syslog.priority": 86,
                "log.syslog.facility.name": "authpriv",
                "log.syslog.facility.code": 10,
                "log.syslog.severity.name": "informational",
                "log.syslog.severity.code": 6,
                "process.name": "su",
                "message": "hi",
            },
        ),
        (
            "2025-11-24T15:00:00.123456+01:00 web1 systemd[1]: Started.",
            {"@timestamp": 1_763_992_800_123, "host.name": "web1", "process.name": "systemd", "message": "Started."},
        ),
        ("Nov 22 10:00:00 web1 -- MARK --", {"host.name": "web1", "message": "-- MARK --"}),
        ("<13>no header at all", {"log.syslog.severity.name": "notice", "message": "no header at all"}),
        (
            STRUCTURED,
            {
                "@timestamp": 1_763_996_400_003,
                "host.name": "mymachine.example.com",
                "process.name": "evntslog",
                "process.pid": 42,
                "log.syslog.msgid": "ID47",
                "log.syslog.version": "1",
                "log.syslog.structured_data.exampleSDID@32473.iut": "3",
                "log.syslog.structured_data.exampleSDID@32473.eventSource": 'App "lication]',
                "log.syslog.structured_data.x@1.a": "",
                "message": "An application event",
            },
        ),
        ("<34>1 - - - - - -", {"log.syslog.facility.name": "auth", "message": ""}),
        (
            "<34>1 - h a p m - text",
            {"host.name": "h", "process.name": "a", "log.syslog.procid": "p", "message": "text"},
        ),
        ("83 <34>Nov 22 10:00:00 web1 su: octets", {"process.name": "su", "message": "octets"}),
        ("\ufeffNov 22 10:00:00 web1 su: bom", {"process.name": "su", "message": "bom"}),
    ],
)
def test_headers_are_read(normalise: Normalise, line: str, expected: dict[str, Any]) -> None:
    event = normalise(line, format="syslog")
    assert {name: event.get(name) for name in expected} == expected
    assert event["event.original"] == line.removeprefix("\ufeff")


def test_a_priority_out_of_range_keeps_its_number(normalise: Normalise) -> None:
    event = normalise("<999>hello", format="syslog")
    assert event["log.syslog.priority"] == 999
    assert "log.syslog.facility.name" not in event


def test_a_line_without_a_header_is_the_message_and_counted(normalise: Normalise) -> None:
    event = normalise("just words", format="syslog")
    assert event["message"] == "just words"
    assert event["counters"]["not_syslog"] == 1


def test_a_broken_structured_element_stays_in_the_message(normalise: Normalise) -> None:
    event = normalise('<34>1 - h a - - [ok a="1"][broken a="1" text', format="syslog")
    assert event["log.syslog.structured_data.ok.a"] == "1"
    assert event["message"] == '[broken a="1" text'
