"""`vedette eval`: events of any shape against a folder of rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RULE = r"""title: Encoded PowerShell
id: 5b6c2f1e-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection:
  sel: {Image|endswith: '\powershell.exe', CommandLine|contains: ' -enc '}
  condition: sel
"""
MANIFEST = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: trail, namespace: shop}
spec:
  sigma: |
    title: Trail stopped
    id: 5b6c2f1e-0000-4000-8000-000000000002
    logsource: {product: aws, service: cloudtrail}
    detection: {sel: {eventName: StopLogging}, condition: sel}
"""
IMAGE, COMMAND = r"C:\Windows\powershell.exe", "powershell -enc QQA="
SYSMON = "Microsoft-Windows-Sysmon/Operational"
NATIVE = {"Channel": SYSMON, "EventID": 1, "Image": IMAGE, "CommandLine": COMMAND}
ECS = {
    "winlog.channel": SYSMON,
    "event.code": "1",
    "process.executable": IMAGE,
    "process.command_line": COMMAND,
}
EVTX = {
    "Event": {
        "System": {"Channel": SYSMON, "EventID": 1, "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}},
        "EventData": {"Image": IMAGE, "CommandLine": COMMAND},
    }
}
WINLOGBEAT = {"winlog": {"channel": SYSMON, "event_id": 1, "event_data": {"Image": IMAGE, "CommandLine": COMMAND}}}
TRAIL = {"eventVersion": "1.08", "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging"}


@pytest.fixture
def rules(folder: Path) -> Path:
    (folder / "one.yml").write_text(RULE)
    (folder / "deep").mkdir()
    (folder / "deep" / "two.yaml").write_text(MANIFEST)
    (folder / "README.md").write_text("no rule")
    return folder


def evaluated(run: Any, rules: Path, *events: object, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    result = run("eval", "--rules", rules, "--events", "-", *options, stdin=b"\n".join(lines))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("event", [NATIVE, ECS, EVTX, WINLOGBEAT], ids=["native", "ECS", "evtx", "winlogbeat"])
def test_an_event_is_found_in_every_shape(run: Any, rules: Path, event: dict[str, Any]) -> None:
    (match,) = evaluated(run, rules, {"Image": "x"}, event)
    assert match == {"line": 2, "rule": "5b6c2f1e-0000-4000-8000-000000000001", "title": "Encoded PowerShell"}


def test_rules_inside_manifests_are_tried_too(run: Any, rules: Path) -> None:
    assert [match["title"] for match in evaluated(run, rules, TRAIL)] == ["Trail stopped"]


@pytest.mark.parametrize(
    ("logsource", "matches"),
    [
        ("product=windows,category=process_creation", 1),
        ("category=Process_Creation, product=Windows", 1),
        ("product=linux,category=process_creation", 0),
        ("product=windows", 0),
    ],
)
def test_what_the_caller_says_of_the_events_counts(run: Any, rules: Path, logsource: str, matches: int) -> None:
    found = evaluated(run, rules, {"Image": IMAGE, "CommandLine": COMMAND}, options=("--logsource", logsource))
    assert len(found) == matches


@pytest.mark.parametrize("logsource", ["nonsense", "product", "product=", "colour=red", "product=windows,,"])
def test_a_log_source_that_is_none_is_a_usage_error(run: Any, rules: Path, logsource: str) -> None:
    result = run("eval", "--rules", rules, "--events", "-", "--logsource", logsource, stdin=b"")
    assert result.exit_code == 2
    assert "--logsource" in result.stderr


def test_lines_that_are_no_events_are_told_and_the_others_count(run: Any, rules: Path) -> None:
    deep = b'{"winlog":' + b'{"a":' * 900 + b"1" + b"}" * 901
    lines = [b"{", b"[1]", b"\xff\xfe", b"", b"7", deep, json.dumps(NATIVE).encode(), b'{"a":NaN}']
    result = run("eval", "--rules", rules, "--events", "-", stdin=b"\n".join(lines))
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [7]
    for number in (1, 2, 3, 5, 6, 8):
        assert f"line {number} skipped" in result.stderr


def test_rejected_rules_are_named_with_file_and_line_and_the_others_run(run: Any, rules: Path) -> None:
    (rules / "broken.yml").write_text(RULE.replace("CommandLine|contains", "CommandLine|nonsense"))
    (rules / "torn.yml").write_text("title: [")
    (rules / "deep" / "three.yaml").write_text(MANIFEST.replace("eventName: Stop", "eventName|nonsense: Stop"))
    result = run("eval", "--rules", rules, "--events", "-", stdin=json.dumps(NATIVE).encode())
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert f"rejected: {rules / 'broken.yml'}:5" in result.stderr
    assert f"rejected: {rules / 'torn.yml'}:" in result.stderr
    assert f"rejected: {rules / 'deep' / 'three.yaml'}:10" in result.stderr
    assert "2 rules loaded, 3 problems" in result.stderr


def test_figures_are_told_on_standard_error(run: Any, rules: Path) -> None:
    result = run("eval", "--rules", rules, "--events", "-", stdin=json.dumps({"unknown": 1}).encode() + b"\n{")
    assert "1 events, 0 matches, 1 lines skipped, 1 events of unknown log source tried against all rules" in (
        result.stderr
    )
    assert "peak memory" in result.stderr


def test_a_file_is_read_too_and_a_folder_is_a_usage_error(run: Any, rules: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps(NATIVE) + "\n" + json.dumps(TRAIL) + "\n")
    result = run("eval", "--rules", rules, "--events", file)
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [1, 2]
    assert run("eval", "--rules", rules, "--events", tmp_path).exit_code == 2
    assert run("eval", "--rules", rules, "--events", tmp_path / "none").exit_code == 2


def test_it_reads_standard_input_as_a_process(spawn: Any, rules: Path) -> None:
    result = spawn("eval", "--rules", rules, "--events", "-", stdin=json.dumps(NATIVE).encode())
    assert result.returncode == 0
    assert json.loads(result.stdout)["title"] == "Encoded PowerShell"
    assert b"Traceback" not in result.stderr


def test_the_second_run_reads_compiled_rules_and_finds_the_same(run: Any, rules: Path) -> None:
    assert evaluated(run, rules, NATIVE, TRAIL) == evaluated(run, rules, NATIVE, TRAIL)
