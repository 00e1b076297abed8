"""What the engine promises besides the right answer: order, bounds, traps of text, explanations."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.detect import regex, values
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.explain import explain
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma


def titles(engine: Engine, event: dict[str, Any], raw: bytes | None = None) -> list[str]:
    return [rule.title for rule in engine.match(event, raw)]


def titled(title: str, detection: str) -> Rule:
    text = f"title: {title!r}\nlogsource: {{product: test}}\ndetection:\n{detection}"
    return compile_sigma(text).rules[0]


def test_matches_come_in_the_order_in_which_rules_were_added() -> None:
    rules = [titled(name, "  s: {f: 1}\n  condition: s") for name in "cab"]
    engine = Engine(rules, naming=NATIVE)
    engine.add(titled("late", "  s: {f|exists: true}\n  condition: s"))
    assert titles(engine, {"f": 1}) == ["c", "a", "b", "late"]
    engine.merge()
    assert engine.pending == 0
    assert titles(engine, {"f": 1}) == ["c", "a", "b", "late"]
    engine.remove(rules[1].key)
    assert titles(engine, {"f": 1}) == ["c", "b", "late"]
    engine.remove("unknown")


def test_the_same_rule_twice_matches_once(rule_of: Callable[[str], Rule]) -> None:
    rule = rule_of("  s: {f: 1}\n  condition: s")
    engine = Engine([rule, rule], naming=NATIVE)
    engine.add(rule)
    assert len(engine.match({"f": 1})) == 1


def test_rules_match_events_in_ecs_names_by_default() -> None:
    text = "title: t\nlogsource: {product: windows}\ndetection:\n  s: {Image: x}\n  condition: s"
    engine = Engine(compile_sigma(text).rules)
    assert engine.match({"process.executable": "X"})
    assert not engine.match({"Image": "x"})


def test_values_are_forgotten_before_they_fill_the_memory(rule_of: Callable[[str], Rule]) -> None:
    engine = Engine([rule_of("  s: {f|contains: abc}\n  condition: s")], naming=NATIVE)
    engine.warm_up()
    budget = engine._main._budget
    budget.limit = 100_000
    field = engine._main.fields["f"]
    for number in range(2_000):
        engine.match({"f": f"{number} " + "x" * 200})
    assert sum(map(len, field.memo)) + sum(map(len, field.older)) < 300_000
    engine.match({"f": "y" * 1_000_000})
    assert "y" * 1_000_000 not in field.memo


def test_plans_for_ever_new_names_are_bounded(rule_of: Callable[[str], Rule]) -> None:
    engine = Engine([rule_of("  s: {f: 1}\n  condition: s")], naming=NATIVE)
    for number in range(10_000):
        assert engine.match({f"x{number}": 1, "f": 1})
    assert engine._main._plan_count <= 8_192
    assert engine.match({f"y{number}": 1 for number in range(5_000)} | {"f": 1})


RAW_TRAPS = [
    b'{"a":"MIMIKATZ"}',
    b'{"a":"mimi\\u006batz"}',
    b'{"a":"mimi\\u212aatz"}',
    '{"a":"mimi\u212aatz"}'.encode(),
    b'{"a":"m\\u0130m","b":"x"}',
    b'{"mimikatz":"x"}',
    b'{"a":"x","a":"mimikatz"}',
    b'{"a":"mimikatz","a":"x"}',
    b'{"a":["x",{"b":"mimikatz"}]}',
    b'{"a":"mimi","b":"katz"}',
    b'{"vedette.note":"mimikatz"}',
    b'{"a":1000.0,"b":true,"c":null}',
]


@pytest.mark.parametrize("raw", RAW_TRAPS)
@pytest.mark.parametrize("hyperscan", [False, True])
def test_the_scan_of_the_json_text_misses_nothing(raw: bytes, *, hyperscan: bool) -> None:
    rules = [
        titled("word", "  k: [mimikatz]\n  condition: k"),
        titled("none", "  k: [mimikatz]\n  condition: not k"),
        titled("number", "  k: [1000]\n  condition: k"),
        titled("true", "  k: ['true']\n  condition: k"),
    ]
    engine = Engine(rules, naming=NATIVE, hyperscan=hyperscan)
    event = orjson.loads(raw)
    assert titles(engine, event, raw) == titles(engine, event)
    texts = [one.lower() for one in values.all_texts(event)]
    assert ("word" in titles(engine, event, raw)) is any("mimikatz" in one for one in texts)


def test_only_two_letters_lower_to_ascii() -> None:
    found = [chr(code) for code in range(128, 0x110000) if any(c.isascii() for c in chr(code).lower())]
    assert found == ["\u0130", "\u212a"]


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb", "abc\ud83d"])
def test_half_characters_do_not_stop_a_match(value: str, rule_of: Callable[[str], Rule]) -> None:
    needles = ", ".join(f"'x{number}y'" for number in range(60))
    rules = [
        rule_of(f"  s: {{f|contains: [abc, {needles}]}}\n  condition: s"),
        rule_of("  s: {f|re: 'b$'}\n  condition: s"),
        rule_of("  s: {f: 'a?b'}\n  condition: s"),
        rule_of("  k: [abc]\n  condition: k"),
    ]
    for hyperscan in (False, True):
        engine = Engine(rules, naming=NATIVE, hyperscan=hyperscan)
        matched = {rule.key for rule in engine.match({"f": value})}
        assert (rules[0].key in matched) is ("abc" in value)
        assert (rules[2].key in matched) is (value == "a\udfffb")


def test_a_catastrophic_expression_takes_linear_time(rule_of: Callable[[str], Rule]) -> None:
    engine = Engine([rule_of("  s: {f|re: '^(a+)+$'}\n  condition: s")], naming=NATIVE)
    assert engine.match({"f": "a" * 100_000})
    assert not engine.match({"f": "a" * 100_000 + "b"})


PIECES = [
    "a",
    "K",
    "s",
    "bc",
    ".",
    "\\.",
    "\\d",
    "[ab]",
    "(?:ab|c)",
    "(xy)",
    "a?",
    "b*",
    "(?:cd)+",
    "e{2}",
    "f{0,1}",
    "^",
    "$",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.sampled_from(["", "i", "s"]),
    st.text("aAkK\u212asS\u017fbcdexyf.1\n", max_size=12),
)
def test_every_text_that_an_expression_matches_holds_its_guards(pattern: str, flags: str, text: str) -> None:
    if regex.searcher(pattern, flags)(text):
        assert all(guard in text.lower() for guard in regex.guards(pattern, flags))


@given(st.text(string.printable, max_size=20))
def test_guards_of_any_expression_are_found_without_an_error(pattern: str) -> None:
    found = regex.guards(pattern, "")
    try:
        re.compile(pattern)
        matches = regex.searcher(pattern, "")
    except (re.error, regex.RegexError):
        return
    for guard in found:
        assert not matches(guard[:-1]) or guard in guard[:-1]


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("-5", -5), ("+5.5", 5.5), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("9007199254740993", 2**53 + 1)],
)
def test_a_decimal_text_is_a_number(text: str, number: float) -> None:
    assert values.number(text) == number


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "0x5", "nan", "inf", "1_000", "\u0665", "1e99999", "5" * 100, "--5", "."]
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert values.number(text) is None


def test_huge_numbers_have_a_text() -> None:
    assert values.text(10**5000) == hex(10**5000)
    assert values.text(float("inf")) == "inf"
    assert values.text(1e300) == str(10**300) or values.text(1e300) == str(int(1e300))


def test_an_explanation_names_what_failed_and_why(rule_of: Callable[[str], Rule]) -> None:
    rule = rule_of(
        "  selection:\n    f|cased: ABC\n    g: x\n    h|lt: 5\n    i|cidr: 10.0.0.0/8\n    j|hour: 3\n"
        "    k|fieldref: l\n    m|re: 'A+$'\n    n: y\n  filter: {o: z}\n  condition: selection and not filter"
    )
    event = {"f": "abc", "h": "many", "i": "here", "j": "then", "k": "x", "m": "baa", "n": "q"}
    reasons = {
        part["field"]: part["why"] for part in explain(rule, event, NATIVE).to_json()["parts"][0]["parts"][0]["parts"]
    }
    assert reasons == {
        "f": "case differs",
        "g": "field absent",
        "h": "not a number",
        "i": "not an address",
        "j": "not a time",
        "k": "field l absent",
        "m": "case differs",
        "n": "value differs",
    }


def test_a_rendered_explanation_shows_the_authors_names(rule_of: Callable[[str], Rule]) -> None:
    rule = rule_of(
        "  selection: {f|contains: abc}\n  filter_main_x: {g: [1, 2]}\n  condition: selection and not 1 of filter_*"
    )
    shown = explain(rule, {"f": "xabc", "g": 2}, NATIVE).render()
    assert shown.splitlines() == [
        "✗ all of",
        "├ ✓ selection",
        "│ └ ✓ f contains 'abc': holds ('xabc')",
        "└ ✗ not",
        "  └ ✓ filter_main_x",
        "    └ ✓ any of",
        "      ├ ✓ g is 2: holds ('2')",
        "      └ ✗ g is 1: value differs ('2')",
    ]


def test_an_explanation_of_a_long_list_and_a_long_value_stays_short(rule_of: Callable[[str], Rule]) -> None:
    rule = rule_of("  s: {f: [" + ", ".join(f"v{n}" for n in range(200)) + "]}\n  condition: s")
    shown = explain(rule, {"f": "x" * 10_000}, NATIVE).render()
    assert shown.count("\n") < 40
    assert "175 more" in shown
    assert max(map(len, shown.splitlines())) < 400


def test_an_explanation_uses_the_names_of_events() -> None:
    text = "title: t\nlogsource: {product: windows}\ndetection:\n  s: {Image: x}\n  condition: s"
    explanation = explain(compile_sigma(text).rules[0], {"process.executable": "x"}, ECS)
    assert explanation.held
    assert "process.executable is 'x': holds" in explanation.render()


def test_a_field_with_ever_new_values_is_recognised_when_indexes_merge(rule_of: Callable[[str], Rule]) -> None:
    engine = Engine([rule_of("  s: {f|contains: abc, g|contains: def}\n  condition: s")], naming=NATIVE)
    for number in range(2_500):
        engine.match({"f": f"v{number}", "g": "same"})
    engine.merge()
    assert "f" in engine._main.statistics.varied
    assert "g" not in engine._main.statistics.varied
    assert engine.match({"f": "xabc", "g": "def"})


@pytest.mark.parametrize(
    "event",
    [
        {f"k{number}": number for number in range(100_000)},
        {"f": "x" * 10_000_000},
        {"f": ["x"] * 100_000},
        {"a": orjson.loads('{"b":' * 300 + "1" + "}" * 300)},
        {"f": orjson.loads("[" * 300 + '"abc"' + "]" * 300)},
        {"": "", "a.": {"": {"": "abc"}}, "__proto__": {"f": "abc"}},
        {"f": "\x00" * 1_000, "a": "\u202e" * 1_000},
    ],
    ids=["names", "text", "list", "objects", "lists", "odd names", "controls"],
)
def test_a_hostile_event_is_judged_like_any_other(
    event: dict[str, Any], rule_of: Callable[[str], Rule], verdict: Callable[[Rule, dict[str, Any]], bool]
) -> None:
    verdict(rule_of("  s: {f|contains: abc}\n  t: {a.b.b: 1}\n  k: [abc]\n  condition: 1 of them"), event)
