"""YAML is read as JSON, within bounds, with the line of everything."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds import json_text, manifest_yaml
from vedette_crds.manifest_yaml import MAX_DEPTH, MAX_NODES, Tree


def trees(text: str) -> list[Tree]:
    return list(manifest_yaml.read(text))


def only(text: str) -> Tree:
    (tree,) = trees(text)
    return tree


def complaints(text: str) -> list[str]:
    return [problem.message for tree in trees(text) for problem in tree.problems]


words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | words,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words.filter(lambda word: len(word) <= 80), inner, max_size=4)
    ),
    max_leaves=20,
)


class Quoting(yaml.SafeDumper):
    """Quotes every text: which bare words are numbers is where PyYAML and kubectl differ."""

    def quoted(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Quoting.add_representer(str, Quoting.quoted)


@given(json_values.filter(lambda value: value is not None))
def test_what_yaml_writes_is_read_as_the_same_json(value: Any) -> None:
    assert only(yaml.dump(value, Dumper=Quoting, allow_unicode=True)).value == value


@pytest.mark.parametrize("ascii_only", [True, False])
@given(value=st.dictionaries(st.text(max_size=80), st.text() | json_values, max_size=4))
def test_json_is_read_as_it_is(*, ascii_only: bool, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    assert only(json_text.as_yaml(text)).value == value


@given(st.text())
def test_any_text_is_read_or_complained_about(text: str) -> None:
    for tree in trees(text.replace("\0", "")):
        json.dumps(tree.value)


def test_every_value_has_its_line() -> None:
    tree = only("a: 1\nb:\n  - c: 2\n  - {d: 3,\n     e: 4}\nf: |\n  one\n  two\n")
    assert tree.value == {"a": 1, "b": [{"c": 2}, {"d": 3, "e": 4}], "f": "one\ntwo\n"}
    assert tree.spot.at(("a",)).line == 1
    assert tree.spot.at(("b", 0, "c")).line == 3
    assert tree.spot.at(("b", 1, "e")).line == 5
    assert tree.spot.at(("f",)).line == 6
    assert tree.spot.at(("f",)).text_line == 7


def test_a_place_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    assert only("a:\n  b: 1\n").spot.at(("a", "x", 3)).line == 1


def test_lines_go_on_through_documents() -> None:
    first, second = trees("# note\na: 1\n---\n# note\nb: 2\n")
    assert (first.spot.at(("a",)).line, second.spot.at(("b",)).line) == (2, 5)


def test_a_broken_document_does_not_hide_the_next() -> None:
    first, second = trees("a: [1\n---\nb: 2\n")
    assert first.problems
    assert second.value == {"b": 2}


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "---\n---\n\n---\n# x\n", "%YAML 1.1\n---\n"])
def test_empty_documents_are_left_out(text: str) -> None:
    assert trees(text) == []


def test_a_block_text_may_hold_document_marks_of_its_own() -> None:
    assert only("sigma: |\n  a: 1\n  ---\n  b: 2\n").value == {"sigma": "a: 1\n---\nb: 2\n"}


def test_every_duplicate_key_is_named_with_its_line_and_the_other() -> None:
    tree = only("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(str(problem.line), problem.path, problem.hint) for problem in tree.problems] == [
        ("2", "b.c", "the other one is in the same line"),
        ("3", "a", "the other one stands 2 lines higher"),
    ]


def test_keys_that_become_equal_are_duplicates() -> None:
    assert complaints("yes: 1\n'true': 2\n") == ["the key 'true' is there twice"]


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x\n", "a: !secret x\n", "a: !!timestamp 2026-11-22\n"])
def test_tags_are_refused(text: str) -> None:
    assert [complaint[:7] for complaint in complaints(text)] == ["the tag"]


def test_the_tag_for_text_makes_text() -> None:
    assert only("a: !!str 5\n").value == {"a": "5"}


@pytest.mark.parametrize("text", ["a: .nan\n", "a: -.inf\n"])
def test_numbers_that_json_lacks_are_refused(text: str) -> None:
    assert "not a number in JSON" in complaints(text)[0]


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "? {a: 1}\n: 1\n", "~: 1\n"])
def test_keys_must_be_text(text: str) -> None:
    assert "a key must be text" in complaints(text)[0]


def test_tabs_are_explained() -> None:
    (problem,) = only("a:\n\tb: 1\n").problems
    assert problem.hint == "YAML is indented with blanks, not with tabs"
    assert problem.line == 2


def test_a_colon_in_a_value_is_explained() -> None:
    (problem,) = only("a: b: c\n").problems
    assert "quote" in problem.hint


def test_control_characters_are_refused_with_their_line() -> None:
    (problem,) = only("a: 1\nb: \x07\n").problems
    assert (problem.message, problem.line) == ("the character U+0007 is not allowed in YAML", 2)


def test_anchors_aliases_and_merges_work() -> None:
    text = "one: &one {a: 1, b: 2}\ntwo: *one\nthree: {<<: *one, b: 3}\nfour: {<<: [*one, {c: 4}], b: 5}\n"
    value = only(text).value
    assert value["two"] == {"a": 1, "b": 2}
    assert value["three"] == {"a": 1, "b": 3}
    assert value["four"] == {"a": 1, "b": 5, "c": 4}


def test_a_merge_of_something_else_is_refused() -> None:
    assert "<< takes a mapping" in complaints("a: {<<: 5}\n")[0]


def test_a_yaml_bomb_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert complaints(bomb) == [f"the document has more than {MAX_NODES:,} values"]


def test_a_value_that_contains_itself_is_refused() -> None:
    assert complaints("a: &a [*a]\n") == [f"the document is nested more than {MAX_DEPTH} deep"]


@pytest.mark.parametrize("text", ["[" * 1_000_000, "{a: " * 500_000, "- " * 500_000, "? " * 500_000])
def test_deep_nesting_is_refused_before_it_costs_anything(text: str) -> None:
    assert complaints(text) == [f"the document is nested more than {MAX_DEPTH} deep"]


def test_many_values_are_refused() -> None:
    assert complaints("[" + "1," * (MAX_NODES + 1) + "]") == [f"the document has more than {MAX_NODES:,} values"]


def test_an_unknown_alias_is_a_mistake_with_a_line() -> None:
    (problem,) = only("a: 1\nb: *nobody\n").problems
    assert "undefined alias" in problem.message
    assert problem.line == 2
