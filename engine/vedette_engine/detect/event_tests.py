"""Conditions as functions of a whole event: the exact tests of what survives the index.

Events are flat here: the index has spread nested objects before (`values.flattened`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vedette_engine.detect import values
from vedette_engine.detect.conjuncts import SEVERAL, single_field
from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or
from vedette_engine.detect.naive import compare_texts
from vedette_engine.detect.text_tests import atom_test, list_test, tree_test, when_absent

EventTest = Callable[[Mapping[str, Any]], bool]


def event_test(node: Node) -> EventTest:
    """A test of flat events for any condition."""
    name = single_field(node)
    if name is not SEVERAL:
        return _field_test(name, node) if isinstance(name, str) else _keyword_test(node)
    if isinstance(node, Atom):
        return _reference_test(node)
    if isinstance(node, And | Or):
        return _joined_test(node)
    inner = event_test(node.part)
    return (lambda event: not inner(event)) if isinstance(node, Not) else inner


def _joined_test(node: And | Or) -> EventTest:
    # Tests of single fields are cheaper than those of several.
    parts = [event_test(part) for part in sorted(node.parts, key=lambda part: single_field(part) is SEVERAL)]
    if isinstance(node, And):
        return lambda event: all(part(event) for part in parts)
    return lambda event: any(part(event) for part in parts)


def _field_test(name: str, node: Node) -> EventTest:
    test = tree_test(node)
    absent = when_absent(node)
    many: list[Callable[[list[str]], bool]] = []  # made when the first list comes by

    def field_test(event: Mapping[str, Any]) -> bool:
        value = event.get(name)
        if type(value) is str:
            return test(value, value.lower())
        found = values.texts(value)
        if not found:
            return absent
        if len(found) == 1:
            return test(found[0], found[0].lower())
        if not many:
            many.append(list_test(node))
        return many[0](found)

    return field_test


def _reference_test(atom: Atom) -> EventTest:
    name = atom.field
    assert name is not None
    other, how = atom.value

    def test(event: Mapping[str, Any]) -> bool:
        ours = values.texts(event.get(name))
        theirs = values.texts(event.get(other)) if ours else []
        return any(compare_texts(how, one, two) for one in ours for two in theirs)

    return test


def _keyword_test(node: Node) -> EventTest:
    test = keyword_test(node)
    return lambda event: test(values.all_texts(event))


def keyword_test(node: Node) -> Callable[[list[str]], bool]:
    """A tree of keywords over all texts of an event, of which there may be none."""
    if isinstance(node, Atom):
        if node.op is Op.CONTAINS:
            inner = node.value.lower()
            return lambda texts: any(inner in one.lower() for one in texts)
        test = atom_test(node)
        return lambda texts: any(test(one, one.lower()) for one in texts)
    if isinstance(node, Not):
        part_test = keyword_test(node.part)
        return lambda texts: not part_test(texts)
    if isinstance(node, And | Or):
        parts = [keyword_test(part) for part in node.parts]
        if isinstance(node, And):
            return lambda texts: all(part(texts) for part in parts)
        return lambda texts: any(part(texts) for part in parts)
    return keyword_test(node.part)
