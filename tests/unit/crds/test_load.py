"""Manifests are read from text, files and folders, and everything that is wrong with them is said at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vedette_crds.load import MAX_FILE_BYTES, Loaded, load_path, load_text
from vedette_crds.problems import Problem

RULE = """\
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: one, namespace: shop}
spec:
  severity: high
  sigma: |
    title: One
    logsource: {product: linux}
    detection: {x: {a: 1}, condition: x}
  tests:
  - name: first
    timeline:
    - {at: 0s, event: {a: 1}}
    expect: {alerts: 1}
"""


def said(loaded: Loaded) -> list[str]:
    return [str(problem) for problem in loaded.problems]


def the_problem(text: str | bytes) -> Problem:
    loaded = load_text(text, "f.yaml")
    (problem,) = loaded.problems
    assert loaded.documents == []
    return problem


def test_a_valid_document_knows_its_name_file_and_lines() -> None:
    (document,) = load_text(RULE, "rules/one.yaml").documents
    assert str(document) == "AlertRule shop/one"
    assert (document.file, document.line) == ("rules/one.yaml", 1)
    assert document.model is not None
    assert document.model.name == "one"
    assert document.manifest["spec"]["severity"] == "high"
    assert document.line_of("spec.tests[0].timeline[0].event.a") == 13
    assert document.line_of("spec.tests[0].nothing") == 11
    assert document.line_of("") == 1


def test_a_line_inside_the_sigma_text_is_a_line_of_the_file() -> None:
    (document,) = load_text(RULE).documents
    assert document.line_in("spec.sigma", 2) == 8
    assert document.line_in("spec.severity", 2) == 5


def test_the_namespace_may_be_left_out() -> None:
    (document,) = load_text(RULE.replace(", namespace: shop", "")).documents
    assert document.namespace == "default"
    assert document.manifest["metadata"]["namespace"] == "default"
    assert document.model is not None
    assert document.model.namespace == "default"


def test_all_mistakes_of_a_file_are_told_at_once_with_object_path_line_and_hint() -> None:
    text = """\
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: Bad_Name, lables: {}}
spec:
  severity: hgih
  owner: 5
  search: {query: x, condition: {count: {}}}
  sigma: |
    title: x
    title: y
  tests:
  - name: same
    timeline: [{at: 5 s, event: {}}]
    expect: {alerts: -1}
  - name: same
    timeline: [{at: 0s, event: {}, repeat: {count: "3"}}]
    expext: {alerts: 1}
---
kind: Incidnet
apiVersion: vedette.dev/v1alpha1
---
kind: Secret
apiVersion: v1
metadata: {name: s}
data: {a: "not base64!"}
"""
    rule = "AlertRule default/Bad_Name"
    assert [(p.line, p.object, p.path, p.hint) for p in load_text(text, "f.yaml").problems] == [
        (3, rule, "metadata.name", "for example web-auth"),
        (3, rule, "metadata.lables", "did you mean labels?"),
        (4, rule, "spec", "keep sigma, or make an object of each"),
        (5, rule, "spec.severity", "did you mean high?"),
        (6, rule, "spec.owner", "put it in quotes"),
        (7, rule, "spec.search.condition.count", ""),
        (10, rule, "spec.sigma", "the other one stands 1 lines higher"),
        (13, rule, "spec.tests[0].timeline[0].at", "for example 30s, 5m, 1h30m or 7d"),
        (14, rule, "spec.tests[0].expect.alerts", ""),
        (15, rule, "spec.tests[1].expect", "is it what you wrote as expext?"),
        (15, rule, "spec.tests[1].name", "give each entry its own name"),
        (16, rule, "spec.tests[1].timeline[0].repeat.count", "write it without quotes"),
        (17, rule, "spec.tests[1].expext", "did you mean expect?"),
        (19, "Incidnet", "kind", "did you mean Incident?"),
        (25, "Secret default/s", "data.a", "use stringData for text"),
    ]


def test_a_mistake_in_one_document_leaves_the_others_in() -> None:
    loaded = load_text(f"{RULE}---\na: [\n---\n{RULE.replace('name: one', 'name: two')}")
    assert [document.name for document in loaded.documents] == ["one", "two"]
    assert len(loaded.problems) == 1


@pytest.mark.parametrize("text", ["- 1\n", "text\n", "5\n", "null # but said so\n"])
def test_a_manifest_must_be_a_mapping(text: str) -> None:
    assert the_problem(text).message == "a manifest must be a mapping"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a: 1\n", "the field kind is needed", "kinds are LogSource"),
        ("kind: 5\n", "the field kind is needed", "kinds are LogSource"),
        ("apiVersion: v1\nkind: Service\n", "the kind 'Service' is not Vedette's", "kinds are LogSource"),
        ("apiVersion: vedette.dev/v1\nkind: Alert\n", "there is no kind 'Alert'", ""),
        ("apiVersion: vedette.dev/v1alpha1\nkind: Secret\n", "there is no kind 'Secret'", ""),
        ("apiVersion: vedette.dev/v1alpha1\nkind: Watchlist\n", "does not know the kind Watchlist yet", ""),
    ],
)
def test_other_kinds_are_named_with_what_is_possible(text: str, message: str, hint: str) -> None:
    problem = the_problem(text)
    assert message in problem.message
    assert hint in problem.hint


def test_the_version_must_be_ours() -> None:
    problem = the_problem(RULE.replace("v1alpha1", "v1"))
    assert (problem.path, problem.line) == ("apiVersion", 1)


def test_bytes_that_are_not_utf8_are_told_with_their_line() -> None:
    problem = the_problem(b"a: 1\nb: \xff\n")
    assert (problem.line, problem.hint) == (2, "save the file as UTF-8")


def test_a_nul_character_is_told_with_its_line() -> None:
    assert the_problem(b"a: 1\n\0\n").line == 2


def test_half_a_surrogate_pair_in_a_text_is_refused() -> None:
    assert "surrogate" in the_problem("a: \ud800\n").message


def test_a_byte_order_mark_does_no_harm() -> None:
    assert len(load_text(b"\xef\xbb\xbf" + RULE.encode()).documents) == 1
    assert len(load_text("\ufeff" + RULE).documents) == 1


def test_windows_line_ends_keep_the_lines() -> None:
    (document,) = load_text(RULE.replace("\n", "\r\n")).documents
    assert document.line_of("spec.tests[0].expect.alerts") == 14


def test_a_file_that_is_too_large_is_refused() -> None:
    assert "bytes" in the_problem(b"#" * (MAX_FILE_BYTES + 1)).message


def test_a_rule_that_is_too_large_is_refused() -> None:
    problem = the_problem(RULE.replace("title: One", f"title: {'é' * 131_000}"))
    assert problem.message.startswith("the spec takes 262,")
    assert problem.path == "spec"


def test_hundreds_of_mistakes_are_cut_with_their_number() -> None:
    many = RULE + "".join(f"  x{number}: 1\n" for number in range(500))
    problems = load_text(many).problems
    assert len(problems) == 201
    assert problems[-1].message == "and 300 more mistakes"


def test_json_is_a_manifest_too() -> None:
    manifest = yaml.safe_load(RULE)
    manifest["spec"]["title"] = "\U0001f600 \\ud83d"
    (document,) = load_text(json.dumps(manifest, indent="\t"), "one.json").documents
    assert document.manifest["spec"]["title"] == "\U0001f600 \\ud83d"
    assert document.line_of("spec.severity") == 9


def test_a_list_as_kubectl_prints_it_counts_item_by_item() -> None:
    one, two = yaml.safe_load(RULE), yaml.safe_load(RULE.replace("name: one", "name: two"))
    one["metadata"] |= {
        "uid": "5e1c",
        "resourceVersion": "77",
        "generation": 3,
        "creationTimestamp": "2026-11-22T10:00:00Z",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    listed: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [one, two],
        "metadata": {"resourceVersion": ""},
    }
    loaded = load_text(yaml.safe_dump(listed))
    assert said(loaded) == []
    assert [document.name for document in loaded.documents] == ["one", "two"]
    assert loaded.documents[1].line > loaded.documents[0].line


def test_secrets_config_maps_and_namespaces_may_stand_beside() -> None:
    text = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop}
type: Opaque
data: {a: aGVsbG8=}
stringData: {b: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a-name-that-is-longer-than-the-forty-characters-of-ours, namespace: shop}
data: {owners.csv: "a,b"}
binaryData: {geo.mmdb: AAEC}
"""
    loaded = load_text(text)
    assert said(loaded) == []
    assert [(document.kind, document.model) for document in loaded.documents] == [("Secret", None), ("ConfigMap", None)]
    assert loaded.documents[0].manifest["stringData"] == {"b": "hello"}


@pytest.mark.parametrize(
    ("kind", "rest", "path"),
    [
        ("Secret", "data: {a: 5}", "data.a"),
        ("Secret", "date: {}", "date"),
        ("ConfigMap", "data: {a: yes}", "data.a"),
        ("ConfigMap", "data: {a: x}\nbinaryData: {a: AAEC}", "binaryData.a"),
        ("ConfigMap", f"data: {{a: {'x' * 1_048_577}}}", ""),
    ],
)
def test_secrets_and_config_maps_are_checked(kind: str, rest: str, path: str) -> None:
    assert the_problem(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{rest}\n").path == path


def test_of_two_objects_with_one_name_none_is_taken_and_both_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULE)
    (tmp_path / "b.yaml").write_text("# note\n" + RULE)
    loaded = load_path(tmp_path)
    assert loaded.documents == []
    (problem,) = loaded.problems
    assert (problem.file, problem.line) == (str(tmp_path / "b.yaml"), 4)
    assert f"{tmp_path / 'a.yaml'}, line 1" in problem.message


def test_of_three_objects_with_one_name_none_is_taken_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{RULE}---\n{RULE}")
    (tmp_path / "b.yaml").write_text(RULE)
    loaded = load_path(tmp_path)
    assert loaded.documents == []
    assert len(loaded.problems) == 2


def test_a_name_may_occur_once_in_every_namespace_and_kind() -> None:
    other = RULE.replace("namespace: shop", "namespace: other")
    assert len(load_text(f"{RULE}---\n{other}").documents) == 2


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for place in ("b/two.yml", "a.yaml", "c.json", "d.txt", ".hidden.yaml", ".git/x.yaml"):
        name = Path(place).stem.strip(".")
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(json.dumps(yaml.safe_load(RULE.replace("name: one", f"name: {name}"))))
    loaded = load_path(tmp_path)
    assert said(loaded) == []
    assert [document.name for document in loaded.documents] == ["a", "c", "two"]


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
    (outside / "a.yaml").write_text(RULE)
    (inside / "b.txt").write_text(RULE.replace("name: one", "name: linked"))
    (inside / "file.yaml").symlink_to(outside / "a.yaml")
    (inside / "folder").symlink_to(outside)
    (inside / "kept.yaml").symlink_to("b.txt")
    assert [document.name for document in load_path(inside).documents] == ["linked"]


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = load_path(tmp_path / "nothing").problems
    assert problem.message == "there is no such file or folder"


def test_one_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "rule").write_text(RULE)
    assert [document.name for document in load_path(tmp_path / "rule").documents] == ["one"]


def test_a_large_file_in_a_folder_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    (tmp_path / "b.yaml").write_text(RULE)
    loaded = load_path(tmp_path)
    assert len(loaded.documents) == 1
    assert [problem.message for problem in loaded.problems] == ["the file is too large"]
