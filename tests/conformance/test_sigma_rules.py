"""SigmaHQ's development rules against SigmaHQ's own regression events and matches that were computed elsewhere."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from vedette_engine.detect.engine import Engine
from vedette_engine.detect.logsource import Logsource, fits
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import Compiled, compile_sigma
from vedette_engine.normalise.windows import to_ecs

pytestmark = pytest.mark.slow

# Rules that leave values to the site (`|expand`), by the placeholders that they name.
UNEXPANDED = {
    "c4a1f389-2e6b-4d9a-8f0c-b73e5a12d947": {"known_cdcs"},
    "313e72de-0c0d-4d65-8c95-87f4d546eceb": {"Legitimate_Countries", "Legitimate_IP_Ranges"},
    "f272fb46-25f2-422c-b667-45837994980f": {"Important_AppIds"},
    "8c944ecb-6970-4541-8496-be554b8e2846": {"Known_Location"},
    "28870ae4-6a13-4616-bd1a-235a7fad7458": {"KNOWN_LOCATION"},
    "5f521e4b-0105-4b72-845b-2198a54487b9": {"HomeTenantID"},
    "b2e4a719-3c8f-4d1b-a507-f83c2d56e901": {"dc_machine_accounts", "dc_ip_addresses"},
    "dd7876d8-0f09-11eb-adc1-0242ac120002": {"DC-MACHINE-NAME"},
    "6c9eb492-e477-4df9-b0f4-571fc9db29cd": {"Administrators"},
    "2a9e4f17-6c3b-4d8a-e1f0-b57c2d94a631": {"legit_ips"},
    "fda34293-718e-4b36-b018-38caab0d1209": {"domain_controller_hostnames"},
    "43311e65-84d8-42a5-b3d4-c94d9b67038f": {"userdomain"},
}
# (rule, uid) of expected matches that are not ours, each looked at.
EXPLAINED = {
    # The rule excludes PowerShell's own path by a pattern with backslashes. The event holds that path in a list, which
    # the reference looked at as JSON text, where every backslash is two.
    "d7326048-328b-4d5e-98af-86e84b17c765": 1,
}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, compressed or not."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)


@pytest.fixture(scope="module")
def compiled(shared_data: Path) -> dict[str, Compiled]:
    """What each rule file compiles to, by the rule's id."""
    return {row["id"]: compile_sigma(row["yaml"]) for row in lines(shared_data / "sigma" / "rules.jsonl.gz")}


@pytest.fixture(scope="module")
def rules(compiled: dict[str, Compiled]) -> dict[str, Rule]:
    """The rules that load, by id."""
    return {rule.id: rule for one in compiled.values() for rule in one.rules}


@pytest.fixture(scope="module")
def native(rules: dict[str, Rule]) -> Engine:
    return Engine(rules.values(), naming=NATIVE)


@pytest.fixture(scope="module")
def normalised(rules: dict[str, Rule]) -> Engine:
    return Engine(rules.values(), naming=ECS)


def ids(engine: Engine, event: dict[str, Any], *, security_4688: bool = False) -> set[str]:
    sources = event_logsources(event, security_4688=security_4688)
    return {rule.id for rule in engine.match(event, None, sources)}


def test_every_rule_loads_or_says_which_placeholder_it_misses(compiled: dict[str, Compiled]) -> None:
    refused = {key: one.problems for key, one in compiled.items() if not one.rules}
    assert refused.keys() == UNEXPANDED.keys()
    for key, problems in refused.items():
        assert {problem.message.split("%")[1] for problem in problems} == UNEXPANDED[key]
        assert all(problem.line is not None for problem in problems)
    assert not [one.problems for one in compiled.values() if one.rules and one.problems]
    assert not [one.warnings for one in compiled.values() if one.warnings]


def test_placeholders_that_are_given_values_load(shared_data: Path) -> None:
    for row in lines(shared_data / "sigma" / "rules.jsonl.gz"):
        if row["id"] in UNEXPANDED:
            given = compile_sigma(row["yaml"], placeholders={name: ["x", "y"] for name in UNEXPANDED[row["id"]]})
            assert len(given.rules) == 1, given.problems


def test_deprecated_rules_load_or_say_why_not(shared_data: Path) -> None:
    reasons: Counter[str] = Counter()
    for row in lines(shared_data / "sigma" / "rules_deprecated_unsupported.jsonl.gz"):
        found = compile_sigma(row["yaml"])
        assert found.rules or found.problems
        reasons.update({problem.message.split(":")[0].split("%")[0] for problem in found.problems})
    assert set(reasons) == {
        "aggregations after a `|` are no longer part of Sigma",
        "documents with an `action` are not supported",
        "Sigma rule must have a title",
        "the condition cannot be read",
        "the placeholder ",
        "there is no condition",
    }


@pytest.mark.parametrize("shape", ["native", "flat", "evtx"])
def test_every_regression_event_is_found(
    shape: str, shared_data: Path, rules: dict[str, Rule], native: Engine, normalised: Engine
) -> None:
    missed = []
    cases = 0
    for case in lines(shared_data / "sigma" / "regression.jsonl"):
        if case["rule_id"] not in rules:
            continue
        cases += 1
        events = case["events_evtx" if shape == "evtx" else "events_flat"]
        if shape == "native":
            found = [case["rule_id"] in ids(native, event, security_4688=True) for event in events]
        else:
            found = [case["rule_id"] in ids(normalised, to_ecs(event), security_4688=True) for event in events]
        if sum(found) < (case["match_count"] or 1):
            missed.append(case["case"])
    assert cases > 100
    assert missed == []


def test_windows_matches_are_those_computed_elsewhere(shared_data: Path, native: Engine) -> None:
    folder = shared_data / "windows"
    expected = {row["uid"]: set(row["rules"]) for row in lines(folder / "expected_sigma_matches.jsonl.gz")}
    evaluated = set(json.loads((folder / "expected_sigma_summary.json").read_text())["evaluated_rule_ids"])
    missing: Counter[str] = Counter()
    surplus: Counter[str] = Counter()
    for file in ("events_otrf.jsonl.gz", "events_evtx_attack_samples.jsonl.gz"):
        for row in lines(folder / file):
            found = ids(native, row["event"]) & evaluated
            wanted = expected.get(row["uid"], set())
            missing.update(wanted - found)
            surplus.update(found - wanted)
    assert surplus == {}
    assert missing == EXPLAINED


def test_cloud_matches_are_those_computed_elsewhere(shared_data: Path, native: Engine) -> None:
    folder = shared_data / "cloud"
    evaluated = set(json.loads((folder / "expected_sigma_summary.json").read_text())["evaluated_rule_ids"])
    events = {row["uid"]: row["event"] for row in lines(folder / "cloudtrail_events.jsonl.gz")}
    for row in lines(shared_data / "panther" / "cases.jsonl.gz"):
        events[f"panther:{row['case']}"] = row["event"]
    different = []
    for row in lines(folder / "expected_sigma_matches.jsonl"):
        source = row["logsource"]
        claimed = Logsource(source.get("product"), source.get("category"), source.get("service"))
        sources = event_logsources({}, claimed)
        assert sources is not None
        found = {
            rule.id
            for rule in native.match(events[row["uid"]])
            if rule.logsource.product == claimed.product
            and fits(Logsource(rule.logsource.product, None, rule.logsource.service), sources)
        }
        found = found & evaluated - set(row["undetermined_rules"])
        if found != set(row["rules"]):
            different.append((row["uid"], found ^ set(row["rules"])))
    assert different == []


def test_native_and_normalised_events_get_equal_verdicts(shared_data: Path, native: Engine, normalised: Engine) -> None:
    different = []
    for case in lines(shared_data / "sigma" / "regression.jsonl"):
        for flat, evtx in zip(case["events_flat"], case["events_evtx"], strict=True):
            verdict = ids(native, flat, security_4688=False)
            if not verdict == ids(normalised, to_ecs(flat)) == ids(normalised, to_ecs(evtx)):
                different.append(case["case"])
    for number, row in enumerate(lines(shared_data / "windows" / "events_otrf.jsonl.gz")):
        if number % 10 == 0 and ids(native, row["event"]) != ids(normalised, to_ecs(row["event"])):
            different.append(row["uid"])
    assert different == []
