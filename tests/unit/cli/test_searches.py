"""Rules with a scheduled search on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: spray, namespace: shop}
spec:
  severity: high
  title: One address, many accounts
  search:
    query: event.action:ssh_login AND event.outcome:failure
    window: 10m
    groupBy: [source.ip, user.name]
    condition: {count: {gte: 3}}
  tests:
  - name: three times
    timeline:
    - event: {event.action: ssh_login, event.outcome: failure}
      repeat: {count: 3}
    expect: {alerts: 1}
"""
EVENT = {"event.action": "ssh_login", "event.outcome": "failure", "source.ip": ["192.0.2.7", "192.0.2.8"]}


@pytest.fixture
def rule(folder: Path) -> Path:
    file = folder / "rule.yaml"
    file.write_text(RULE)
    return file


def explained(run: Any, rule: Path, event: object, *options: str) -> Any:
    return run("explain", rule, "-", *options, stdin=json.dumps(event).encode())


def test_the_tests_of_a_search_are_run(run: Any, rule: Path) -> None:
    result = run("test", rule, "-v")
    assert result.exit_code == 0, result.output
    assert "✓ AlertRule shop/spray: three times" in result.output
    rule.write_text(RULE.replace("alerts: 1", "alerts: 2"))
    result = run("test", rule)
    assert result.exit_code == 1
    assert "rule.yaml:18: AlertRule shop/spray: three times: raised 1 alert, expected 2" in result.output


def test_a_mistake_in_a_query_is_told_with_its_line(run: Any, rule: Path) -> None:
    rule.write_text(RULE.replace("AND event.outcome:failure", "AND ("))
    result = run("test", rule)
    assert result.exit_code == 1
    assert "rule.yaml:9, AlertRule shop/spray, spec.search.query" in result.output
    assert "0 passed, 0 failed, 1 not run, 1 problems" in result.output


def test_explain_says_whether_the_query_finds_an_event_and_for_what_it_counts(run: Any, rule: Path) -> None:
    result = explained(run, rule, EVENT)
    assert result.exit_code == 0
    assert "One address, many accounts — the query finds the event" in result.output
    assert "it counts for source.ip 192.0.2.7, user.name absent" in result.output
    assert "it counts for source.ip 192.0.2.8, user.name absent" in result.output
    assert "asks for at least 3 events within 10m for each source.ip and user.name" in result.output


def test_explain_exits_1_where_the_query_does_not_find_the_event(run: Any, rule: Path) -> None:
    result = explained(run, rule, {"event": {"action": "ssh_login"}})
    assert result.exit_code == 1
    assert "the query does not find the event" in result.output
    assert "it counts" not in result.output


def test_explain_tells_it_as_json(run: Any, rule: Path) -> None:
    told = json.loads(explained(run, rule, EVENT, "--json").stdout)
    assert told["found"] is True
    assert told["groups"] == [
        {"source.ip": "192.0.2.7", "user.name": None},
        {"source.ip": "192.0.2.8", "user.name": None},
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("AND event.outcome:failure", "AND (", "spec.search.query"), ("gte: 3", "lt: 3", "lt is not supported yet")],
)
def test_a_search_that_cannot_be_run_is_rejected_with_its_place(
    run: Any, rule: Path, old: str, new: str, told: str
) -> None:
    rule.write_text(RULE.replace(old, new))
    result = explained(run, rule, EVENT)
    assert result.exit_code == 2
    assert "rejected: " in result.output
    assert "rule.yaml:" in result.output
    assert told in result.output


def test_eval_says_that_it_leaves_searches_out(run: Any, rule: Path) -> None:
    result = run("eval", "--rules", rule, "--events", "-", stdin=json.dumps(EVENT).encode())
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "0 rules loaded, 0 problems" in result.stderr
    assert "1 scheduled search is not tried" in result.stderr
