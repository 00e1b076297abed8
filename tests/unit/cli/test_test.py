"""`vedette test`: the tests inside manifests, as CI of a rules repository runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"

RULE = """# a comment
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: marked, namespace: shop}
spec:
  severity: high
  sigma: |
    title: Marked
    logsource: {category: test}
    detection:
      sel:
        event.action: marked
      condition: sel
  tests:
  - name: it fires
    timeline: [{event: {event.action: marked}}]
    expect: {alerts: 1}
  - name: it does not fire
    timeline: [{event: {event.action: other}}]
    expect: {alerts: 0}
"""
LATER = RULE.replace("name: marked", "name: later").replace("  tests:", "  suppress: {by: [a], for: 1h}\n  tests:")
SOURCE = """apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: app, namespace: shop}
spec:
  input: {http: {tokenSecretRef: {name: app, key: token}}}
  format: json
  dataset: test.app
  logsource: {category: test}
  tests:
  - {name: an action, input: {event: {action: x}}, expect: {event.action: x}}
"""
ENRICHMENT = """apiVersion: vedette.dev/v1alpha1
kind: Enrichment
metadata: {name: owners, namespace: shop}
spec:
  lookup:
    keyField: host.name
    table: {configMap: {name: owners, key: owners.csv}}
    set: {labels.owner: owner}
  tests:
  - {input: {host.name: web1}, expect: {labels.owner: ana}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: owners, namespace: shop}
binaryData: {owners.csv: aG9zdC5uYW1lLG93bmVyCndlYjEsYW5hCg==}
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_all_kinds_are_tested(run: Any, folder: Path) -> None:
    write(folder, rule=RULE, source=SOURCE, owners=ENRICHMENT)
    result = run("test", folder, "-v")
    assert result.exit_code == 0, result.output
    assert "4 passed, 0 failed, 0 not run, 0 problems" in result.output
    assert "✓ AlertRule shop/marked: it fires" in result.output


def test_the_quickstart_passes_as_a_process(spawn: Any) -> None:
    result = spawn("test", EXAMPLES / "quickstart")
    assert result.returncode == 0, result.stdout
    assert b" 0 failed, 0 not run, 0 problems" in result.stdout


def test_the_example_of_every_kind_is_valid_and_what_is_not_supported_yet_is_not_run(run: Any) -> None:
    result = run("test", EXAMPLES / "api.yaml")
    assert " 0 failed" in result.output
    assert "not supported yet" in result.output


def test_a_failing_test_exits_1_and_is_named_with_file_and_line(run: Any, folder: Path) -> None:
    write(folder, rule=RULE.replace("expect: {alerts: 0}", "expect: {alerts: 5}"))
    result = run("test", folder)
    assert result.exit_code == 1
    told = "rule.yaml:20: AlertRule shop/marked: it does not fire: raised 0 alerts, expected 5\n"
    assert told in result.output
    assert "1 passed, 1 failed, 0 not run, 0 problems" in result.output


def test_a_mistake_inside_sigma_is_named_with_the_files_line(run: Any, folder: Path) -> None:
    write(folder, rule=RULE.replace("event.action: marked\n      cond", "event.action|nonsense: marked\n      cond"))
    result = run("test", folder)
    assert result.exit_code == 1
    assert "rule.yaml:12, AlertRule shop/marked, spec.sigma.detection.sel" in result.output
    assert "0 passed, 0 failed, 2 not run, 1 problems" in result.output


def test_what_is_not_supported_yet_is_not_run_and_no_failure(run: Any, folder: Path) -> None:
    write(folder, later=LATER)
    result = run("test", folder)
    assert result.exit_code == 0, result.output
    assert "0 passed, 0 failed, 2 not run, 0 problems" in result.output
    assert "later.yaml:16" in result.output
    assert "suppress is not supported yet" in result.output


def test_every_mistake_of_every_file_is_told(run: Any, folder: Path) -> None:
    write(
        folder,
        torn="kind: [",
        wrong=RULE.replace("severity: high", "severity: awful\n  colour: red"),
        missing=ENRICHMENT.split("---", maxsplit=1)[0],
    )
    result = run("test", folder)
    assert result.exit_code == 1
    for text in ("torn.yaml:", "wrong.yaml:6", "wrong.yaml:7", "missing.yaml:7", "ConfigMap owners"):
        assert text in result.output
    assert "0 passed, 0 failed, 1 not run, 4 problems" in result.output


def test_a_report_for_ci_is_written(run: Any, folder: Path, tmp_path: Path) -> None:
    write(
        folder,
        rule=RULE.replace("expect: {alerts: 0}", "expect: {alerts: 5}"),
        later=LATER,
        torn="kind: [",
        missing=ENRICHMENT.split("---", maxsplit=1)[0],
    )
    report = tmp_path / "report.xml"
    assert run("test", folder, "--junit", report).exit_code == 1
    root = ET.parse(report).getroot()
    suites = {suite.attrib["name"]: suite for suite in root.iter("testsuite")}
    assert set(suites) == {"manifests", "AlertRule shop/marked", "AlertRule shop/later", "Enrichment shop/owners"}
    assert len(list(root.iter("failure"))) == 1
    assert len(list(root.iter("error"))) == 2
    assert len(list(root.iter("skipped"))) == 3
    for suite in suites.values():
        assert int(suite.attrib["tests"]) == len(list(suite.iter("testcase")))
        assert int(suite.attrib["failures"]) == len(list(suite.iter("failure")))
        assert int(suite.attrib["errors"]) == len(list(suite.iter("error")))


def test_a_report_that_cannot_be_written_is_an_error_that_says_so(run: Any, folder: Path) -> None:
    write(folder, rule=RULE)
    result = run("test", folder, "--junit", folder / "none" / "report.xml")
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_names_that_drive_a_terminal_or_break_xml_are_made_harmless(run: Any, folder: Path, tmp_path: Path) -> None:
    hostile = '"\\x1b[2J\\ufffe\\u202e<&>"'
    write(folder, rule=RULE.replace("it fires", hostile).replace("{alerts: 1}", "{alerts: 3}"))
    report = tmp_path / "report.xml"
    result = run("test", folder, "--junit", report)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert any("<&>" in case.attrib["name"] for case in ET.parse(report).iter("testcase"))


@pytest.mark.parametrize("arguments", [(), ("none",)])
def test_without_anything_to_test_it_is_a_usage_error(run: Any, arguments: tuple[str, ...]) -> None:
    assert run("test", *arguments).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)),
        "[" * 100_000,
        "kind: !!python/object/apply:os.system [true]",
        "\x00",
        "? {a: b}\n: c",
    ],
    ids=["bomb", "deep", "python", "NUL", "odd key"],
)
def test_hostile_files_are_problems_and_nothing_more(run: Any, folder: Path, text: str) -> None:
    write(folder, hostile=text, rule=RULE)
    result = run("test", folder)
    assert result.exit_code == 1
    assert "hostile.yaml" in result.output
    assert "2 passed" in result.output


def test_a_regular_expression_that_would_take_for_ever_does_not(run: Any, folder: Path) -> None:
    slow = RULE.replace("event.action: marked\n      cond", "event.action|re: '^(a+)+$'\n      cond")
    write(folder, rule=slow.replace("{event.action: marked}", "{event.action: '" + "a" * 60_000 + "!'}"))
    result = run("test", folder)
    assert "1 passed, 1 failed" in result.output
