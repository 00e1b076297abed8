"""Takes a condition apart into conjuncts: for each field one predicate, and what is left over.

A conjunct holds when all its field predicates hold and all its remainders do; the condition holds when one of its
conjuncts does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from vedette_engine.detect import patterns, regex, values
from vedette_engine.detect.ir import And, Atom, Named, Node, Not, Op, Or

MAX_CONJUNCTS: Final = 16
"""A condition whose disjunctive form has more parts keeps the surplus as remainders."""

NEVER: Final = Or(())

_LATE = frozenset({Op.REGEX, Op.CASED})
_SHORT_BUT_RARE = frozenset("`^~$%{}|&<>;")
SEVERAL: Final = object()
"""What `single_field` gives for a tree over several fields."""

FieldKey = str | None


@dataclass(slots=True)
class Conjunct:
    """Predicates by field (None: keywords) and remainders over whole events."""

    predicates: dict[FieldKey, list[Node]] = field(default_factory=dict)
    rest: list[Node] = field(default_factory=list)

    def joined(self, other: Conjunct) -> Conjunct:
        """The conjunct that asks for both."""
        predicates = {name: list(nodes) for name, nodes in self.predicates.items()}
        for name, nodes in other.predicates.items():
            predicates.setdefault(name, []).extend(nodes)
        return Conjunct(predicates, [*self.rest, *other.rest])


def conjuncts(condition: Node) -> list[Conjunct]:
    """The conjuncts of a condition; their disjunction is the condition."""
    return _disjuncts(_pushed(condition, negated=False))


def single_field(node: Node) -> FieldKey | object:
    """The one field that a tree looks at, or a value that is no field when there are several."""
    found = _fields(node)
    return next(iter(found)) if len(found) == 1 else SEVERAL


def _fields(node: Node) -> set[FieldKey | object]:
    if isinstance(node, Atom):
        return {node.field, node.value[0], SEVERAL} if node.op is Op.REF else {node.field}
    if isinstance(node, And | Or):
        found: set[FieldKey | object] = set()
        for part in node.parts:
            found |= _fields(part)
        return found
    return _fields(node.part)


def _pushed(node: Node, *, negated: bool) -> Node:
    """Negations moved inwards, down to trees of a single field; a negated conjunction of several stays whole."""
    if isinstance(node, Named):
        return _pushed(node.part, negated=negated)
    if isinstance(node, Not):
        return _pushed(node.part, negated=not negated)
    if isinstance(node, Atom):
        atom = _folded(node)
        return Not(atom) if negated else atom
    if not negated:
        return type(node)(tuple([_pushed(part, negated=False) for part in node.parts]))
    if isinstance(node, Or) and single_field(node) is SEVERAL:
        return And(tuple([_pushed(part, negated=True) for part in node.parts]))
    return Not(type(node)(tuple([_pushed(part, negated=False) for part in node.parts])))


def _folded(atom: Atom) -> Atom:
    """The atom with its text in lower case, so that equal questions are equal values; `1` and `true` stay apart."""
    if atom.op is Op.EQUALS:
        return Atom(atom.field, atom.op, (values.text(atom.value) or "").lower())
    if atom.op in (Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH):
        return Atom(atom.field, atom.op, atom.value.lower())
    if atom.op is Op.LIKE:
        return Atom(atom.field, atom.op, patterns.lowered(atom.value))
    return atom


def _disjuncts(node: Node) -> list[Conjunct]:
    name = single_field(node)
    if name is not SEVERAL:
        assert name is None or isinstance(name, str)
        return [Conjunct({name: [node]})]
    if isinstance(node, Atom):  # a comparison of two fields
        return [Conjunct(_presence(node), [node])]
    if isinstance(node, Or):
        return _any_of(node.parts)
    if isinstance(node, And):
        return _all_of(node.parts)
    return [Conjunct(rest=[node])]


def _presence(atom: Atom) -> dict[FieldKey, list[Node]]:
    names: list[FieldKey] = [atom.field, atom.value[0]]
    return {name: [Atom(name, Op.EXISTS, value=True)] for name in names}


def _any_of(parts: Iterable[Node]) -> list[Conjunct]:
    """One conjunct for all parts of the same field, and those of the others."""
    by_field: dict[FieldKey | object, list[Node]] = {}
    others: list[Conjunct] = []
    for part in parts:
        name = single_field(part)
        if name is SEVERAL:
            others.extend(_disjuncts(part))
        else:
            by_field.setdefault(name, []).append(part)
    found: list[Conjunct] = []
    for nodes in by_field.values():
        found.extend(_disjuncts(nodes[0] if len(nodes) == 1 else Or(tuple(nodes))))
    return found + others


def _all_of(parts: Sequence[Node]) -> list[Conjunct]:
    """Every choice of one conjunct per part, as long as there are few."""
    result = [Conjunct()]
    for options, part in sorted(((_disjuncts(part), part) for part in parts), key=lambda pair: len(pair[0])):
        if len(options) > 1 and len(options) * len(result) > MAX_CONJUNCTS:
            result = [Conjunct(one.predicates, [*one.rest, part]) for one in result]
        else:
            result = [one.joined(option) for one, option in product(result, options)]
    return result


def is_late(node: Node) -> bool:
    """Whether a tree holds a question that is dear to answer, so that it is asked last."""
    if isinstance(node, Atom):
        return node.op in _LATE
    if isinstance(node, And | Or):
        return any(is_late(part) for part in node.parts)
    return is_late(node.part)


def weakened(node: Node, *, upper: bool = True) -> Node:
    """A cheap tree that holds whenever `node` does (upper), or only when `node` does.

    Regular expressions and patterns in which letters count give way to a literal that they need.
    """
    if isinstance(node, Atom):
        return _weakened_atom(node, upper=upper) if node.op in _LATE else node
    if isinstance(node, And | Or):
        return type(node)(tuple(weakened(part, upper=upper) for part in node.parts))
    if isinstance(node, Not):
        return Not(weakened(node.part, upper=not upper))
    return weakened(node.part, upper=upper)


def _weakened_atom(atom: Atom, *, upper: bool) -> Node:
    if not upper:
        return NEVER
    useful = [literal for literal in late_literals(atom) if len(literal) > 1 or literal in _SHORT_BUT_RARE]
    if not useful:
        return Atom(atom.field, Op.EXISTS, value=True)
    parts = tuple(Atom(atom.field, Op.CONTAINS, literal) for literal in useful)
    return parts[0] if len(parts) == 1 else And(parts)


def late_literals(atom: Atom) -> list[str]:
    """Literals in lower case that the lower-cased text of every match holds, the longest first."""
    if atom.op is Op.REGEX:
        return list(regex.guards(*atom.value))
    if atom.op in (Op.LIKE, Op.CASED):
        found = (_lower_part(atom.value, part) for part in patterns.literals(atom.value))
        return [literal for literal in dict.fromkeys(found) if literal]
    return []


def _lower_part(pattern: Sequence[str | int], part: str) -> str:
    """A literal part in lower case, as it occurs in lower-cased texts.

    A capital sigma lowers by its neighbours, so that a part is cut at any; other characters lower one by one.
    """
    if pattern == (part,) or "\u03a3" not in part:
        return part.lower()
    return max(part.split("\u03a3"), key=len).lower()
