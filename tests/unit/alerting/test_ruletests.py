"""The tests inside AlertRules: timelines in, alerts expected."""

from __future__ import annotations

from typing import Any

import pytest

from vedette_crds.alertrule import AlertRuleSpec
from vedette_engine.alerting import ruletests
from vedette_engine.alerting.ruletests import as_event, flatten, run_rule_tests
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma
from vedette_engine.testing import TestResult

POWERSHELL = """
title: Encoded PowerShell
logsource: {product: windows, category: process_creation}
detection:
  sel: {Image|endswith: '\\powershell.exe', CommandLine|contains: ' -enc '}
  condition: sel
"""
LINUX = """
title: Root login
logsource: {product: linux, service: auth}
detection: {sel: {event.action: ssh_login, user.name: root}, condition: sel}
"""
COMMAND = {"Image": "C:\\Windows\\powershell.exe", "CommandLine": "powershell -enc QQA="}


def run(sigma: str, *tests: dict[str, Any]) -> list[TestResult]:
    documents: list[Rule] = list(compile_sigma(sigma).rules)
    assert documents
    named = [{"name": f"test {number}", **test} for number, test in enumerate(tests)]
    return run_rule_tests(AlertRuleSpec.model_validate({"sigma": sigma, "tests": named}), documents)


def passes(sigma: str, *timeline: dict[str, Any], **expect: Any) -> bool | None:
    (result,) = run(sigma, {"timeline": list(timeline), "expect": expect})
    assert result.passed or result.message
    return result.passed


def test_the_number_of_alerts_has_to_be_right() -> None:
    assert passes(POWERSHELL, {"event": COMMAND}, alerts=1)
    assert not passes(POWERSHELL, {"event": COMMAND}, alerts=0)
    assert not passes(POWERSHELL, {"event": COMMAND}, alerts=2)
    assert passes(POWERSHELL, {"event": {"Image": "C:\\notepad.exe"}}, alerts=0)


def test_repeated_entries_count_each_time() -> None:
    entry = {"event": COMMAND, "repeat": {"count": 7}}
    assert passes(POWERSHELL, entry, {"at": "1h", "event": COMMAND}, alerts=8)


@pytest.mark.parametrize(
    "event",
    [
        COMMAND,
        {"process.executable": COMMAND["Image"], "process.command_line": COMMAND["CommandLine"]},
        {"process": {"executable": COMMAND["Image"], "command_line": COMMAND["CommandLine"]}},
        {"Image": COMMAND["Image"], "process": {"command_line": COMMAND["CommandLine"], "pid": None}},
    ],
    ids=["native", "ECS", "nested ECS", "mixed"],
)
def test_events_may_be_written_under_native_or_ecs_names(event: dict[str, Any]) -> None:
    assert passes(POWERSHELL, {"event": event}, alerts=1)
    assert passes(POWERSHELL, {"event": event}, alerts=1, fields={"CommandLine": COMMAND["CommandLine"]})
    assert passes(POWERSHELL, {"event": event}, alerts=1, fields={"process.executable": COMMAND["Image"]})


def test_null_stands_for_an_absent_field() -> None:
    sigma = POWERSHELL.replace("condition: sel", "none: {User: null}\n  condition: sel and none")
    assert passes(sigma, {"event": {**COMMAND, "User": None}}, alerts=1)
    assert passes(sigma, {"event": {**COMMAND, "User": "ana"}}, alerts=0)


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"user.name": "root"}, True),
        ({"user.name": "ana"}, False),
        ({"source.ip": "192.0.2.7"}, False),
        ({"source.port": 22}, True),
        ({"source.port": "22"}, True),
        ({"source.port": 23}, False),
        ({"tags": "b"}, True),
        ({"tags": ["a", "b"]}, True),
        ({"tags": ["b", "a"]}, False),
    ],
)
def test_fields_of_every_alert_are_compared(fields: dict[str, Any], right: bool) -> None:  # noqa: FBT001 # pytest's
    event = {"event.action": "ssh_login", "user.name": "root", "source.port": 22, "tags": ["a", "b"]}
    assert passes(LINUX, {"event": event}, alerts=1, fields=fields) is right


def test_one_alert_with_other_fields_fails_the_test_and_says_which() -> None:
    first = {"event.action": "ssh_login", "user.name": "root", "host.name": "a"}
    timeline = [{"event": first}, {"event": {**first, "host.name": "b"}}, {"event": first}]
    (result,) = run(LINUX, {"timeline": timeline, "expect": {"alerts": 3, "fields": {"host.name": "a"}}})
    assert result == TestResult(
        "test 0", False, "alert 2: host.name is 'b', expected 'a'", "spec.tests[0].expect.fields"
    )


@pytest.mark.parametrize(
    ("logsource", "alerts"),
    [
        (None, 1),
        ({"product": "linux", "service": "auth"}, 1),
        ({"product": "linux", "service": "auth", "category": "authentication"}, 1),
        ({"product": "Linux", "service": "AUTH"}, 1),
        ({"product": "linux"}, 0),
        ({"product": "windows", "service": "auth"}, 0),
        ({"category": "authentication"}, 0),
    ],
)
def test_each_entry_may_be_of_a_log_source_of_its_own(logsource: dict[str, str] | None, alerts: int) -> None:
    entry: dict[str, Any] = {"event": {"event.action": "ssh_login", "user.name": "root"}}
    if logsource is not None:
        entry["logsource"] = logsource
    assert passes(LINUX, entry, alerts=alerts)


def test_every_document_of_a_rule_raises_its_own_alert() -> None:
    other = LINUX.replace("Root login", "Another").replace("user.name: root", "user.name: '*'")
    assert passes(f"{LINUX}\n---\n{other}", {"event": {"event.action": "ssh_login", "user.name": "root"}}, alerts=2)


def test_results_come_in_order_with_their_places() -> None:
    good = {"timeline": [{"event": COMMAND}], "expect": {"alerts": 1}}
    bad = {"timeline": [{"event": COMMAND}], "expect": {"alerts": 3}}
    results = run(POWERSHELL, good, bad, good)
    assert [result.passed for result in results] == [True, False, True]
    assert results[1].path == "spec.tests[1].expect.alerts"
    assert results[1].message == "raised 1 alert, expected 3"


def test_tests_that_cannot_be_run_say_why() -> None:
    spec = AlertRuleSpec.model_validate(
        {"sigma": LINUX, "tests": [{"name": "one", "timeline": [{"event": {}}], "expect": {"alerts": 0}}]}
    )
    assert ruletests.tests_not_run(spec, "because") == [TestResult("one", None, "because", "spec.tests[0]")]


def test_nested_names_are_joined_in_their_order_and_nulls_left_out() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e.f": [1, {"g": 2}], "h": {}}
    assert list(flatten(nested).items()) == [("a.b.c", 1), ("e.f", [1, {"g": 2}])]


def test_however_deep_an_event_is_it_can_be_flattened() -> None:
    event: dict[str, Any] = {"leaf": 1}
    for _ in range(50_000):
        event = {"a": event}
    ((name, value),) = flatten({"top": 2, **event}).items() - {("top", 2)}
    assert value == 1
    assert name.endswith(".leaf")
    assert len(name) < 3_000


def test_names_are_those_of_normalised_events() -> None:
    event = as_event({"CommandLine": "x", "EventData": {"Foo": 1}}, Logsource("windows", "process_creation"))
    assert event["process.command_line"] == "x"
