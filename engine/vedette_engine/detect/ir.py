"""The condition of a rule as a tree, between Sigma's YAML and whatever evaluates it.

Names in it are the rule's own (native Sigma names); `naming` turns them into names of events. Selections keep their
names, so that an explanation speaks the author's language. Text is kept as the author wrote it; all operators but CASED
and REGEX compare without case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MANY: Final = 0
"""In a pattern: any run of characters, `*`."""
ONE: Final = 1
"""In a pattern: any one character, `?`."""

Pattern = tuple[str | int, ...]
"""Literal parts between MANY and ONE."""


class Op(StrEnum):
    """What an atom asks of a value; the comment says what `Atom.value` holds."""

    EXISTS = "exists"  # bool: whether the field has a value
    EQUALS = "equals"  # str, number or bool: compared as text
    CONTAINS = "contains"  # str
    STARTSWITH = "startswith"  # str
    ENDSWITH = "endswith"  # str
    LIKE = "like"  # Pattern
    CASED = "cased"  # Pattern, letters count
    REGEX = "regex"  # (pattern, flags of "ims")
    CIDR = "cidr"  # str
    LT = "lt"  # number
    LTE = "lte"  # number
    GT = "gt"  # number
    GTE = "gte"  # number
    TIME = "time"  # (unit, "eq" | "lt" | "lte" | "gt" | "gte", number)
    REF = "ref"  # (other field, "equals" | "startswith" | "endswith" | "contains")


@dataclass(frozen=True, slots=True)
class Atom:
    """One question about one field; `field` None asks all values of the event (a keyword)."""

    field: str | None
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class And:
    """Holds when all parts hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Holds when some part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when the part does not."""

    part: Node


@dataclass(frozen=True, slots=True)
class Named:
    """A selection under the name that the author gave it."""

    name: str
    part: Node


Node = And | Or | Not | Named | Atom


def atoms(node: Node) -> Iterator[Atom]:
    """All atoms of a tree, from left to right."""
    if isinstance(node, Atom):
        yield node
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from atoms(part)
    else:
        yield from atoms(node.part)


def map_atoms(node: Node, change: Callable[[Atom], Atom]) -> Node:
    """The same tree with every atom replaced."""
    if isinstance(node, Atom):
        return change(node)
    if isinstance(node, And):
        return And(tuple(map_atoms(part, change) for part in node.parts))
    if isinstance(node, Or):
        return Or(tuple(map_atoms(part, change) for part in node.parts))
    if isinstance(node, Not):
        return Not(map_atoms(node.part, change))
    return Named(node.name, map_atoms(node.part, change))


def rename(node: Node, names: Callable[[str], str]) -> Node:
    """The tree with every field name, referenced ones too, replaced; selections lose their names."""
    if isinstance(node, Atom):
        return _renamed(node, names)
    if isinstance(node, And | Or):
        return type(node)(tuple([rename(part, names) for part in node.parts]))
    part = rename(node.part, names)
    return Not(part) if isinstance(node, Not) else part


def _renamed(atom: Atom, names: Callable[[str], str]) -> Atom:
    if atom.field is None:
        return atom
    if atom.op is Op.REF:
        other, how = atom.value
        return Atom(names(atom.field), atom.op, (names(other), how))
    return Atom(names(atom.field), atom.op, atom.value)


def field_names(node: Node) -> set[str]:
    """Names of all fields that the tree looks at."""
    names = set()
    for atom in atoms(node):
        if atom.field is not None:
            names.add(atom.field)
            if atom.op is Op.REF:
                names.add(atom.value[0])
    return names


_TUPLES = frozenset({Op.LIKE, Op.CASED, Op.REGEX, Op.TIME, Op.REF})
_OPS: Mapping[str, Op] = {op.value: op for op in Op}


def to_json(node: Node) -> list[Any]:
    """A tree as nested lists: `["atom", field, op, value]`, `["and", …]`, `["named", name, part]` and so on."""
    if isinstance(node, Atom):
        value = list(node.value) if node.op in _TUPLES else node.value
        return ["atom", node.field, node.op.value, value]
    if isinstance(node, And):
        return ["and", *map(to_json, node.parts)]
    if isinstance(node, Or):
        return ["or", *map(to_json, node.parts)]
    if isinstance(node, Not):
        return ["not", to_json(node.part)]
    return ["named", node.name, to_json(node.part)]


def from_json(data: list[Any]) -> Node:
    """The tree that `to_json` wrote.

    Raises:
        ValueError: the data has another form.
    """
    kind = data[0]
    if kind == "atom":
        op = _OPS[data[2]]
        value = data[3]
        return Atom(data[1], op, tuple(value) if op in _TUPLES else value)
    if kind == "and":
        return And(tuple([from_json(part) for part in data[1:]]))
    if kind == "or":
        return Or(tuple([from_json(part) for part in data[1:]]))
    if kind == "not":
        return Not(from_json(data[1]))
    if kind == "named":
        return Named(data[1], from_json(data[2]))
    raise ValueError(f"unknown kind of condition {kind!r}")
