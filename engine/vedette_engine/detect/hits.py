"""Single-field trees as functions of the set of atoms that a text was found to satisfy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or

Hits = Collection[int]
"""Numbers of the atoms that hold."""

HitTest = Callable[[set[int]], bool]


def holds_with(node: Node, *, present: bool, hits: Hits = (), numbers: Mapping[Atom, int] | None = None) -> bool:
    """Whether a tree holds when the field is present or not, and exactly these atoms hold."""
    if isinstance(node, Atom):
        if node.op is Op.EXISTS:
            return present is node.value
        return numbers is not None and numbers[node] in hits
    if isinstance(node, And):
        return all(holds_with(part, present=present, hits=hits, numbers=numbers) for part in node.parts)
    if isinstance(node, Or):
        return any(holds_with(part, present=present, hits=hits, numbers=numbers) for part in node.parts)
    if isinstance(node, Not):
        return not holds_with(node.part, present=present, hits=hits, numbers=numbers)
    return holds_with(node.part, present=present, hits=hits, numbers=numbers)


def plain_choice(node: Node) -> list[Atom] | None:
    """The atoms of a tree that is nothing but a choice among them; None for other trees."""
    if isinstance(node, Atom):
        return None if node.op is Op.EXISTS else [node]
    if not isinstance(node, Or):
        return None
    found: list[Atom] = []
    for part in node.parts:
        inner = plain_choice(part)
        if inner is None:
            return None
        found.extend(inner)
    return found


def hit_test(node: Node, numbers: Mapping[Atom, int]) -> HitTest:
    """The tree as a function of hits, for a field that is present."""
    if isinstance(node, Atom):
        if node.op is Op.EXISTS:
            present: bool = node.value
            return lambda _hits: present
        number = numbers[node]
        return lambda hits: number in hits
    if isinstance(node, And | Or):
        return _all_of(node, numbers) if isinstance(node, And) else _any_of(node, numbers)
    inner = hit_test(node.part, numbers)
    return (lambda hits: not inner(hits)) if isinstance(node, Not) else inner


def _any_of(node: Or, numbers: Mapping[Atom, int]) -> HitTest:
    choice = plain_choice(node)
    if choice is not None:
        some = frozenset(numbers[atom] for atom in choice)
        return lambda hits: not some.isdisjoint(hits)
    parts = [hit_test(part, numbers) for part in node.parts]
    return lambda hits: any(part(hits) for part in parts)


def _all_of(node: And, numbers: Mapping[Atom, int]) -> HitTest:
    atoms: list[Atom] = []
    others: list[Node] = []
    waiting = list(node.parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, And):
            waiting.extend(part.parts)
        elif isinstance(part, Atom) and part.op is not Op.EXISTS:
            atoms.append(part)
        else:
            others.append(part)
    needed = frozenset(numbers[atom] for atom in atoms)
    tests = [hit_test(part, numbers) for part in others]
    if not tests:
        return needed.issubset

    def test(hits: set[int]) -> bool:
        return needed.issubset(hits) and all(part(hits) for part in tests)

    return test
