"""`vedette get`: objects with their state, and what is wrong with them, by the line of the file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vedette_backends.cluster.folder import FolderSync
from vedette_backends.store.protocol import Heartbeat
from vedette_cli.data import Data
from vedette_operator.cache import ContentCache
from vedette_operator.controller import Controller
from vedette_operator.gateway_table import file_sink
from vedette_operator.publishing import Backends
from vedette_operator.tables import Tables

GOOD = """# a comment
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: good, namespace: shop}
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
"""
BAD = GOOD.replace("name: good", "name: bad").replace("event.action: marked\n      cond", "a|nonsense: x\n      cond")
FAILING = GOOD.replace("name: good", "name: failing").replace("{alerts: 1}", "{alerts: 2}")
SOURCE = """apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: good, namespace: web}
spec:
  input: {http: {tokenSecretRef: {name: app, key: token}}}
  format: json
  dataset: test.app
"""


@pytest.fixture
def operate(folder: Path) -> Callable[..., None]:
    """Writes files, and lets an operator have one look at the folder."""

    def work(**files: str) -> None:
        for name, text in files.items():
            file = folder / f"{name.replace('__', '/')}.yaml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        data = Data(folder / ".vedette")
        cluster = data.cluster()
        cache = ContentCache(data.cache / "verdicts.db", "stamp")
        FolderSync(folder, cluster, exclude=[data.root]).sync()
        controller = Controller(
            cluster,
            Backends(data.store, data.broker),
            Tables(cluster, data.claims, folder),
            cache,
            file_sink(data.gateway_file),
        )
        for _ in range(2):
            controller.start()
            for namespace in controller.spaces:
                store = data.store(namespace)
                body: dict[str, Any] = {"role": "pipeline", "bundle": store.head("bundle"), "errors": []}
                store.put_heartbeat(Heartbeat("pipeline", "1", time.time_ns() // 1_000_000, body))
                store.close()
        controller.close()
        cache.close()
        cluster.close()

    return work


def test_all_objects_are_shown_with_their_state(run: Any, folder: Path, operate: Any) -> None:
    operate(good=GOOD)
    result = run("get", "--dir", folder)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].split() == ["NAMESPACE", "KIND", "NAME", "READY", "REASON", "MESSAGE"]
    assert result.output.splitlines()[1].split() == ["shop", "AlertRule", "good", "True", "AllGood"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        *[(name, ["good"]) for name in ("rules", "rule", "ar", "alertrule", "alertrules", "AlertRule", "RULES")],
        *[(name, ["good"]) for name in ("sources", "source", "logsource", "logsources", "LogSource")],
        ("enrichments", []),
        ("incidents", []),
        ("problems", []),
        ("all", ["good", "good"]),
        ("siem", ["good", "good"]),
    ],
)
def test_kinds_may_be_called_by_any_of_their_names(
    run: Any, folder: Path, operate: Any, kind: str, names: list[str]
) -> None:
    operate(good=GOOD, source=SOURCE)
    result = run("get", kind, "--dir", folder, "-o", "json")
    assert [item["metadata"]["name"] for item in json.loads(result.output)["items"]] == names


def test_a_namespace_can_be_chosen(run: Any, folder: Path, operate: Any) -> None:
    operate(good=GOOD, source=SOURCE)
    result = run("get", "-n", "web", "--dir", folder)
    assert "LogSource" in result.output
    assert "AlertRule" not in result.output


def test_a_mistake_inside_sigma_is_shown_with_the_files_line(run: Any, folder: Path, operate: Any) -> None:
    operate(good=GOOD, rules__bad=BAD)
    result = run("get", "rule", "bad", "--dir", folder)
    assert result.exit_code == 1
    assert "from rules/bad.yaml:2" in result.output
    assert "✗ rules/bad.yaml:12, AlertRule shop/bad, spec.sigma.detection.sel.a|nonsense: unknown modifier" in (
        result.output
    )
    assert "(line 5 of the text)" in result.output.split("✗")[0]


def test_a_mistake_is_found_with_the_data_folder_alone(run: Any, folder: Path, operate: Any) -> None:
    operate(bad=BAD)
    assert "✗ bad.yaml:12, " in run("get", "rule", "bad", "--data", folder / ".vedette").output


def test_a_mistake_is_shown_as_far_as_it_is_known_when_its_file_is_gone(run: Any, folder: Path, operate: Any) -> None:
    operate(bad=BAD)
    (folder / "bad.yaml").unlink()
    output = run("get", "rule", "bad", "--dir", folder).output
    assert "✗ bad.yaml:2, AlertRule shop/bad, spec.sigma.detection.sel.a|nonsense: " in output
    assert "(line 5 of the text)" in output


def test_a_failing_test_is_shown_with_the_files_line(run: Any, folder: Path, operate: Any) -> None:
    operate(failing=FAILING)
    result = run("get", "rule", "failing", "--dir", folder)
    assert result.exit_code == 1
    assert "✗ failing.yaml:17, AlertRule shop/failing, spec.tests[0].expect.alerts: test 'it fires' failed" in (
        result.output
    )


def test_problems_of_files_are_shown_with_path_and_line(run: Any, folder: Path, operate: Any) -> None:
    operate(good=GOOD, torn="kind: [", wrong=BAD.replace("severity: high", "severity: awful"))
    result = run("get", "problems", "--dir", folder)
    assert result.exit_code == 1
    assert "✗ torn.yaml:" in result.output
    assert "✗ wrong.yaml:6, AlertRule shop/bad, spec.severity" in result.output


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_one_object_can_be_read_by_programs(
    run: Any, folder: Path, operate: Any, output: str, read: Callable[[str], Any]
) -> None:
    operate(good=GOOD)
    found = read(run("get", "rule", "good", "--dir", folder, "-o", output).output)
    assert found["metadata"]["name"] == "good"
    assert found["status"]["conditions"]


def test_objects_that_share_a_name_are_all_given_to_programs(run: Any, folder: Path, operate: Any) -> None:
    operate(good=GOOD, source=SOURCE)
    found = json.loads(run("get", "all", "good", "--dir", folder, "-o", "json").output)
    assert sorted(item["kind"] for item in found["items"]) == ["AlertRule", "LogSource"]


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("rule", "none"), ("--data", "none"), ("--dir", "none"), ("rule", "-o", "xml")]
)
def test_what_does_not_exist_is_a_usage_error(
    run: Any, folder: Path, operate: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    operate(good=GOOD)
    monkeypatch.chdir(folder)
    assert run("get", *arguments).exit_code == 2


def test_without_a_data_folder_it_says_what_to_do(run: Any, tmp_path: Path) -> None:
    result = run("get", "--dir", tmp_path)
    assert result.exit_code == 2
    assert "vedette up" in result.output


def test_control_characters_in_manifests_do_not_reach_the_terminal(run: Any, folder: Path, operate: Any) -> None:
    operate(failing=FAILING.replace("it fires", '"\\x1b[31m"'))
    for arguments in ((), ("rule", "failing")):
        assert "\x1b" not in run("get", *arguments, "--dir", folder).output
