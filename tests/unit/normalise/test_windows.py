from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_engine.normalise.windows import to_ecs

Normalise = Callable[..., dict[str, Any]]

SYSMON = "Microsoft-Windows-Sysmon/Operational"
TIME = 1_763_996_400_000  # 2025-11-24T15:00:00Z

EVTX: dict[str, Any] = {
    "Event": {
        "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon", "Guid": "5770385F"}},
            "EventID": {"#attributes": {"Qualifiers": 0}, "#text": 1},
            "Level": 4,
            "Keywords": "0x8000000000000000",
            "TimeCreated": {"#attributes": {"SystemTime": "2025-11-24T15:00:00.000000Z"}},
            "EventRecordID": 7,
            "Correlation": None,
            "Execution": {"#attributes": {"ProcessID": 3904, "ThreadID": 4272}},
            "Channel": SYSMON,
            "Computer": "pc1",
            "Security": {"#attributes": {"UserID": "S-1-5-18"}},
        },
        "EventData": {"CommandLine": "whoami /all", "Image": "C:\\Windows\\System32\\whoami.exe", "ProcessId": 3412},
    }
}
FLAT: dict[str, Any] = {
    "Provider_Name": "Microsoft-Windows-Sysmon",
    "EventID": 1,
    "Channel": SYSMON,
    "Computer": "pc1",
    "TimeCreated": "2025-11-24T15:00:00.000000Z",
    "Level": 4,
    "Keywords": "0x8000000000000000",
    "EventRecordID": 7,
    "Execution_ProcessID": 3904,
    "Execution_ThreadID": 4272,
    "Security_UserID": "S-1-5-18",
    "CommandLine": "whoami /all",
    "Image": "C:\\Windows\\System32\\whoami.exe",
    "ProcessId": 3412,
}
NXLOG: dict[str, Any] = {
    "SourceModuleName": "eventlog",
    "SourceName": "Microsoft-Windows-Sysmon",
    "EventID": 1,
    "Channel": SYSMON,
    "Hostname": "pc1",
    "EventTime": "2025-11-24 11:00:00",
    "@timestamp": "2025-11-24T15:00:00.000Z",
    "ExecutionProcessID": 3904,
    "ThreadID": 4272,
    "UserID": "S-1-5-18",
    "RecordNumber": 7,
    "EventType": "INFO",
    "Message": "Process Create",
    "CommandLine": "whoami /all",
    "Image": "C:\\Windows\\System32\\whoami.exe",
    "ProcessId": "3412",
    "tags": ["x"],
}
BEAT: dict[str, Any] = {
    "@timestamp": "2025-11-24T15:00:00.000Z",
    "winlog": {
        "event_id": 1,
        "channel": SYSMON,
        "provider_name": "Microsoft-Windows-Sysmon",
        "computer_name": "pc1",
        "record_id": 7,
        "process": {"pid": 3904, "thread": {"id": 4272}},
        "user": {"identifier": "S-1-5-18"},
        "event_data": {"CommandLine": "whoami /all", "Image": "C:\\Windows\\System32\\whoami.exe", "ProcessId": "3412"},
    },
    "host": {"name": "collector"},
    "message": "Process Create",
}
BEAT6: dict[str, Any] = {
    "@timestamp": "2025-11-24T15:00:00.000Z",
    "event_id": 1,
    "log_name": SYSMON,
    "source_name": "Microsoft-Windows-Sysmon",
    "computer_name": "pc1",
    "record_number": "7",
    "process_id": 3904,
    "thread_id": 4272,
    "user": {"identifier": "S-1-5-18", "name": "SYSTEM"},
    "event_data": {"CommandLine": "whoami /all", "Image": "C:\\Windows\\System32\\whoami.exe", "ProcessId": "3412"},
    "host": {"name": "collector"},
}
DOTTED = (
    {f"winlog.{name}": value for name, value in BEAT["winlog"].items() if not isinstance(value, dict)}
    | {f"winlog.event_data.{name}": value for name, value in BEAT["winlog"]["event_data"].items()}
    | {
        "winlog.process.pid": 3904,
        "winlog.process.thread.id": 4272,
        "winlog.user.identifier": "S-1-5-18",
        "@timestamp": BEAT["@timestamp"],
    }
)


@pytest.mark.parametrize(
    "native", [EVTX, FLAT, NXLOG, BEAT, BEAT6, DOTTED], ids=["evtx", "flat", "nxlog", "beat", "beat6", "dotted"]
)
def test_every_shape_of_a_process_start_gives_the_same_fields(native: dict[str, Any]) -> None:
    event = to_ecs(native)
    expected = {
        "@timestamp": TIME,
        "event.code": "1",
        "event.kind": "event",
        "event.category": ["process"],
        "event.type": ["start"],
        "event.provider": "Microsoft-Windows-Sysmon",
        "winlog.channel": SYSMON,
        "winlog.provider_name": "Microsoft-Windows-Sysmon",
        "winlog.process.pid": 3904,
        "winlog.process.thread.id": 4272,
        "winlog.user.identifier": "S-1-5-18",
        "winlog.computer_name": "pc1",
        "host.name": "pc1",
        "process.command_line": "whoami /all",
        "process.executable": "C:\\Windows\\System32\\whoami.exe",
        "process.name": "whoami.exe",
    }
    assert {name: event.get(name) for name in expected} == expected
    assert str(event["winlog.event_data.ProcessId"]) == str(event["process.pid"]) == "3412"
    assert str(event["winlog.record_id"]) == "7"


def test_the_collector_of_forwarded_events_is_kept_apart_from_the_host() -> None:
    for native in (BEAT, BEAT6):
        event = to_ecs(native)
        assert event["host.name"] == "pc1"
        assert event["agent.hostname"] == "collector"
    unnamed = {**BEAT, "winlog": {"event_id": 1, "channel": SYSMON}}
    assert to_ecs(unnamed)["host.name"] == "collector"


def test_every_leaf_of_an_nxlog_event_is_kept() -> None:
    event = to_ecs(NXLOG)
    values = [value for value in event.values() if isinstance(value, str)]
    for name, value in NXLOG.items():
        if isinstance(value, str):
            assert value in values or name == "@timestamp"
    assert event["tags"] == ["x"]
    assert event["nxlog.event_type"] == "INFO"


def test_a_field_of_eventdata_named_like_one_of_system_stays_apart() -> None:
    native = {
        "Event": {
            **EVTX["Event"],
            "UserData": {"LogFileCleared": {"#attributes": {"xmlns": "x"}, "Channel": "Security"}},
        }
    }
    event = to_ecs(native)
    assert event["winlog.channel"] == SYSMON
    assert event["winlog.event_data.Channel"] == "Security"
    assert event["winlog.user_data.name"] == "LogFileCleared"


def test_the_event_s_own_time_wins_over_the_shipper_s() -> None:
    event = to_ecs({**FLAT, "@timestamp": "2025-11-24T15:30:00Z"})
    assert event["@timestamp"] == TIME
    assert event["event.created"] == "2025-11-24T15:30:00Z"
    assert event["winlog.time_created"] == FLAT["TimeCreated"]


@pytest.mark.parametrize(
    ("keywords", "outcome"),
    [
        ("0x8020000000000000", "success"),
        ("0x8010000000000000", "failure"),
        (-9214364837600034816, "success"),
        (-9218868437227405312, "failure"),
        (["Audit Failure"], "failure"),
        ("0x0", None),
    ],
)
def test_keywords_of_security_events_tell_the_outcome(keywords: Any, outcome: str | None) -> None:
    event = to_ecs({"EventID": 4624, "Channel": "Security", "Keywords": keywords})
    assert event.get("event.outcome") == outcome


def test_a_logon_names_user_and_origin_besides_the_native_fields() -> None:
    event = to_ecs(
        {
            "EventID": "4625",
            "Channel": "Security",
            "TargetUserName": "ana",
            "SubjectUserName": "-",
            "IpAddress": "192.0.2.7",
            "IpPort": "0",
            "WorkstationName": "-",
            "ProcessId": "0x1f4",
            "ProcessName": "C:\\a.exe",
        }
    )
    assert event["user.name"] == event["winlog.event_data.TargetUserName"] == "ana"
    assert event["source.ip"] == event["winlog.event_data.IpAddress"] == "192.0.2.7"
    assert event["event.action"] == "logon-failed"
    assert event["process.pid"] == 500
    assert "source.domain" not in event


def test_names_of_ecs_and_of_shippers_stay_while_native_ones_move() -> None:
    event = to_ecs({"EventID": 1, "user.name": "ana", "@version": "1", "host": "h", "Foo": "bar", "param1": "x"})
    assert event["user.name"] == "ana"
    assert event["@version"] == "1"
    assert event["host"] == "h"
    assert event["winlog.event_data.Foo"] == "bar"
    assert event["winlog.event_data.param1"] == "x"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, {}),
        ({}, {}),
        ({"a": 1}, {"winlog.event_data.X.a": 1}),
        ([1, 2], {"winlog.event_data.X": [1, 2]}),
        (1.5, {"winlog.event_data.X": 1.5}),
    ],
)
def test_values_that_are_not_plain_are_flattened_or_counted(value: Any, kept: dict[str, Any]) -> None:
    counters: dict[str, int] = {}
    event = to_ecs({"EventID": 1, "X": value}, counters)
    assert {name: event[name] for name in event if name.startswith("winlog.")} == kept
    assert counters == ({} if kept else {"empty": 1})


def test_a_native_name_and_its_ecs_name_do_not_hide_each_other() -> None:
    event = to_ecs({"EventID": 1, "CommandLine": "a", "process.command_line": "b"})
    assert {event["process.command_line"], event["process.command_line#2"]} == {"a", "b"}


def test_one_shape_with_different_ids_is_not_confused() -> None:
    first = to_ecs({"EventID": 1, "Channel": SYSMON, "OriginalFileName": "a"})
    second = to_ecs({"EventID": 7, "Channel": SYSMON, "OriginalFileName": "a"})
    assert "process.pe.original_file_name" in first
    assert "process.pe.original_file_name" not in second
    assert second["dll.pe.original_file_name"] == "a"


def test_a_windows_record_without_any_time_is_marked(normalise: Normalise) -> None:
    event = normalise({"EventID": 1}, format="windowsEvent")
    assert event["vedette.timestamp_problem"] == "missing"
