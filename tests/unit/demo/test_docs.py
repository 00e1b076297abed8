"""Tutorial and how-tos: the manifests in them are valid and do what the text says; the commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from vedette_cli.demo.story import expected_alerts
from vedette_cli.main import main
from vedette_crds.alertrule import AlertRule
from vedette_crds.load import Loaded, load_text
from vedette_engine.alerting.ruletests import as_event, run_rule_tests
from vedette_engine.detect.naive import matches
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma
from vedette_operator.rules import compile_rule

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted([DOCS / "tutorial.md", *(DOCS / "howto").glob("*.md")])
NUMBERS = {19: "nineteen", 20: "twenty"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def manifest_in(page: Path) -> tuple[AlertRule, tuple[Rule, ...]]:
    text = next(block for block in blocks(page, "yaml") if block.startswith("apiVersion"))
    found = load_text(text, page.name)
    assert found.problems == []
    model = found.documents[0].model
    assert isinstance(model, AlertRule)
    compiled = compile_sigma(model.spec.sigma or "")
    assert compiled.problems == ()
    return model, compiled.rules


@pytest.mark.parametrize("name", ["tutorial.md", "howto/write-a-rule.md"])
def test_the_rule_in_the_text_passes_its_tests(name: str) -> None:
    model, rules = manifest_in(DOCS / name)
    results = run_rule_tests(model.spec, rules)
    assert len(results) == 2
    assert all(result.passed for result in results)


def test_the_search_in_the_text_passes_its_tests() -> None:
    (text,) = blocks(DOCS / "howto" / "scheduled-searches.md", "yaml")
    (document,) = load_text(text, "scheduled-searches.md").documents
    assert isinstance(document.model, AlertRule)
    compiled = compile_rule(document.model.spec)
    assert compiled.problems == ()
    assert [result.passed for result in compiled.results] == [True, True]


def test_the_tutorials_first_event_is_found_and_the_second_is_not() -> None:
    _, (rule,) = manifest_in(DOCS / "tutorial.md")
    events = [json.loads(text) for text in re.findall(r"echo '(\{.*\})' >", (DOCS / "tutorial.md").read_text())]
    assert [matches(rule, as_event(event, rule.logsource)) for event in events] == [True, False]


def test_the_tutorials_token_is_the_quickstarts(loaded: Loaded) -> None:
    (token,) = re.findall(r"Bearer (demo-only-[\w-]+)", (DOCS / "tutorial.md").read_text())
    secrets = {document.name: document.manifest for document in loaded.documents if document.kind == "Secret"}
    assert secrets["linux-processes-token"]["stringData"]["token"] == token


def test_the_tutorial_counts_rules_and_alerts_right(loaded: Loaded) -> None:
    text = (DOCS / "tutorial.md").read_text()
    rules = sum(document.kind == "AlertRule" for document in loaded.documents)
    assert f"{NUMBERS[rules]} rules" in text
    assert f"there are {NUMBERS[len(expected_alerts(1))]}" in " ".join(text.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_in_the_text_exists_with_its_options(page: Path) -> None:
    assert isinstance(main, click.Group)
    context = click.Context(main)
    for line in re.findall(r"(?:^\$ |^\s*- (?:run: )?\S*?|`)vedette ([a-z]+[^`\n]*)", page.read_text(), re.MULTILINE):
        name, *rest = line.split()
        command = main.get_command(context, name)
        assert command is not None, line
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        assert {word for word in rest if word.startswith("--")} <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_pages_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
