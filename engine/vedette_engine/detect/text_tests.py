"""Atoms and single-field trees as functions of one text: given as it came and in lower case."""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vedette_engine.detect import patterns, regex, values
from vedette_engine.detect.conjuncts import is_late
from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or, Pattern

TextTest = Callable[[str, str], bool]
"""Takes a text as it came, and the same in lower case."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def equal_text(atom: Atom) -> str:
    """What the lower-cased text has to be for an EQUALS atom."""
    return (values.text(atom.value) or "").lower()


def atom_test(atom: Atom) -> TextTest:
    """A test for every atom but EXISTS and REF, which are not about one text."""
    make = _TESTS.get(atom.op)
    if make is None:
        return _number_test(atom.op.value, atom.value)
    return make(equal_text(atom) if atom.op is Op.EQUALS else atom.value)


def _equals_test(whole: str) -> TextTest:
    return lambda _value, low: low == whole


def _contains_test(wanted: str) -> TextTest:
    inner = wanted.lower()
    return lambda _value, low: inner in low


def _startswith_test(wanted: str) -> TextTest:
    head = wanted.lower()
    return lambda _value, low: low.startswith(head)


def _endswith_test(wanted: str) -> TextTest:
    tail = wanted.lower()
    return lambda _value, low: low.endswith(tail)


def _like_test(wanted: Pattern) -> TextTest:
    matches = patterns.matcher(patterns.lowered(wanted))
    return lambda _value, low: matches(low)


def _cased_test(wanted: Pattern) -> TextTest:
    matches = patterns.matcher(wanted)
    return lambda value, _low: matches(value)


def _number_test(how: str, limit: float) -> TextTest:
    compare = _COMPARISONS[how]

    def test(value: str, _low: str) -> bool:
        found = values.number(value)
        return found is not None and compare(found, limit)

    return test


def _regex_test(wanted: tuple[str, str]) -> TextTest:
    pattern, flags = wanted
    search = regex.searcher(pattern, flags)
    guards = regex.guards(pattern, flags)
    if not guards:
        return lambda value, _low: search(value)
    if len(guards) == 1:
        guard = guards[0]
        return lambda value, low: guard in low and search(value)

    def test(value: str, low: str) -> bool:
        for guard in guards:
            if guard not in low:
                return False
        return search(value)

    return test


def _network_test(network: str) -> TextTest:
    net = ipaddress.ip_network(network)

    def test(value: str, _low: str) -> bool:
        address = values.address(value)
        return address is not None and address in net

    return test


def _time_test(wanted: tuple[str, str, float]) -> TextTest:
    unit, how, limit = wanted
    compare = _COMPARISONS[how]

    def test(value: str, _low: str) -> bool:
        part = values.time_part(value, unit)
        return part is not None and compare(part, limit)

    return test


_TESTS: Mapping[Op, Callable[[Any], TextTest]] = MappingProxyType(
    {
        Op.EQUALS: _equals_test,
        Op.CONTAINS: _contains_test,
        Op.STARTSWITH: _startswith_test,
        Op.ENDSWITH: _endswith_test,
        Op.LIKE: _like_test,
        Op.CASED: _cased_test,
        Op.REGEX: _regex_test,
        Op.CIDR: _network_test,
        Op.TIME: _time_test,
    }
)


def when_absent(node: Node) -> bool:
    """Whether a single-field tree holds for an event without the field."""
    if isinstance(node, Atom):
        return node.op is Op.EXISTS and node.value is False
    if isinstance(node, And):
        return all(when_absent(part) for part in node.parts)
    if isinstance(node, Or):
        return any(when_absent(part) for part in node.parts)
    if isinstance(node, Not):
        return not when_absent(node.part)
    return when_absent(node.part)


def tree_test(node: Node) -> TextTest:
    """A single-field tree for events in which the field has exactly one text."""
    if isinstance(node, Atom):
        if node.op is Op.EXISTS:
            present: bool = node.value
            return lambda _value, _low: present
        return atom_test(node)
    if isinstance(node, Not):
        inner = tree_test(node.part)
        return lambda value, low: not inner(value, low)
    if isinstance(node, And | Or):
        return _joined_test(node)
    return tree_test(node.part)


def _flat(node: And | Or) -> list[Node]:
    """The parts, with those of nested trees of the same kind."""
    found: list[Node] = []
    for part in node.parts:
        found.extend(_flat(part) if type(part) is type(node) and isinstance(part, And | Or) else [part])
    return found


def _joined_test(node: And | Or) -> TextTest:
    """Literals first, they are cheapest; regular expressions last."""
    parts = _flat(node)
    simple: dict[Op, list[str]] = {Op.CONTAINS: [], Op.STARTSWITH: [], Op.ENDSWITH: [], Op.EQUALS: []}
    others: list[Node] = []
    for part in parts:
        if isinstance(part, Atom) and part.op in simple and (part.op is Op.CONTAINS or isinstance(node, Or)):
            simple[part.op].append(equal_text(part) if part.op is Op.EQUALS else part.value.lower())
        else:
            others.append(part)
    tests = [tree_test(part) for part in sorted(others, key=is_late)]
    if isinstance(node, And):
        # The longest literal is the rarest.
        return _all_test(tuple(sorted(simple[Op.CONTAINS], key=len, reverse=True)), tests)
    if simple[Op.EQUALS]:
        tests.insert(0, _one_of_test(frozenset(simple[Op.EQUALS])))
    if simple[Op.STARTSWITH]:
        tests.insert(0, _head_test(tuple(simple[Op.STARTSWITH])))
    if simple[Op.ENDSWITH]:
        tests.insert(0, _tail_test(tuple(simple[Op.ENDSWITH])))
    if len(tests) == 1 and not simple[Op.CONTAINS]:
        return tests[0]
    return _any_test(tuple(sorted(simple[Op.CONTAINS], key=len)), tests)


def _one_of_test(whole: frozenset[str]) -> TextTest:
    return lambda _value, low: low in whole


def _head_test(heads: tuple[str, ...]) -> TextTest:
    return lambda _value, low: low.startswith(heads)


def _tail_test(tails: tuple[str, ...]) -> TextTest:
    return lambda _value, low: low.endswith(tails)


def _all_test(substrings: Sequence[str], others: Sequence[TextTest]) -> TextTest:
    def test(value: str, low: str) -> bool:
        for substring in substrings:
            if substring not in low:
                return False
        for other in others:  # noqa: SIM110 # a loop is faster than a generator
            if not other(value, low):
                return False
        return True

    return test


def _any_test(substrings: Sequence[str], others: Sequence[TextTest]) -> TextTest:
    def test(value: str, low: str) -> bool:
        for substring in substrings:
            if substring in low:
                return True
        for other in others:  # noqa: SIM110 # a loop is faster than a generator
            if other(value, low):
                return True
        return False

    return test


def list_test(node: Node) -> Callable[[Sequence[str]], bool]:
    """A single-field tree for fields with several texts: each atom holds for some text, negation is outside.

    The list is not empty.
    """
    if isinstance(node, Atom):
        if node.op is Op.EXISTS:
            present: bool = node.value
            return lambda _texts: present
        test = atom_test(node)
        return lambda texts: any(test(one, one.lower()) for one in texts)
    if isinstance(node, Not):
        inner = list_test(node.part)
        return lambda texts: not inner(texts)
    if isinstance(node, And | Or):
        parts = [list_test(part) for part in node.parts]
        if isinstance(node, And):
            return lambda texts: all(part(texts) for part in parts)
        return lambda texts: any(part(texts) for part in parts)
    return list_test(node.part)
