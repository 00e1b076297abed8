"""The quickstart's manifests: every test in them passes with the real engine, and the story raises what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from vedette_cli.demo.send import Clock, encode
from vedette_cli.demo.shapes import SOURCES, Moment
from vedette_cli.demo.story import expected_alerts, play
from vedette_crds.alertrule import AlertRule
from vedette_crds.enrichment import Enrichment
from vedette_crds.features import not_yet_supported
from vedette_crds.load import Document, Loaded
from vedette_crds.logsource import LogSource
from vedette_engine.alerting.ruletests import run_rule_tests
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.routing import event_logsources
from vedette_engine.detect.sigma import compile_sigma
from vedette_engine.enrich.base import compile_enrichments
from vedette_engine.enrich.testing import run_enrichment_tests
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.testing import run_source_tests
from vedette_engine.testing import TestResult

EXAMPLES = Path(__file__).parents[3] / "examples" / "quickstart"
RULE_FILES = sorted((EXAMPLES / "rules").glob("*.yaml"))
MANIFEST_FILES = sorted(EXAMPLES.rglob("*.yaml"))

Detect = Callable[[Moment, Clock], tuple[str, ...]]


def documents(loaded: Loaded, kind: str) -> list[Document]:
    return [document for document in loaded.documents if document.kind == kind]


def rule(file: Path) -> dict[str, Any]:
    manifest = yaml.safe_load(file.read_text())
    assert isinstance(manifest, dict)
    return manifest


def test_every_manifest_is_valid_and_uses_only_what_is_there(loaded: Loaded) -> None:
    assert loaded.problems == []
    assert [str(p) for d in loaded.documents if d.model is not None for p in not_yet_supported(d.model)] == []


def table_of(document: Document, loaded: Loaded) -> bytes:
    """The file or the ConfigMap's value that an enrichment names."""
    spec = document.manifest["spec"]
    reference = spec["geoip"]["database"] if "geoip" in spec else spec["lookup"]["table"]
    if "file" in reference:
        return EXAMPLES.joinpath(str(reference["file"])).read_bytes()
    named = reference["configMap"]
    (config,) = [found for found in documents(loaded, "ConfigMap") if found.name == named["name"]]
    return str(config.manifest["data"][named["key"]]).encode()


def results_of(document: Document, loaded: Loaded) -> list[TestResult]:
    match document.model:
        case LogSource(spec=spec):
            return run_source_tests(spec, document.namespace, document.name)
        case Enrichment(spec=spec):
            return run_enrichment_tests(spec, table_of(document, loaded))
        case AlertRule(spec=spec):
            compiled = compile_sigma(spec.sigma or "")
            assert compiled.problems == ()
            return run_rule_tests(spec, compiled.rules)
        case _:
            return []


def test_every_test_in_the_manifests_passes(loaded: Loaded) -> None:
    results = [(document.name, result) for document in loaded.documents for result in results_of(document, loaded)]
    assert [(name, r.name, r.message) for name, r in results if r.passed is not True] == []
    assert len(results) > 60


def test_the_demos_sources_are_the_quickstarts(loaded: Loaded) -> None:
    assert sorted(document.name for document in documents(loaded, "LogSource")) == sorted(SOURCES)


def test_every_token_is_a_different_one_and_says_that_it_is_for_the_demo(loaded: Loaded) -> None:
    tokens = [document.manifest["stringData"]["token"] for document in documents(loaded, "Secret")]
    assert len(set(tokens)) == len(tokens) == len(SOURCES)
    assert all(token.startswith("demo-only-") for token in tokens)


def test_there_are_at_least_twelve_rules_with_ids_of_their_own() -> None:
    ids = [yaml.safe_load(rule(file)["spec"]["sigma"])["id"] for file in RULE_FILES]
    assert len(set(ids)) == len(ids) >= 12


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda file: file.stem)
def test_every_rule_tells_a_responder_what_they_need(file: Path) -> None:
    manifest = rule(file)
    spec = manifest["spec"]
    sigma = yaml.safe_load(spec["sigma"])
    assert manifest["metadata"]["name"] == file.stem
    assert spec["severity"] == sigma["level"]
    assert spec["owner"].endswith(".example")
    assert spec["runbook"].startswith("https://")
    assert "{" in spec["summary"]
    assert any(re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag) for tag in sigma["tags"])
    assert sigma["description"]
    assert sigma["falsepositives"]


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda file: file.stem)
def test_every_rule_has_a_test_that_fires_and_one_that_does_not(file: Path) -> None:
    counts = [test["expect"]["alerts"] for test in rule(file)["spec"]["tests"]]
    assert min(counts) == 0
    assert max(counts) > 0


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda file: file.stem)
def test_every_part_of_a_rule_is_needed_by_one_of_its_tests(file: Path) -> None:
    spec = AlertRule.model_validate(rule(file)).spec
    sigma = yaml.safe_load(spec.sigma or "")
    untested = []
    for part in set(sigma["detection"]) - {"condition"}:
        changed = {**sigma, "detection": {**sigma["detection"], part: {"Image": "nothing is called so"}}}
        compiled = compile_sigma(yaml.safe_dump(changed))
        assert compiled.problems == ()
        if all(result.passed for result in run_rule_tests(spec, compiled.rules)):
            untested.append(part)
    assert untested == []


@pytest.mark.parametrize("file", MANIFEST_FILES, ids=lambda file: file.stem)
def test_addresses_in_manifests_are_documentation_or_private_ones(file: Path) -> None:
    allowed = re.compile(r"(?:192\.0\.2|198\.51\.100|203\.0\.113|10\.20\.\d+)\.\d+|4\.18\.26100\.1|10\.0\.0\.0")
    text = file.read_text()
    found = re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,5}){3}(?![\d.])", text)
    assert [address for address in found if not allowed.fullmatch(address)] == []


@pytest.fixture(scope="module")
def detect(loaded: Loaded) -> Detect:
    """What an event becomes an alert of, on the way that the pipeline takes it."""
    normalisers, claims = {}, {}
    for document in documents(loaded, "LogSource"):
        config = SourceConfig.from_spec(document.namespace, document.name, document.manifest["spec"])
        normalisers[document.name] = Normaliser(config)
        claims[document.name] = Logsource(config.product or None, config.category or None, config.service or None)
    contents = {document.name: table_of(document, loaded) for document in documents(loaded, "Enrichment")}
    enricher = compile_enrichments(
        [(document.name, document.manifest["spec"]) for document in documents(loaded, "Enrichment")], contents
    )
    names, rules = {}, []
    for document in documents(loaded, "AlertRule"):
        for compiled in compile_sigma(document.manifest["spec"]["sigma"]).rules:
            names[compiled.key] = document.name
            rules.append(compiled)
    engine = Engine(rules)

    def run(moment: Moment, clock: Clock) -> tuple[str, ...]:
        at = clock.at(moment.offset)
        raw = encode(moment.make(at))
        event = normalisers[moment.source].normalise(raw, None, int(at.timestamp() * 1000) + 150)
        assert "vedette.timestamp_problem" not in event
        enricher.apply(event)
        assert "vedette.enrichment_failed" not in event
        found = engine.match(event, raw, event_logsources(event, claims[moment.source]))
        return tuple(sorted(names[match.key] for match in found))

    return run


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_the_story_raises_exactly_the_alerts_that_it_expects_and_noise_raises_none(seed: int, detect: Detect) -> None:
    clock = Clock(datetime(2026, 11, 22, 7, 30, tzinfo=UTC), 60)
    raised: Counter[str] = Counter()
    for moment in play(seed, 3000):
        found = detect(moment, clock)
        assert found == tuple(sorted(moment.alerts)), moment.make(clock.at(moment.offset))
        raised.update(found)
    assert raised == Counter(alert.rule for alert in expected_alerts(seed))


def test_every_rule_has_its_part_in_the_story(loaded: Loaded) -> None:
    assert {alert.rule for alert in expected_alerts(1)} == {
        document.name for document in documents(loaded, "AlertRule")
    }


def test_expected_alerts_come_in_order() -> None:
    times: Sequence[float] = [alert.when for alert in expected_alerts(1)]
    assert times == sorted(times)
