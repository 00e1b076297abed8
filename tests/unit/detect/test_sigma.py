"""Sigma text to rules: what loads, what is refused, and where the reader is sent."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_engine.detect.naive import matches
from vedette_engine.detect.naming import NATIVE
from vedette_engine.detect.rule import FORMAT, Rule, RuleFormatError
from vedette_engine.detect.sigma import compile_sigma
from vedette_engine.detect.yamldocs import MAX_DEPTH, MAX_TEXT

RULE = """\
title: Encoded PowerShell
id: 0d5ae9a8-3a3f-4a0e-9f5b-4d35a1e7c111
name: encoded_powershell
status: test
description: A command line in Base64
author: someone
tags: [attack.execution, attack.t1059.001]
logsource: {product: Windows, category: process_creation}
detection:
    selection:
        Image|endswith: '\\powershell.exe'
        CommandLine|contains: ' -enc '
    condition: selection
falsepositives: [installers]
fields: [CommandLine]
level: high
"""
HEAD = "title: t\nlogsource: {product: test}\n"


def test_a_rule_keeps_what_its_author_wrote() -> None:
    found = compile_sigma(RULE)
    assert (found.problems, found.warnings) == ((), ())
    (rule,) = found.rules
    assert rule.id == "0d5ae9a8-3a3f-4a0e-9f5b-4d35a1e7c111"
    assert (rule.name, rule.title, rule.level, rule.status) == (
        "encoded_powershell",
        "Encoded PowerShell",
        "high",
        "test",
    )
    assert rule.tags == ("attack.execution", "attack.t1059.001")
    assert rule.logsource == ("windows", "process_creation", None)
    assert rule.fields == ("CommandLine",)
    assert rule.falsepositives == ("installers",)


def test_the_key_is_the_same_for_the_same_rule_and_changes_with_it() -> None:
    (rule,) = compile_sigma(RULE).rules
    assert compile_sigma(f"# a comment\n{RULE}").rules[0].key == rule.key
    assert compile_sigma(RULE.replace("-enc", "-e")).rules[0].key != rule.key
    assert compile_sigma(RULE.replace("level: high", "level: low")).rules[0].key != rule.key


def test_a_rule_without_an_id_is_called_by_its_name_or_its_key() -> None:
    nameless = re.sub("(?m)^(id|name): .*\n", "", RULE)
    (rule,) = compile_sigma(nameless).rules
    assert rule.id == rule.key[:16]
    (named,) = compile_sigma(re.sub("(?m)^id: .*\n", "", RULE)).rules
    assert named.id == "encoded_powershell"


def test_a_rule_without_a_level_is_medium() -> None:
    assert compile_sigma(RULE.replace("level: high\n", "")).rules[0].level == "medium"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (HEAD + "detection:\n  s:\n    f|contans: x\n  condition: s", "unknown modifier 'contans'", 5),
        (HEAD + "detection:\n  s:\n    f|re: 'a(b'\n  condition: s", "regular expression cannot be used", 5),
        (HEAD + "detection:\n  s:\n    f|re: '(?=a)b'\n  condition: s", "regular expression cannot be used", 5),
        (HEAD + "detection:\n  s:\n    f|re: '(a)\\1'\n  condition: s", "regular expression cannot be used", 5),
        (HEAD + "detection:\n  s:\n    f|cidr: 10.0.0.1/8\n  condition: s", "Invalid CIDR", 5),
        (HEAD + "detection:\n  s:\n    f|lt: abc\n  condition: s", "incompatible", 5),
        (HEAD + "detection:\n  s:\n    f|expand: '%hosts%'\n  condition: s", "%hosts% has no values", 5),
        (HEAD + "detection:\n  s:\n    f: {a: b}\n  condition: s", "a value is a mapping", 5),
        (HEAD + "detection:\n  s:\n    f: [[a]]\n  condition: s", "a value is a list inside a list", 5),
        (HEAD + "detection:\n  s:\n    f: 2026-11-22\n  condition: s", "a value is a date", 5),
        (HEAD + "detection:\n  s:\n    f: x\n  condition: s and t", "'t', which is not defined", 6),
        (HEAD + "detection:\n  s:\n    f: x\n  condition: 1 of t*", "no selection has a name like 't*'", 6),
        (HEAD + "detection:\n  s:\n    f: x\n  condition: s and", "cannot be read", 6),
        (HEAD + "detection:\n  s:\n    f: x\n  condition: s | count() > 5", "no longer part of Sigma", 6),
        (HEAD + "detection:\n  s:\n    f: x\n", "there is no condition", 3),
        (HEAD + "detection:\n  s: {}\n  condition: s", "the selection is empty", 4),
        (HEAD + "detection:\n  s: []\n  condition: s", "the list of keywords is empty", 4),
        (HEAD + "detection:\n  condition: s", "there is no selection", 3),
        (HEAD + "detection: x", "not a mapping", 3),
        (HEAD, "no detection", 1),
        ("title: t\ndetection:\n  s: {f: x}\n  condition: s", "log source", 1),
        ("logsource: {product: x}\ndetection:\n  s: {f: x}\n  condition: s", "must have a title", 1),
        (HEAD + "level: urgent\ndetection:\n  s: {f: x}\n  condition: s", "not a valid Sigma rule level", 3),
        (HEAD + "id: 5\ndetection:\n  s: {f: x}\n  condition: s", "id is not a text", 3),
        (HEAD + "tags: x\ndetection:\n  s: {f: x}\n  condition: s", "tags is not a list", 3),
        ("title: t\nlogsource: x\ndetection:\n  s: {f: x}\n  condition: s", "logsource is not a mapping", 2),
        ("title: t\n  bad: [", "not valid YAML", 2),
        ("title: t\ntitle: u", "given twice", 2),
        ("- a\n- b", "not a mapping", 1),
        ("", "no document", None),
        ("title: t\ncorrelation: {type: event_count}", "correlation rules are not supported yet", 2),
        ("action: global\ntitle: t", "`action`", 1),
        (HEAD + 'detection:\n  s:\n    f: "\\ud800"\n  condition: s', "", None),
        ("\x00", "not valid YAML", None),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, message: str, line: int | None) -> None:
    found = compile_sigma(text)
    assert not found.rules
    assert any(message in problem.message and line in (None, problem.line) for problem in found.problems), (
        found.problems
    )


def test_all_mistakes_of_a_rule_are_reported_at_once() -> None:
    found = compile_sigma("title: t\nlevel: x\ndetection:\n  s: {f|a: x, g|b: y}\n  condition: s or t")
    places = {problem.path for problem in found.problems}
    assert {"level", "detection.s.f|a", "detection.s.g|b", "detection.condition"} <= places


def test_a_bad_document_does_not_stop_the_others() -> None:
    found = compile_sigma(f"{RULE}---\ntitle: bad\n---\ncorrelation: {{}}\n---\n{RULE.replace('-enc', '-e')}")
    assert len(found.rules) == 2
    assert found.problems[0].path.startswith("[1]")
    assert found.problems[-1].message.startswith("correlation rules are not supported yet")


def test_an_unknown_modifier_comes_with_the_one_that_was_meant() -> None:
    (problem,) = compile_sigma(HEAD + "detection:\n  s: {f|contans: x}\n  condition: s").problems
    assert problem.hint == "did you mean 'contains'?"


def test_placeholders_are_filled_in() -> None:
    text = HEAD + "detection:\n  s: {f|contains|expand: 'a%hosts%z'}\n  condition: s"
    (rule,) = compile_sigma(text, placeholders={"hosts": ["1", "2"]}).rules
    assert matches(rule, {"f": "xa2zx"}, NATIVE)
    assert not matches(rule, {"f": "xa3zx"}, NATIVE)


FILTER = """\
title: Not the deployers
logsource: {product: windows}
filter:
    rules: [encoded_powershell]
    deployers: {User|startswith: 'deploy_'}
    condition: not deployers
"""
EVENT = {"Image": "C:\\x\\powershell.exe", "CommandLine": "powershell -enc abc"}


def test_a_filter_narrows_the_rules_that_it_names() -> None:
    other = RULE.replace("name: encoded_powershell", "name: other").replace("0d5ae9a8", "0d5ae9a9")
    found = compile_sigma(f"{RULE}---\n{FILTER}---\n{other}")
    narrowed, untouched = found.rules
    assert not matches(narrowed, {**EVENT, "User": "deploy_7"}, NATIVE)
    assert matches(narrowed, {**EVENT, "User": "eve"}, NATIVE)
    assert matches(untouched, {**EVENT, "User": "deploy_7"}, NATIVE)
    assert found.filters[0].title == "Not the deployers"


@pytest.mark.parametrize(
    ("rules", "logsource", "narrows"),
    [
        ("[0d5ae9a8-3a3f-4a0e-9f5b-4d35a1e7c111]", "{product: windows}", True),
        ("any", "{product: windows}", True),
        ("[]", "{category: process_creation}", True),
        ("encoded_powershell", "{product: windows, category: process_creation}", True),
        ("any", "{product: linux}", False),
        ("any", "{product: windows, service: security}", False),
        ("[someone_else]", "{product: windows}", False),
    ],
)
def test_a_filter_from_elsewhere_applies_by_id_name_and_log_source(
    rules: str, logsource: str, *, narrows: bool
) -> None:
    text = FILTER.replace("[encoded_powershell]", rules).replace("{product: windows}", logsource)
    found = compile_sigma(text)
    assert found.problems == ()
    (rule,) = compile_sigma(RULE, filters=found.filters).rules
    assert matches(rule, {**EVENT, "User": "deploy_7"}, NATIVE) is not narrows


def test_a_filter_without_rules_is_reported() -> None:
    found = compile_sigma(FILTER.replace("    rules: [encoded_powershell]\n", ""))
    assert [problem.message for problem in found.problems] == ["the filter names no rules"]


def test_a_mistyped_ecs_name_that_makes_a_rule_dead_is_refused() -> None:
    found = compile_sigma(HEAD + "detection:\n  s: {process.comand_line: x}\n  condition: s")
    assert not found.rules
    (problem,) = found.problems
    assert "can never match" in problem.message
    assert problem.hint == "did you mean 'process.command_line'?"
    assert problem.line == 4


def test_a_mistyped_name_that_does_no_harm_is_a_warning() -> None:
    found = compile_sigma(HEAD + "detection:\n  s: {a: 1}\n  f: {process.comand_line: x}\n  condition: s and not f")
    assert len(found.rules) == 1
    assert [warning.path for warning in found.warnings] == ["detection.f.process.comand_line"]


@pytest.mark.parametrize(
    "name", ["host.owner", "labels.tier", "Image", "a.b.c", "process.command_line", "host.scan.vuln"]
)
def test_names_that_may_be_right_are_left_alone(name: str) -> None:
    found = compile_sigma(HEAD + f"detection:\n  s: {{{name}: x}}\n  condition: s")
    assert (len(found.rules), found.warnings) == (1, ())


def test_a_name_that_the_sources_are_known_to_set_is_never_a_mistake() -> None:
    text = HEAD + "detection:\n  s: {process.comand_line: x}\n  condition: s"
    assert compile_sigma(text, known_fields=["process.comand_line"]).rules


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{last}'] * 9)}]\n" for last, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a [*a]",
        "[" * 100_000,
        "{a: " * (MAX_DEPTH + 1) + "x" + "}" * (MAX_DEPTH + 1),
        "x" * (MAX_TEXT + 1),
        "a: &a {b: *a}",
        "? [a, b]\n: c",
        HEAD + "detection:\n  s: {f: x}\n  condition: " + "(" * 5_000 + "s" + ")" * 5_000,
        HEAD + "detection:\n  s: {f: x}\n  condition: " + "not " * 2_000 + "s",
        HEAD + "detection:\n  s: {f|re: '" + "(a{1,1000}){1,1000}" + "'}\n  condition: s",
        HEAD + "detection:\n  s: {f|re: '" + "a" * 5_000 + "'}\n  condition: s",
        HEAD + "detection:\n  s: {f: '" + "a" * 20_000 + "'}\n  condition: s",
        HEAD + "detection:\n  s: {f|windash: [" + ",".join(["' -a -b -c '"] * 700) + "]}\n  condition: s",
        HEAD + "detection:\n  s: {f: 1" + "0" * 400 + "}\n  condition: s",
        HEAD + "detection:\n  s: {f: .inf}\n  condition: s",
        HEAD + f"detection:\n  s: {{{'f' * 600}: x}}\n  condition: s",
    ],
    ids=lambda text: text[:12] + str(len(text)),
)
def test_a_hostile_text_is_refused_quickly(text: str) -> None:
    found = compile_sigma(text)
    assert not found.rules
    assert found.problems


@settings(max_examples=150)
@given(st.text(max_size=200))
def test_any_text_gives_rules_or_problems_and_never_an_exception(text: str) -> None:
    found = compile_sigma(text)
    assert found.rules or found.problems or found.filters


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["title", "id", "tags", "level", "logsource", "detection", "filter", "status", "date", "name"]),
        st.recursive(
            st.one_of(st.text(max_size=5), st.integers(), st.none(), st.booleans(), st.floats()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["condition", "s", "f|re", "f|cidr|all", "rules", "product", "|all", "f|lt|hour"]),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=6,
        ),
    )
)
def test_any_shape_of_document_gives_rules_or_problems(document: dict[str, object]) -> None:

    found = compile_sigma(yaml.safe_dump(document, allow_unicode=True))
    assert found.rules or found.problems or found.filters


def test_a_rule_of_an_unknown_format_is_not_read() -> None:
    data = compile_sigma(RULE).rules[0].to_json()
    with pytest.raises(RuleFormatError, match="format 99"):
        Rule.from_json(data | {"format": FORMAT + 98})


@pytest.mark.parametrize(
    "broken", [{"condition": ["what"]}, {"condition": []}, {"logsource": 5}, {"title": None, "tags": 5}]
)
def test_a_damaged_rule_is_not_read(broken: dict[str, object]) -> None:
    data = compile_sigma(RULE).rules[0].to_json()
    with pytest.raises(RuleFormatError):
        Rule.from_json(data | broken)
