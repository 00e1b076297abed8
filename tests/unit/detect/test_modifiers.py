"""Every modifier of Sigma 2.1 that concerns one event, with events that it matches and events that it does not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from vedette_engine.detect.rule import Rule

Verdict = Callable[[Rule, dict[str, Any]], bool]

# line of a selection, values of the field f that match, values that do not
FIELD_CASES: list[tuple[str, list[Any], list[Any]]] = [
    ("f: abc", ["abc", "ABC", ["x", "aBc"]], ["abcd", "xabc", "", None, [], ["x"], {"abc": 1}]),
    ("f: [abc, def]", ["abc", "DEF"], ["abcdef", "a"]),
    ("f: ''", ["", ["", "a"]], ["a", None, " ", 0]),
    ("f: null", [None, [], [None]], ["", "null", 0, False]),
    ("f: []", [None], ["x"]),
    ("f: '*'", ["", "x", 0, False, ["x"]], [None, []]),
    ("f: 'a*c'", ["ac", "abc", "A\nC", "abcabc"], ["acx", "xac"]),
    ("f: 'a?c'", ["abc", "a\nc", "aéc", "A?C"], ["ac", "abbc"]),
    ("f: 'a\\*c'", ["a*c"], ["abc", "a\\*c"]),
    ("f: 'a\\\\*'", ["a\\", "a\\b"], ["a", "a*"]),
    ("f: 'a\\\\\\*'", ["a\\*"], ["a\\", "a\\b"]),
    ("f: 'C:\\Windows\\\\*'", ["c:\\windows\\x", "C:\\WINDOWS\\"], ["C:\\Windows"]),
    ("f: 'C:\\Windows\\*'", ["C:\\Windows*"], ["C:\\Windows\\x"]),
    ("f: 'a?*?z'", ["a12z", "a123z"], ["a1z", "az"]),
    ("f: 5", [5, "5", 5.0, [4, 5]], [50, "05", "5.0", True]),
    ("f: -1.5", [-1.5, "-1.5"], [1.5, "-1.50"]),
    ("f: 9007199254740993", [9007199254740993, "9007199254740993"], [9007199254740992]),
    ("f: true", [True, "true", "TRUE"], [1, "1", False]),
    ("f: 1", [1, "1", 1.0], [True, "true"]),
    ("f|contains: bc", ["abcd", "BC", ["x", "xbc"]], ["b c", "cb", 1]),
    ("f|contains: ''", ["", "x"], [None]),
    ("f|startswith: ab", ["abc", "AB"], ["cab"]),
    ("f|endswith: bc", ["abc", "BC"], ["bcd"]),
    ("f|startswith: 'a*c'", ["abcd", "ac"], ["xac"]),
    ("f|endswith: 'a?c'", ["xabc"], ["abcx", "xac"]),
    ("f|contains: 'a*d'", ["xabcdx"], ["da"]),
    ("f|contains|all: [ab, cd]", ["abcd", "cdab", ["ab", "cd"]], ["ab", ["ab", "x"]]),
    ("f|cased: aB", ["aB", ["x", "aB"]], ["ab", "AB", "aBc"]),
    ("f|contains|cased: aB", ["xaBx"], ["xabx"]),
    ("f|startswith|cased: 'a?B'", ["axBx"], ["axbx", "xaxB"]),
    ("f|exists: true", ["", 0, False, "x"], [None, [], [None]]),
    ("f|exists: false", [None, []], ["", 0]),
    ("f|neq: abc", ["abcd", None, ["x"]], ["abc", "ABC", ["x", "abc"]]),
    ("f|contains|neq: b", ["xyz", None], ["abc"]),
    ("f|neq: [a, b]", ["c", None], ["a", "B"]),
    ("f|re: 'a.c'", ["xabcx", "abc"], ["ABC", "a\nc", "ac"]),
    ("f|re: '^abc$'", ["abc"], ["abcd", "abc\n"]),
    ("f|re|i: 'a.c'", ["ABC"], ["AC"]),
    ("f|re|s: 'a.c'", ["a\nc"], ["A\nC"]),
    ("f|re|m: '^b$'", ["a\nb\nc"], ["ab"]),
    ("f|re|i|s: 'A.C'", ["a\nc"], ["ac"]),
    ("f|re: '(?i)strasse'", ["STRASSE", "\u017ftra\u017fse"], ["straße"]),
    ("f|re: '[0-9]{3}'", [1234, "a123"], [12]),
    ("f|cidr: 10.0.0.0/8", ["10.1.2.3", ["x", "10.0.0.1"]], ["11.0.0.1", "10.1", "::1", "10.1.2.3 ", ""]),
    ("f|cidr: 'fe80::/10'", ["fe80::1", "FE80::A"], ["fec0::1", "10.0.0.1"]),
    ("f|cidr: [192.0.2.0/24, 198.51.100.7/32]", ["192.0.2.255", "198.51.100.7"], ["198.51.100.8"]),
    ("f|lt: 10", [9, "9", 9.99, "-5"], [10, 11, "abc", None, "nan", ""]),
    ("f|lte: 10", [10, "10"], [10.01, True]),
    ("f|gt: 10", [11, "1e2", 10.5], [10, "0x20", "inf"]),
    ("f|gte: 9007199254740993", [9007199254740993, "9007199254740993"], [9007199254740992]),
    ("f|minute: 5", ["2026-11-22T10:05:59Z", 1795341900], ["2026-11-22T10:06:00Z", "x", None]),
    (
        "f|hour: 10",
        ["2026-11-22T10:59:00Z", "2026-11-22T12:00:00+02:00", "2026-11-22 10:00:00.123"],
        ["2026-11-22T11:00"],
    ),
    ("f|hour|gte: 22", ["2026-11-22T23:00:00Z"], ["2026-11-22T21:59:59Z"]),
    ("f|hour|lt: 6", ["2026-11-22T05:59:59.9999999Z"], ["2026-11-22T06:00:00Z"]),
    ("f|day: 22", ["2026-11-22"], ["2026-11-21T23:59:59Z"]),
    ("f|week: 1", ["2026-01-01T00:00:00Z"], ["2026-01-05T00:00:00Z"]),
    ("f|month: 11", ["2026-11-22T00:00:00Z", 1795341900000], ["2026-12-01T00:00:00Z"]),
    ("f|year: 2026", ["2026-11-22", 1795341900000000, "1795341900"], ["2025-11-22", "0000-01-01"]),
    ("f|fieldref: g", [], ["x"]),
    ("f|base64: foobar", ["Zm9vYmFy", "zm9vymfy"], ["foobar", "xZm9vYmFyx"]),
    ("f|base64|contains: foobar", ["xZm9vYmFyx"], ["foobar"]),
    ("f|wide|base64|contains: cmd", [base64.b64encode("cmd".encode("utf-16le")).decode()], ["Y21k"]),
    ("f|utf16le|base64|contains: cmd", ["x" + base64.b64encode("cmd".encode("utf-16le")).decode()], ["Y21k"]),
    ("f|utf16|base64|contains: cmd", [base64.b64encode("cmd".encode("utf-16")).decode()], ["Y21k"]),
    ("f|utf16be|base64|contains: cmd", [base64.b64encode("cmd".encode("utf-16be")).decode()], ["Y21k"]),
    ("f|windash|contains: ' -f '", ["a -f b", "a /f b", "a \u2013f b", "a \u2014f b", "a \u2015f b"], ["a +f b"]),
    ("f|windash|contains|all: [' -a ', ' -b ']", ["x /a  -b y"], ["x /a y"]),
    ("f|contains: 'é'", ["CAFÉ"], ["cafe"]),
    ("f|contains: k", ["\u212aelvin"], ["elvin"]),
    ("f|contains: 'i\u0307'", ["\u0130"], ["I"]),
]
POSITIVE = [(line, value) for line, yes, _ in FIELD_CASES for value in yes]
NEGATIVE = [(line, value) for line, _, no in FIELD_CASES for value in no]


@pytest.mark.parametrize(("line", "value"), POSITIVE)
def test_a_value_that_fits_matches(line: str, value: Any, rule_of: Callable[[str], Rule], verdict: Verdict) -> None:
    rule = rule_of(f"  s:\n    {line}\n  condition: s")
    assert verdict(rule, {"f": value, "other": "x"})


@pytest.mark.parametrize(("line", "value"), NEGATIVE)
def test_a_value_that_does_not_fit_does_not_match(
    line: str, value: Any, rule_of: Callable[[str], Rule], verdict: Verdict
) -> None:
    rule = rule_of(f"  s:\n    {line}\n  condition: s")
    assert not verdict(rule, {"f": value, "other": "x"})


@pytest.mark.parametrize("line", [line for line, yes, _ in FIELD_CASES if None in yes])
def test_an_absent_field_is_like_null(line: str, rule_of: Callable[[str], Rule], verdict: Verdict) -> None:
    rule = rule_of(f"  s:\n    {line}\n  condition: s")
    assert verdict(rule, {"other": "x"})


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_base64offset_finds_the_text_at_any_offset(
    offset: int, rule_of: Callable[[str], Rule], verdict: Verdict
) -> None:
    rule = rule_of("  s:\n    f|base64offset|contains: http://example\n  condition: s")
    encoded = base64.b64encode(b"x" * offset + b"http://example.org").decode()
    assert verdict(rule, {"f": encoded})
    assert not verdict(rule, {"f": base64.b64encode(b"x" * offset + b"ftp://example").decode()})


@pytest.mark.parametrize(
    ("modifiers", "f", "g", "expected"),
    [
        ("fieldref", "a", "A", True),
        ("fieldref", "a", "b", False),
        ("fieldref", ["x", "a"], ["a", "y"], True),
        ("fieldref", 5, "5", True),
        ("fieldref", None, None, False),
        ("fieldref|startswith", "abc", "AB", True),
        ("fieldref|startswith", "abc", "bc", False),
        ("fieldref|endswith", "abc", "bc", True),
        ("fieldref|contains", "abc", "b", True),
        ("fieldref|neq", "a", "b", True),
        ("fieldref|neq", "a", "a", False),
    ],
)
def test_a_field_is_compared_with_another(
    modifiers: str, f: Any, g: Any, rule_of: Callable[[str], Rule], verdict: Verdict, *, expected: bool
) -> None:
    rule = rule_of(f"  s:\n    f|{modifiers}: g\n  condition: s")
    assert verdict(rule, {"f": f, "g": g}) is expected


@pytest.mark.parametrize(
    ("detection", "event", "expected"),
    [
        ("  k: [foo]\n  condition: k", {"a": "xFOOx"}, True),
        ("  k: [foo]\n  condition: k", {"foo": "x"}, False),
        ("  k: [foo]\n  condition: k", {"a": {"b": ["x", {"c": "a foo"}]}}, True),
        ("  k: ['fo*r']\n  condition: k", {"a": "xfoobarx"}, True),
        ("  k: ['fo*r']\n  condition: k", {"a": "fo", "b": "r"}, False),
        ("  k:\n    '|all': [foo, bar]\n  condition: k", {"a": "foo", "b": "bar"}, True),
        ("  k:\n    '|all': [foo, bar]\n  condition: k", {"a": "foo"}, False),
        ("  k:\n    '|re': 'f[o]+$'\n  condition: k", {"a": "xfoo"}, True),
        ("  k:\n    '|re': 'f[o]+$'\n  condition: k", {"a": "fool"}, False),
        ("  k: [4688]\n  condition: k", {"a": 4688}, True),
        ("  k: [foo]\n  s: {a: 1}\n  condition: s and not k", {"a": 1, "b": "x"}, True),
        ("  k: [foo]\n  s: {a: 1}\n  condition: s and not k", {"a": 1, "b": "foo"}, False),
        ("  k: [foo]\n  condition: k", {"vedette.note": "foo"}, False),
        ("  k: ['a\\*b']\n  condition: k", {"x": "a*b"}, True),
        ("  k: ['a\\*b']\n  condition: k", {"x": "axb"}, False),
    ],
)
def test_keywords_are_looked_for_in_all_values(
    detection: str, event: dict[str, Any], rule_of: Callable[[str], Rule], verdict: Verdict, *, expected: bool
) -> None:
    assert verdict(rule_of(detection), event) is expected


SELECTIONS = "  sel_a: {a: 1}\n  sel_b: {b: 1}\n  other: {c: 1}\n  _hidden: {d: 1}\n"


@pytest.mark.parametrize(
    ("condition", "matching", "failing"),
    [
        ("1 of sel_*", [{"a": 1}, {"b": 1}], [{"c": 1}]),
        ("any of sel_*", [{"a": 1}], [{"c": 1}]),
        ("all of sel_*", [{"a": 1, "b": 1}], [{"a": 1}]),
        ("1 of them", [{"a": 1}, {"c": 1}], [{"d": 1}, {}]),
        ("all of them", [{"a": 1, "b": 1, "c": 1}], [{"a": 1, "b": 1, "d": 1}]),
        ("not 1 of sel_*", [{"c": 1}, {}], [{"a": 1}]),
        ("other and not (sel_a or sel_b)", [{"c": 1}], [{"c": 1, "a": 1}]),
        ("other and not (sel_a and sel_b)", [{"c": 1, "a": 1}], [{"c": 1, "a": 1, "b": 1}]),
        ("sel_a or sel_b and other", [{"a": 1}, {"b": 1, "c": 1}], [{"b": 1}]),
        ("1 of _hid*", [{"d": 1}], [{"a": 1}]),
        ("[sel_a, other]", [{"a": 1}, {"c": 1}], [{"b": 1}]),
    ],
)
def test_conditions_combine_selections(
    condition: str,
    matching: list[dict[str, Any]],
    failing: list[dict[str, Any]],
    rule_of: Callable[[str], Rule],
    verdict: Verdict,
) -> None:
    rule = rule_of(SELECTIONS + f"  condition: {condition}")
    assert all(verdict(rule, event) for event in matching)
    assert not any(verdict(rule, event) for event in failing)


def test_a_list_of_mappings_is_a_choice(rule_of: Callable[[str], Rule], verdict: Verdict) -> None:
    rule = rule_of("  s:\n    - a: 1\n      b: 2\n    - c: 3\n  condition: s")
    assert verdict(rule, {"a": 1, "b": 2})
    assert verdict(rule, {"c": 3})
    assert not verdict(rule, {"a": 1, "c": 4})


@pytest.mark.parametrize(
    "event",
    [
        {"a.b": "x"},
        {"a": {"b": "x"}},
        {"a": [{"b": "y"}, {"b": "x"}]},
        {"a": {"b": ["y", "x"]}},
        {"a.b": "y", "a": {"b": "x"}},
        {"a": [[{"b": "x"}]]},
    ],
)
def test_dotted_names_reach_into_nested_objects(
    event: dict[str, Any], rule_of: Callable[[str], Rule], verdict: Verdict
) -> None:
    assert verdict(rule_of("  s: {a.b: x}\n  condition: s"), event)
    assert not verdict(rule_of("  s: {a.b: z}\n  condition: s"), event)
    assert not verdict(rule_of("  s: {a.b: null}\n  condition: s"), event)
