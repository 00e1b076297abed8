from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_engine.normalise.counters import COUNTERS
from vedette_engine.normalise.document import MAX_OTHER, OTHER, from_document
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig

NOW = 1_764_000_000_000
KINDS = [
    ("json", ""),
    ("json", "linux.auth"),
    ("json", "aws.cloudtrail"),
    ("mozdef", ""),
    ("windowsEvent", ""),
    ("syslog", ""),
    ("syslog", "linux.auth"),
    ("text", ""),
]
MAPPING = (
    {"from": "a", "to": "user.name", "convert": {"lowercase": {}}},
    {"from": "b", "to": "event.duration", "convert": {"number": {"multiply": 1e300}}},
    {"from": "c", "to": "source.ip", "convert": {"ip": {}}},
    {"set": "event.category", "value": ["process"], "when": {"has": "user.name"}},
)

names = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            ".",
            "a.b",
            "__proto__",
            "constructor",
            "vedette",
            "vedette.x",
            "event.ingested",
            "event.hash",
            "event",
            "@timestamp",
            "message",
            "user",
            "user.name",
            "source.ip",
            "Event",
            "System",
            "EventData",
            "UserData",
            "#attributes",
            "#text",
            "winlog",
            "event_data",
            "log_name",
            "EventID",
            "Channel",
            "details",
            "tags",
            "host",
            "SourceModuleName",
            "Opcode",
            "Keywords",
            "eventName",
            "Records",
            "ts",
            "a",
            "b",
            "c",
            "_rest",
            "x\0y",
        ]
    ),
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(min_value=-(2**63), max_value=2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
        st.sampled_from(["192.0.2.1", "2026-01-01T00:00:00Z", "0x1f", "-", "Security", '{"a":1}']),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=20,
)
records = st.dictionaries(names, values, max_size=8)


def normaliser(kind: tuple[str, str]) -> Normaliser:
    config = SourceConfig("shop", "web", kind[0], kind[1], MAPPING, dataset="some.data", max_event_bytes=20_000_000)
    return Normaliser(config)


def check_event(worker: Normaliser, event: dict[str, Any]) -> None:
    assert type(event["@timestamp"]) is int
    assert event["event.ingested"] == NOW
    assert event["event.dataset"] == "some.data"
    for name, value in event.items():
        assert isinstance(name, str)
        for one in value if isinstance(value, list) else [value]:
            assert isinstance(one, str | int | float)
    document = worker.document(event)
    assert orjson.loads(orjson.dumps(document)) is not None
    other = document.get(OTHER, {})
    assert len(other) <= MAX_OTHER
    for name in other:
        assert name
        assert "\0" not in name
        assert len(name.encode()) <= 512
    assert not [
        name for name in document if name.startswith("vedette.") and name not in {OTHER, "vedette.timestamp_problem"}
    ]
    assert set(worker.counters) <= set(COUNTERS)
    assert from_document(document)["@timestamp"] == event["@timestamp"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "+".join(filter(None, kind)))
@settings(max_examples=60, deadline=None)
@given(record=records)
def test_any_json_object_becomes_a_bounded_event_or_a_dead_letter(
    kind: tuple[str, str], record: dict[str, Any]
) -> None:
    worker = normaliser(kind)
    try:
        raw = orjson.dumps(record)
    except orjson.JSONEncodeError:
        return
    for parsed in (None, orjson.loads(raw)):
        try:
            event = worker.normalise(raw, parsed, NOW)
        except Malformed:
            assert worker.counters["malformed"]
        else:
            check_event(worker, event)


windows_fields = st.sampled_from(
    [
        "TargetUserName",
        "TargetDomainName",
        "TargetUserSid",
        "TargetSid",
        "SubjectUserName",
        "IpAddress",
        "IpPort",
        "WorkstationName",
        "ProcessId",
        "ProcessName",
        "NewProcessId",
        "Keywords",
        "Computer",
        "Provider_Name",
        "TimeCreated",
        "UtcTime",
        "Image",
        "CommandLine",
        "MemberSid",
        "Protocol",
    ]
)
well_known = st.sampled_from(
    [
        ("Security", 4625),
        ("Security", "4688"),
        ("Security", 4732),
        ("Security", 5156),
        ("Microsoft-Windows-Sysmon/Operational", 1),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    kind=well_known,
    fields=st.dictionaries(windows_fields, values, max_size=8),
)
def test_well_known_windows_events_with_any_values_become_events(
    kind: tuple[str, int | str], fields: dict[str, Any]
) -> None:
    worker = normaliser(("windowsEvent", ""))
    record = {"Channel": kind[0], "EventID": kind[1], **fields}
    for native in (record, {"winlog": {"channel": kind[0], "event_id": kind[1], "event_data": fields}}):
        check_event(worker, worker.normalise(orjson.dumps(native), None, NOW))


@settings(max_examples=150, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(
            [
                "eventName",
                "eventSource",
                "sourceIPAddress",
                "errorCode",
                "userIdentity",
                "requestParameters",
                "responseElements",
                "eventTime",
                "userAgent",
                "message",
            ]
        ),
        values,
    )
)
def test_cloudtrail_records_with_any_values_become_events(fields: dict[str, Any]) -> None:
    worker = normaliser(("json", "aws.cloudtrail"))
    check_event(worker, worker.normalise(orjson.dumps(fields), None, NOW))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "+".join(filter(None, kind)))
@settings(max_examples=50, deadline=None)
@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))))
def test_any_bytes_become_an_event_or_a_dead_letter(kind: tuple[str, str], raw: bytes) -> None:
    worker = normaliser(kind)
    try:
        event = worker.normalise(raw, None, NOW)
    except Malformed:
        assert worker.counters["malformed"] == 1
    else:
        check_event(worker, event)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"not json", "MalformedJson"),
        (b'{"a": NaN}', "MalformedJson"),
        (b'{"a": Infinity}', "MalformedJson"),
        (b'{"a": "\\ud800"}', "MalformedJson"),
        (b'{"a": "\xff"}', "MalformedJson"),
        (b"[1]", "NotAnObject"),
        (b'"text"', "NotAnObject"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "TooDeep"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "TooDeep"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "TooLarge"),
    ],
    ids=["text", "nan", "infinity", "surrogate", "utf8", "list", "string", "very deep", "deep", "large"],
)
def test_a_record_that_cannot_be_read_names_its_reason(raw: bytes, reason: str) -> None:
    worker = Normaliser(SourceConfig("shop", "web", "json"))
    with pytest.raises(Malformed) as error:
        worker.normalise(raw, None, NOW)
    assert error.value.reason == reason
    assert worker.counters == {"malformed": 1}


def test_a_hundred_thousand_keys_end_in_a_bounded_document_that_keeps_them_all() -> None:
    worker = normaliser(("json", ""))
    record = {f"key{number}": number for number in range(100_000)}
    event = worker.normalise(orjson.dumps(record), None, NOW)
    document = worker.document(event)
    assert len(document[OTHER]) <= MAX_OTHER
    assert worker.counters["rest"] == 1
    back = from_document(document)
    assert {name: back[name] for name in record} == record


def test_a_ten_megabyte_field_is_kept_and_counted_as_not_searchable() -> None:
    worker = normaliser(("json", ""))
    event = worker.normalise(orjson.dumps({"message": "x" * 10_000_000}), None, NOW)
    assert len(worker.document(event)["message"]) == 10_000_000
    assert worker.counters["not_searchable"] == 1


def test_nesting_below_the_limit_becomes_one_text() -> None:
    worker = normaliser(("json", ""))
    event = worker.normalise(b'{"a":' * 100 + b"7" + b"}" * 100, None, NOW)
    name = ".".join(["a"] * 24)
    assert event[name].endswith('{"a":7}' + "}" * 75)
    assert worker.counters["too_deep"] == 1


def test_a_number_beyond_64_bits_is_rounded_with_its_digits_kept() -> None:
    worker = normaliser(("json", ""))
    event = worker.normalise(b'{"n": 123456789012345678901234567890}', None, NOW)
    assert event["n"] == 1.2345678901234568e29
    assert "123456789012345678901234567890" in event["event.original"]
    assert worker.counters["rounded"] == 1


def test_of_duplicate_keys_the_last_one_counts() -> None:
    event = normaliser(("json", "")).normalise(b'{"z": 1, "z": 2}', None, NOW)
    assert event["z"] == 2


@pytest.mark.parametrize("kind", [("syslog", "linux.auth"), ("text", "")], ids=["auth", "text"])
@pytest.mark.parametrize(
    "line",
    [
        "Nov 22 10:00:00 h sshd[1]: Failed password for " + " from" * 20_000,
        "Nov 22 10:00:00 h sshd[1]: Failed password for " + "a from b port 1 " * 5_000,
        "Nov 22 10:00:00 h sudo: " + "a : " * 10_000,
        "Nov 22 10:00:00 h sudo: u : TTY=x ; PWD=y ; USER=z" + " ; ENV=a" * 10_000,
        "<34>1 - - - - - " + '[a b="' * 20_000,
        "<34>1 - - - - - [a " + 'b="\\"" ' * 20_000,
        "Nov 22 10:00:00 h su: pam_unix(" + "(" * 60_000,
        "9" * 100_000,
        "<" * 100_000,
        "\ufeff" * 30_000,
    ],
    ids=range(10),
)
def test_a_line_made_to_slow_a_pattern_down_is_read_at_once(kind: tuple[str, str], line: str) -> None:
    worker = normaliser(kind)
    event = worker.normalise(line.encode(), None, NOW)
    check_event(worker, event)
