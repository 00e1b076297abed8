"""Every kind, good and bad: which conditions follow, and that people are told everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_crds.conditions import REASONS, TYPES

Manifest = Callable[..., str]
ROWS = "{rows: [{host.name: web1, owner: ana}]}\n    keyColumn: host.name"


def documented(world: Any) -> None:
    """All that was written is in the documented lists."""
    seen = 0
    for kind in ("LogSource", "Enrichment", "AlertRule"):
        for item in world.cluster.list(kind):
            for condition in item.status.get("conditions", ()):
                seen += 1
                assert condition["type"] in TYPES
                assert condition["reason"] in REASONS
                assert condition["observedGeneration"] == item.generation
    assert seen


def test_good_objects_are_ready(
    world: Any, make_source: Manifest, make_secret: Manifest, make_rule: Manifest, make_lookup: Manifest
) -> None:
    world.put(source=make_source(), secret=make_secret(), rule=make_rule(), owners=make_lookup(ROWS))
    assert world.conditions("LogSource", "app") == {
        "Accepted": ("True", "Valid"),
        "Tested": ("True", "NoTests"),
        "TopologyReady": ("True", "Declared"),
        "TemplateReady": ("True", "Declared"),
        "Available": ("True", "Consuming"),
        "Receiving": ("Unknown", "NeverReceived"),
        "Ready": ("True", "AllGood"),
    }
    assert world.conditions("Enrichment", "owners") == {
        "Accepted": ("True", "Valid"),
        "Tested": ("True", "NoTests"),
        "Loaded": ("True", "Live"),
        "Ready": ("True", "AllGood"),
    }
    assert world.conditions("AlertRule", "marked") == {
        "Accepted": ("True", "Valid"),
        "Tested": ("True", "TestsPassed"),
        "DataAvailable": ("True", "SourceFound"),
        "Loaded": ("True", "Live"),
        "Ready": ("True", "AllGood"),
    }
    assert world.status("AlertRule", "marked")["tests"] == {"passed": 1, "failed": 0, "notRun": 0}
    assert world.rules() == {"marked": "Marked"}
    assert world.gateway() == ["app"]
    documented(world)


def test_a_rule_that_no_source_satisfies_says_so_and_is_ready_all_the_same(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule())
    conditions = world.conditions("AlertRule", "marked")
    assert conditions["DataAvailable"] == ("False", "NoSource")
    assert conditions["Ready"] == ("True", "AllGood")


def test_capitals_in_a_claim_do_not_hide_a_source(world: Any, make_source: Manifest, make_rule: Manifest) -> None:
    world.put(source=make_source().replace("category: test", "category: Test"), rule=make_rule())
    assert world.conditions("AlertRule", "marked")["DataAvailable"] == ("True", "SourceFound")


def test_a_rule_whose_tests_fail_is_not_loaded(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule(event="something-else"))
    conditions = world.conditions("AlertRule", "marked")
    assert conditions["Accepted"] == ("True", "Valid")
    assert conditions["Tested"] == ("False", "TestsFailed")
    assert conditions["Loaded"] == ("False", "NotAccepted")
    assert conditions["Ready"] == ("False", "TestsFailed")
    assert world.rules() == {}
    assert "it fires" in world.condition("AlertRule", "marked", "Tested")["message"]
    (problem,) = world.status("AlertRule", "marked")["problems"]
    assert problem["path"] == "spec.tests[0].expect.alerts"
    assert world.status("AlertRule", "marked")["tests"] == {"passed": 0, "failed": 1, "notRun": 0}
    documented(world)


def test_everything_that_is_wrong_with_a_rule_is_told_at_once_with_path_and_line(
    world: Any, make_rule: Manifest
) -> None:
    broken = make_rule().replace(
        "    detection: {sel: {event.action: marked}, condition: sel}",
        "    detection:\n      sel:\n        event.action|nonsense: x\n        other|re: '('\n      condition: sel",
    )
    world.put(rule=broken)
    assert world.conditions("AlertRule", "marked")["Accepted"] == ("False", "Invalid")
    problems = world.status("AlertRule", "marked")["problems"]
    assert [problem["line"] for problem in problems] == [5, 6]
    assert all(problem["path"].startswith("spec.sigma.detection.sel") for problem in problems)
    message = world.condition("AlertRule", "marked", "Accepted")["message"]
    assert "nonsense" in message
    assert "line 6" in message
    assert world.status("AlertRule", "marked")["tests"] == {"passed": 0, "failed": 0, "notRun": 1}


SEARCH = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: spray, namespace: shop}
spec:
  severity: high
  owner: soc
  search:
    query: event.action:login
    groupBy: [source.ip]
    condition: {count: {gte: 2}}
  incident: {open: auto, groupBy: [source.ip]}
  tests:
  - name: two within the window
    timeline: [{event: {event.action: login}, repeat: {count: 2, every: 4m}}]
    expect: {alerts: 1}
"""


def test_a_good_search_is_in_the_bundle(world: Any) -> None:
    world.put(rule=SEARCH)
    conditions = world.conditions("AlertRule", "spray")
    assert conditions["Accepted"] == ("True", "Valid")
    assert conditions["Tested"] == ("True", "TestsPassed")
    assert conditions["DataAvailable"] == ("Unknown", "Query")
    assert world.condition("AlertRule", "spray", "Accepted")["message"] == "searches every 1m in windows of 5m"
    (rule,) = world.bundle().rules
    assert (rule.sigma, rule.severity, rule.owner) == ([], "high", "soc")
    assert rule.search == {
        "query": "event.action:login",
        "every": 60_000,
        "window": 300_000,
        "groupBy": ["source.ip"],
        "count": {"gte": 2},
    }
    assert rule.incident == {"groupBy": ["source.ip"], "within": 86_400_000}
    documented(world)


@pytest.mark.parametrize(
    ("old", "new", "conditions", "path"),
    [
        ("query: event.action:login", "query: 'event.action:('", {"Accepted": ("False", "Invalid")}, "query"),
        ("query: event.action:login", "query: 'a:/(b{900}){900}/'", {"Accepted": ("False", "Invalid")}, "query"),
        ("query: event.action:login", "query: 'a:/.*b.{300}/'", {"Accepted": ("False", "Invalid")}, "query"),
        ("[source.ip]\n    cond", "['@timestamp']\n    cond", {"Accepted": ("False", "Invalid")}, "groupBy[0]"),
        ("gte: 2", "lt: 2", {"Accepted": ("False", "NotYetSupported")}, "condition.count.lt"),
        ("gte: 2", "gte: 3", {"Accepted": ("True", "Valid"), "Tested": ("False", "TestsFailed")}, ""),
    ],
)
def test_a_search_that_is_not_good_is_not_in_the_bundle(
    world: Any, old: str, new: str, conditions: dict[str, tuple[str, str]], path: str
) -> None:
    assert old in SEARCH
    world.put(rule=SEARCH.replace(old, new))
    found = world.conditions("AlertRule", "spray")
    assert {name: found[name] for name in conditions} == conditions
    told = world.status("AlertRule", "spray")["problems"][0]["path"]
    assert told == (f"spec.search.{path}" if path else "spec.tests[0].expect.alerts")
    assert world.rules() == {}
    documented(world)


CORRELATION = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: later, namespace: shop}
spec:
  severity: high
  sigma: |
    title: One
    name: one
    logsource: {category: test}
    detection: {sel: {event.action: a}, condition: sel}
    ---
    title: Many
    correlation: {type: event_count, rules: [one], group-by: [source.ip], timespan: 5m, condition: {gte: 5}}
  tests:
  - {name: many, timeline: [{event: {event.action: a}}], expect: {alerts: 1}}
"""
LATER_SOURCE = """
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: later, namespace: shop}
spec:
  input: {syslog: {port: 5514}}
  format: syslog
  dataset: test.later
  tests:
  - {name: one, input: "x", expect: {message: y}}
"""
LATER_ENRICHMENT = """
apiVersion: vedette.dev/v1alpha1
kind: Enrichment
metadata: {name: later, namespace: shop}
spec:
  cidr: {sourceField: source.ip, table: {rows: [{network: 192.0.2.0/24, a: b}]}, set: {labels.a: a}}
  tests:
  - {name: one, input: {source.ip: 192.0.2.1}, expect: {labels.a: b}}
"""


@pytest.mark.parametrize(
    ("kind", "text"),
    [("AlertRule", CORRELATION), ("LogSource", LATER_SOURCE), ("Enrichment", LATER_ENRICHMENT)],
    ids=["AlertRule", "LogSource", "Enrichment"],
)
def test_what_a_later_version_brings_is_not_accepted_yet_and_its_tests_are_not_run(
    world: Any, kind: str, text: str
) -> None:
    world.put(later=text)
    assert list(world.cluster.problems()) == []
    conditions = world.conditions(kind, "later")
    assert conditions["Accepted"] == ("False", "NotYetSupported")
    assert conditions["Ready"] == ("False", "NotYetSupported")
    assert world.status(kind, "later")["tests"] == {"passed": 0, "failed": 0, "notRun": 1}
    assert world.status(kind, "later")["problems"]
    documented(world)


def test_a_source_whose_test_fails_is_not_in_force(world: Any, make_source: Manifest, make_secret: Manifest) -> None:
    extra = "tests: [{name: one, input: {a: 1}, expect: {event.action: x}}]"
    world.put(source=make_source(extra=extra), secret=make_secret())
    assert world.conditions("LogSource", "app")["Tested"] == ("False", "TestsFailed")
    assert world.conditions("LogSource", "app")["Ready"] == ("False", "TestsFailed")
    assert world.gateway() == []
    documented(world)


def test_a_source_without_its_secret_waits_for_it(world: Any, make_source: Manifest, make_secret: Manifest) -> None:
    world.put(source=make_source())
    assert world.conditions("LogSource", "app")["TopologyReady"] == ("False", "ReferenceNotFound")
    assert world.conditions("LogSource", "app")["Ready"] == ("False", "ReferenceNotFound")
    assert "shop/app" in world.condition("LogSource", "app", "TopologyReady")["message"]
    assert world.gateway() == []
    world.put(secret=make_secret())
    assert world.conditions("LogSource", "app")["Ready"] == ("True", "AllGood")
    assert world.gateway() == ["app"]
    world.put(secret="")
    assert world.conditions("LogSource", "app")["Ready"] == ("False", "ReferenceNotFound")
    assert world.gateway() == []
    documented(world)


def test_sources_that_share_a_token_are_all_refused(world: Any, make_source: Manifest, make_secret: Manifest) -> None:
    world.put(
        one=make_source("one"),
        two=make_source("two", secret="other"),
        three=make_source("three", secret="third"),
        secret=make_secret(),
        other=make_secret("other"),
        third=make_secret("third", token="token-of-three"),
    )
    for name, other in (("one", "two"), ("two", "one")):
        assert world.conditions("LogSource", name)["Ready"] == ("False", "TokenShared")
        assert f"shop/{other}" in world.condition("LogSource", name, "TopologyReady")["message"]
    assert world.gateway() == ["three"]
    assert "token-of" not in world.gateway_file.read_text()
    assert world.gateway_file.stat().st_mode & 0o077 == 0
    world.put(other=make_secret("other", token="token-of-two"))
    assert sorted(world.gateway()) == ["one", "three", "two"]
    documented(world)


@pytest.mark.parametrize(
    ("table", "reason", "text"),
    [
        ("{configMap: {name: owners, key: owners.csv}}", "ReferenceNotFound", "ConfigMap owners"),
        ("{file: owners.csv}", "ReferenceNotFound", "cannot be read"),
        ("{pvc: {claimName: owners, path: owners.csv}}", "ReferenceNotFound", "cannot be read"),
        ("{file: folder.csv}", "ReferenceNotFound", "folder.csv"),
        ("{file: link.csv}", "ReferenceNotFound", "outside"),
        ("{file: broken.csv}", "Invalid", ""),
    ],
)
def test_a_table_that_cannot_be_had_or_read_is_told(
    world: Any, make_lookup: Manifest, table: str, reason: str, text: str
) -> None:
    (world.folder / "folder.csv").mkdir()
    (world.folder / "link.csv").symlink_to("/etc/hostname")
    (world.folder / "broken.csv").write_bytes(b"\xff\xfe\x00")
    world.put(owners=make_lookup(table))
    assert world.conditions("Enrichment", "owners")["Accepted"] == ("False", reason)
    assert text in world.condition("Enrichment", "owners", "Accepted")["message"]
    assert world.bundle().enrichments == ()
    documented(world)


def test_an_enrichment_whose_test_fails_is_not_in_force(world: Any, make_lookup: Manifest) -> None:
    extra = "tests: [{input: {host.name: web1}, expect: {labels.owner: bo}}]"
    world.put(owners=make_lookup(ROWS, extra=extra))
    assert world.conditions("Enrichment", "owners")["Tested"] == ("False", "TestsFailed")
    assert world.bundle().enrichments == ()
    documented(world)


def test_one_broken_object_does_not_hold_up_the_others(world: Any, make_rule: Manifest) -> None:
    world.put(good=make_rule("good"), broken=make_rule("broken", event="x"), torn="kind: [")
    assert world.rules() == {"good": "Marked"}
    assert [problem.file for problem in world.cluster.problems()] == ["torn.yaml"]


def test_a_message_is_bounded_however_much_is_wrong(world: Any, make_rule: Manifest) -> None:
    wrong = "\n".join(f"        f{number}|nonsense: x" for number in range(2000))
    broken = make_rule().replace(
        "    detection: {sel: {event.action: marked}, condition: sel}",
        f"    detection:\n      sel:\n{wrong}\n      condition: sel",
    )
    world.put(rule=broken)
    message = world.condition("AlertRule", "marked", "Accepted")["message"]
    assert len(message) <= 4096
    assert len(world.status("AlertRule", "marked")["problems"]) <= 100
    assert "1,9" in world.status("AlertRule", "marked")["problems"][-1]["message"]
