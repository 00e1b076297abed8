"""Field names on both sides of a match, and which rules an event is given to."""

from __future__ import annotations

from typing import Any

import pytest

from vedette_engine.detect import fields
from vedette_engine.detect.logsource import Logsource, Logsources, fits
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.ecs.catalogue import is_ecs

WINDOWS = Logsource("windows", "process_creation")
SYSMON = "Microsoft-Windows-Sysmon/Operational"


@pytest.mark.parametrize(
    ("logsource", "native", "name"),
    [
        (WINDOWS, "CommandLine", "process.command_line"),
        (WINDOWS, "OriginalFileName", "process.pe.original_file_name"),
        (Logsource("windows", "image_load"), "OriginalFileName", "dll.pe.original_file_name"),
        (Logsource("windows"), "OriginalFileName", "winlog.event_data.OriginalFileName"),
        (Logsource("windows", None, "security"), "EventID", "event.code"),
        (Logsource("windows", None, "security"), "User", "winlog.event_data.User"),
        (Logsource("windows", "ps_script"), "ScriptBlockText", "winlog.event_data.ScriptBlockText"),
        (Logsource(None, "registry_set"), "TargetObject", "registry.path"),
        (Logsource("linux", "process_creation"), "Image", "process.executable"),
        (Logsource("linux", None, "auditd"), "a0", "a0"),
        (Logsource(None, "process_creation"), "Image", "process.executable"),
        (Logsource("aws", None, "cloudtrail"), "eventName", "event.action"),
        (Logsource("aws", None, "cloudtrail"), "userIdentity.arn", "aws.cloudtrail.userIdentity.arn"),
        (Logsource("okta"), "actor.alternateId", "actor.alternateId"),
        (WINDOWS, "process.executable", "process.executable"),
        (WINDOWS, "winlog.event_data.Foo", "winlog.event_data.Foo"),
    ],
)
def test_a_native_name_has_one_name_in_events(logsource: Logsource, native: str, name: str) -> None:
    assert ECS.field(logsource, native) == name
    assert NATIVE.field(logsource, native) == native


@pytest.mark.parametrize("table", [fields.WINDOWS, fields.HOST, fields.CLOUDTRAIL])
def test_no_two_native_names_share_a_name(table: dict[str, str]) -> None:
    assert len(set(table.values())) == len(table)


def test_mapped_names_are_in_the_catalogue() -> None:
    copies = [name for names in fields._WINDOWS_COPIES.values() for name in names.values()]
    names = [*fields.WINDOWS.values(), *fields.HOST.values(), *fields.CLOUDTRAIL.values(), *copies]
    assert [name for name in names if not is_ecs(name) and not name.startswith("winlog.")] == []


def test_a_category_calls_a_field_by_a_copy_that_its_events_have() -> None:
    for category, code in (("process_creation", 1), ("image_load", 7)):
        assert fields._CATEGORY_NAMES[category].items() <= fields.windows_copies(SYSMON.upper(), code).items()


def native_event(channel: str, code: Any, **other: Any) -> dict[str, Any]:
    return {"Channel": channel, "EventID": code, **other}


@pytest.mark.parametrize(
    ("event", "categories", "services"),
    [
        (native_event(SYSMON, 1), {"process_creation"}, {"sysmon"}),
        (native_event(SYSMON.lower(), "1"), {"process_creation"}, {"sysmon"}),
        ({"winlog.channel": SYSMON, "event.code": "1"}, {"process_creation"}, {"sysmon"}),
        (native_event(SYSMON, 12), {"registry_event", "registry_add", "registry_delete"}, {"sysmon"}),
        (native_event(SYSMON, 12, EventType="CreateKey"), {"registry_event", "registry_add"}, {"sysmon"}),
        (
            {"winlog.channel": SYSMON, "event.code": "12", "winlog.event_data.EventType": "DeleteValue"},
            {"registry_event", "registry_delete"},
            {"sysmon"},
        ),
        (native_event("PowerShellCore/Operational", 4104), {"ps_script"}, {"powershell"}),
        (native_event("Security", 4688), set(), {"security"}),
        (native_event("Unheard-Of/Channel", 1), set(), set()),
        (native_event("Security", "abc"), set(), {"security"}),
    ],
)
def test_a_windows_event_is_known_by_channel_and_id(
    event: dict[str, Any], categories: set[str], services: set[str]
) -> None:
    assert event_logsources(event) == Logsources(frozenset({"windows"}), frozenset(categories), frozenset(services))


def test_security_4688_is_a_process_creation_only_where_asked_for() -> None:
    event = native_event("Security", 4688)
    rule = Logsource("windows", "process_creation")
    plain = event_logsources(event)
    asked = event_logsources(event, security_4688=True)
    assert plain is not None
    assert asked is not None
    assert not fits(rule, plain)
    assert fits(rule, asked)


@pytest.mark.parametrize(
    ("event", "claimed", "expected"),
    [
        ({}, None, None),
        ({"Channel": ["x"], "EventID": 1}, None, None),
        ({"Channel": SYSMON, "EventID": []}, None, None),
        ({"Channel": SYSMON, "EventID": True}, None, None),
        ({}, Logsource("linux", None, "auth"), Logsources(frozenset({"linux"}), frozenset(), frozenset({"auth"}))),
        (
            {"process.name": "sshd"},
            Logsource("linux", None, "auth"),
            Logsources(frozenset({"linux"}), frozenset(), frozenset({"auth", "sshd"})),
        ),
        (
            {"eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser"},
            None,
            Logsources(frozenset({"aws"}), frozenset(), frozenset({"cloudtrail"})),
        ),
        (
            native_event("Linux-Sysmon/Operational", 1),
            None,
            Logsources(frozenset({"linux"}), frozenset({"process_creation"}), frozenset({"sysmon"})),
        ),
        (
            native_event("Own/Channel", 1),
            Logsource("windows", "file_access", "own"),
            Logsources(frozenset({"windows"}), frozenset({"file_access"}), frozenset({"own"})),
        ),
    ],
)
def test_a_claim_and_the_event_itself_decide_the_log_source(
    event: dict[str, Any], claimed: Logsource | None, expected: Logsources | None
) -> None:
    assert event_logsources(event, claimed) == expected


@pytest.mark.parametrize(
    ("rule", "fitting"),
    [
        (Logsource(), True),
        (Logsource("windows"), True),
        (Logsource("windows", "process_creation", "sysmon"), True),
        (Logsource(None, "process_creation"), True),
        (Logsource("linux", "process_creation"), False),
        (Logsource("windows", "file_event"), False),
        (Logsource("windows", None, "security"), False),
    ],
)
def test_a_rule_fits_when_every_part_that_it_names_is_there(rule: Logsource, *, fitting: bool) -> None:
    sources = event_logsources(native_event(SYSMON, 1))
    assert sources is not None
    assert fits(rule, sources) is fitting
