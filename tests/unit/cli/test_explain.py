"""`vedette explain`: which part of a rule holds, which does not, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RULE = """title: Root login
logsource: {product: linux, service: auth}
detection:
  sel: {event.action: ssh_login, user.name|cased: root}
  home: {source.ip|cidr: 10.0.0.0/8}
  condition: sel and not home
"""
LINUX = ("--logsource", "product=linux,service=auth")
GOOD = {"event.action": "ssh_login", "user.name": "root", "source.ip": "192.0.2.7"}


@pytest.fixture
def rule(folder: Path) -> Path:
    file = folder / "rule.yml"
    file.write_text(RULE)
    return file


def explained(run: Any, rule: Path, event: object, *options: str) -> Any:
    return run("explain", rule, "-", *options, stdin=json.dumps(event).encode())


def test_a_match_is_told_and_exits_0(run: Any, rule: Path) -> None:
    result = explained(run, rule, GOOD, *LINUX)
    assert result.exit_code == 0
    assert "Root login — matches" in result.output
    assert "✓" in result.output


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"user.name": None}, "absent"),
        ({"user.name": "ana"}, "differ"),
        ({"user.name": "ROOT"}, "case"),
        ({"source.ip": "10.1.2.3"}, "home"),
    ],
)
def test_what_does_not_hold_is_told_with_its_reason_and_exits_1(
    run: Any, rule: Path, change: dict[str, Any], why: str
) -> None:
    event = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    result = explained(run, rule, event, *LINUX)
    assert result.exit_code == 1
    assert "does not match" in result.output
    assert "✗" in result.output
    assert why in result.output


def test_an_event_of_another_log_source_is_told_so(run: Any, rule: Path) -> None:
    result = explained(run, rule, GOOD, "--logsource", "product=windows")
    assert result.exit_code == 1
    assert "not of the rule's log source (linux/*/auth)" in result.output


def test_the_tree_is_there_as_json(run: Any, rule: Path) -> None:
    result = explained(run, rule, GOOD, "--json", *LINUX)
    told = json.loads(result.stdout)
    assert told["tree"]["held"] is True
    assert told["routed"] is True


def test_a_line_of_a_file_can_be_chosen(run: Any, rule: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text("{}\n" + json.dumps(GOOD) + "\n[]\nbroken\n")
    assert run("explain", rule, events, *LINUX).exit_code == 1
    assert run("explain", rule, events, "--line", "2", *LINUX).exit_code == 0
    for line in ("3", "4", "5", "0"):
        result = run("explain", rule, events, "--line", line, *LINUX)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


@pytest.mark.parametrize("text", ["title: [", "just text", "", RULE.replace("user.name|cased", "user.name|nonsense")])
def test_a_rule_that_cannot_be_loaded_exits_2_and_says_why(run: Any, rule: Path, text: str) -> None:
    rule.write_text(text)
    result = explained(run, rule, GOOD)
    assert result.exit_code == 2
    assert "rejected: " in result.stderr
    assert str(rule) in result.stderr


def test_what_cannot_be_read_exits_2(run: Any, rule: Path, tmp_path: Path) -> None:
    assert run("explain", rule, tmp_path / "none").exit_code == 2
    assert run("explain", tmp_path / "none", rule).exit_code == 2
    assert run("explain", rule, tmp_path).exit_code == 2
    assert run("explain", rule, "-", stdin=b"\xff\xfe").exit_code == 2
    assert run("explain", rule, "-", stdin=b"").exit_code == 2
