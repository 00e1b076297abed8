"""The laws of the engine: it gives what naive evaluation gives, however its rules came in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_engine.detect.engine import Engine
from vedette_engine.detect.explain import explain
from vedette_engine.detect.ir import MANY, ONE, And, Atom, Named, Node, Not, Op, Or
from vedette_engine.detect.logsource import Logsource, Logsources, fits
from vedette_engine.detect.naive import matches
from vedette_engine.detect.naming import NATIVE
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.values import field_texts, flattened, texts

pytestmark = pytest.mark.usefixtures("always_hyperscan")

# CommandLine is varied by default, a.b may be nested; the letters include all whose case is a trap.
FIELDS = ["a", "b", "a.b", "a.b.c", "CommandLine", "process.command_line"]
LETTERS = "aAbBkKsS\u212a\u017f\u0130iI\u03a3\u03c3\u03c2*?\\ 15.-\n\u00e9\u00c9"
words = st.text(LETTERS, max_size=4)
literals = st.text(LETTERS, min_size=1, max_size=3)
patterns = st.lists(st.one_of(literals, st.sampled_from([MANY, ONE])), max_size=4).map(tuple)
REGEXES = [("a.b", ""), ("(?i)sk", ""), ("s+1", "i"), ("^a|b$", "m"), ("k{2,}", "i"), ("[^a]b?", "s"), ("\\d5", "")]


@st.composite
def atoms(draw: st.DrawFn) -> Atom:
    field = draw(st.sampled_from([*FIELDS, None]))
    ops = [op for op in Op if field is not None or op not in (Op.EXISTS, Op.REF, Op.EQUALS)]
    op = draw(st.sampled_from(ops))
    numbers = st.sampled_from([0, 1, 5, 15, -1.5, 1e3])
    values: dict[Op, st.SearchStrategy[Any]] = {
        Op.EXISTS: st.booleans(),
        Op.EQUALS: st.one_of(words, st.sampled_from([1, True, False, 5, 1.5, 15])),
        Op.CONTAINS: words,
        Op.STARTSWITH: words,
        Op.ENDSWITH: words,
        Op.LIKE: patterns,
        Op.CASED: patterns,
        Op.REGEX: st.sampled_from(REGEXES),
        Op.CIDR: st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "::/0", "192.0.2.7/32"]),
        Op.TIME: st.tuples(
            st.sampled_from(["hour", "day", "week", "year"]), st.sampled_from(["eq", "lt", "gte"]), numbers
        ),
        Op.REF: st.tuples(st.sampled_from(FIELDS), st.sampled_from(["equals", "contains", "startswith", "endswith"])),
    }
    return Atom(field, op, draw(values.get(op, numbers)))


conditions: st.SearchStrategy[Node] = st.recursive(
    atoms(),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda nodes: And(tuple(nodes))),
        st.lists(parts, min_size=1, max_size=3).map(lambda nodes: Or(tuple(nodes))),
        parts.map(Not),
        st.builds(Named, st.just("selection"), parts),
    ),
    max_leaves=8,
)
logsources = st.builds(Logsource, st.sampled_from([None, "x", "y"]), st.sampled_from([None, "c"]), st.none())


def make_rule(condition: Node, logsource: Logsource, number: int) -> Rule:
    return Rule(
        id=f"r{number}", name="", title=f"rule {number}", level="low", status="", tags=(), description="", author="",
        logsource=logsource, condition=condition,
    )  # fmt: skip


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    drawn = draw(st.lists(st.tuples(conditions, logsources), min_size=1, max_size=6))
    return [make_rule(condition, logsource, number) for number, (condition, logsource) in enumerate(drawn)]


scalars = st.one_of(
    words,
    st.text(max_size=3),
    st.sampled_from(["10.1.2.3", "::1", "2026-11-22T15:00:00Z", "1e3", "a.b", "K5", "15"]),
    st.sampled_from([None, True, False, 0, 1, 5, 15, 1.5, 5.0, -1.5, 10**30]),
    st.integers(),
    st.floats(allow_nan=False),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["b", "c", "b.c", "", "x"]), inner, max_size=2),
    ),
    max_leaves=5,
)
events = st.dictionaries(st.sampled_from([*FIELDS, "x", "a.", "vedette.x"]), values, max_size=6)


def keys(rules: Any) -> list[str]:
    return [rule.key for rule in rules]


def naive(rules: list[Rule], event: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(rule.key for rule in rules if matches(rule, event, NATIVE)))


def raw_of(event: dict[str, Any]) -> bytes | None:
    """The event as JSON, where JSON can say it as Python does."""
    try:
        raw = orjson.dumps(event)
    except TypeError:
        return None
    return raw if orjson.loads(raw) == event else None


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(rules=rule_lists(), some=st.lists(events, min_size=1, max_size=4), hyperscan=st.booleans())
def test_the_index_gives_what_naive_evaluation_gives(
    rules: list[Rule], some: list[dict[str, Any]], *, hyperscan: bool
) -> None:
    engine = Engine(rules, naming=NATIVE, hyperscan=hyperscan)
    learned = Engine(rules, naming=NATIVE, hyperscan=hyperscan, sample=some * 40)
    for event in [*some, *some]:
        expected = naive(rules, event)
        assert keys(engine.match(event)) == expected
        assert keys(engine.match(event, raw_of(event))) == expected
        assert keys(learned.match(event, raw_of(event))) == expected


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(rule_lists(), st.lists(events, min_size=1, max_size=3), st.data())
def test_adding_removing_and_merging_in_any_order_equals_a_fresh_engine(
    rules: list[Rule], some: list[dict[str, Any]], data: st.DataObject
) -> None:
    engine = Engine(naming=NATIVE)
    present: dict[str, Rule] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(["add", "remove", "merge", "match"]))
        rule = data.draw(st.sampled_from(rules))
        if step == "add":
            engine.add(rule)
            present.setdefault(rule.key, rule)
        elif step == "remove":
            engine.remove(rule.key)
            present.pop(rule.key, None)
        elif step == "merge":
            engine.merge()
        for event in some:
            assert keys(engine.match(event)) == naive(list(present.values()), event)
    assert keys(engine.rules) == list(present)


@settings(max_examples=40)
@given(rule_lists(), events, st.sampled_from(["x", "y", None]), st.sampled_from(["c", None]))
def test_only_rules_for_the_events_log_sources_are_tried(
    rules: list[Rule], event: dict[str, Any], product: str | None, category: str | None
) -> None:
    sources = Logsources(frozenset({product} - {None}), frozenset({category} - {None}), frozenset())  # type: ignore[arg-type]
    expected = naive([rule for rule in rules if fits(rule.logsource, sources)], event)
    assert keys(Engine(rules, naming=NATIVE).match(event, None, sources)) == expected


@settings(max_examples=40)
@given(rule_lists())
def test_a_rule_survives_json(rules: list[Rule]) -> None:
    for rule in rules:
        again = Rule.from_json(orjson.loads(orjson.dumps(rule.to_json())))
        assert again == rule
        assert again.key == rule.key


@settings(max_examples=100)
@given(conditions, events)
def test_an_explanation_has_the_verdict_of_the_rule(condition: Node, event: dict[str, Any]) -> None:
    rule = make_rule(condition, Logsource(), 0)
    explanation = explain(rule, event, NATIVE)
    assert explanation.held is matches(rule, event, NATIVE)
    orjson.dumps(explanation.to_json())
    assert explanation.render()


@given(events, st.sampled_from(FIELDS))
def test_spreading_nested_objects_keeps_the_texts_of_every_field(event: dict[str, Any], name: str) -> None:
    flat = flattened(event, [key for key, value in event.items() if isinstance(value, dict | list)])
    assert set(texts(flat.get(name))) == set(field_texts(event, name))
