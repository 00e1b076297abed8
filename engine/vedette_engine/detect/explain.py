"""Why a rule matched an event or did not: the condition as a tree, each part with its verdict and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vedette_engine.detect import ir, values
from vedette_engine.detect.ir import And, Atom, Named, Node, Not, Op, Or
from vedette_engine.detect.naive import atom_holds, holds
from vedette_engine.detect.naming import ECS, Naming
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.values import Event

_LONGEST_SHOWN = 200
_MOST_SHOWN = 5
_MOST_PARTS = 25
_MOST_FAILED = 3
_SYMBOLS = {ir.MANY: "*", ir.ONE: "?"}
_WORDS = {
    Op.EQUALS: "is",
    Op.CONTAINS: "contains",
    Op.STARTSWITH: "starts with",
    Op.ENDSWITH: "ends with",
    Op.LIKE: "is like",
    Op.CASED: "is, letter by letter, like",
    Op.REGEX: "matches",
    Op.CIDR: "is in",
    Op.LT: "<",
    Op.LTE: "≤",
    Op.GT: ">",
    Op.GTE: "≥",
}
_REFERENCES = {
    "equals": "is the same as",
    "contains": "contains",
    "startswith": "starts with",
    "endswith": "ends with",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One part of a condition.

    Attributes:
        kind: and, or, not, selection or atom.
        held: whether the part holds.
        name: of a selection.
        field: of an atom, as events call it; "any field" for a keyword.
        expected: of an atom, in words.
        actual: of an atom, the values that the field has; long ones cut.
        why: of an atom, the reason of its verdict.
        parts: of and, or, not, selection.
        hidden: alternatives of an or that were left out of a brief explanation.
    """

    kind: str
    held: bool
    name: str = ""
    field: str = ""
    expected: str = ""
    actual: tuple[str, ...] = ()
    why: str = ""
    parts: tuple[Explanation, ...] = ()
    hidden: int = 0

    def to_json(self) -> dict[str, Any]:
        """A plain dict; what does not concern the kind is left out."""
        out: dict[str, Any] = {"kind": self.kind, "held": self.held}
        if self.kind == "selection":
            out["name"] = self.name
        if self.kind == "atom":
            out |= {"field": self.field, "expected": self.expected, "actual": list(self.actual), "why": self.why}
        else:
            out["parts"] = [part.to_json() for part in self.parts]
        if self.hidden:
            out["hidden"] = self.hidden
        return out

    def render(self) -> str:
        """The tree for a terminal: ✓ and ✗, one part per line; alternatives that failed are summed up after some."""
        return "\n".join(self._lines("", "", ""))

    def _lines(self, first: str, further: str, mark: str) -> Iterator[str]:
        verdict = "✓" if self.held else "✗"
        yield f"{first}{mark}{verdict} {self._headline()}"
        shown = sorted(self.parts, key=lambda part: not part.held) if self.kind == "or" else list(self.parts)
        hidden = max(len(shown) - _MOST_PARTS, 0) + self.hidden
        shown = shown[:_MOST_PARTS]
        for index, part in enumerate(shown):
            last = index == len(shown) - 1 and hidden <= 0
            yield from part._lines(further + ("└ " if last else "├ "), further + ("  " if last else "│ "), "")  # noqa: SLF001 # its own kind
        if hidden > 0:
            yield f"{further}└ … and {hidden} more"

    def _headline(self) -> str:
        words = {"and": "all of", "or": "any of", "not": "not", "selection": self.name}
        if self.kind != "atom":
            return words[self.kind]
        shown = ", ".join(map(_quoted, self.actual))
        return f"{self.field} {self.expected}: {self.why}" + (f" ({shown})" if shown else "")


def explain(rule: Rule, event: Event, naming: Naming = ECS) -> Explanation:
    """Explain a rule's verdict on an event; `held` of the result is the verdict."""
    return _explained(explainable(rule, naming), event, brief=False)


def explainable(rule: Rule, naming: Naming = ECS) -> Node:
    """The rule's condition as `explain_briefly` wants it; worth keeping."""
    return ir.map_atoms(rule.condition, lambda atom: _renamed(atom, rule, naming))


def explain_briefly(condition: Node, event: Event) -> Explanation:
    """As `explain`, for alerts: of alternatives, only those that held, or else a few that did not."""
    return _explained(condition, event, brief=True)


def _renamed(atom: Atom, rule: Rule, naming: Naming) -> Atom:
    renamed = ir.rename(atom, lambda native: naming.field(rule.logsource, native))
    assert isinstance(renamed, Atom)
    return renamed


def _explained(node: Node, event: Event, *, brief: bool) -> Explanation:
    if isinstance(node, Atom):
        return _explained_atom(node, event)
    if isinstance(node, Not):
        part = _explained(node.part, event, brief=brief)
        return Explanation("not", not part.held, parts=(part,))
    if isinstance(node, Named):
        part = _explained(node.part, event, brief=brief)
        return Explanation("selection", part.held, name=node.name, parts=(part,))
    if brief and isinstance(node, Or):
        told = [part for part in node.parts if holds(part, event)][:_MOST_PARTS]
        chosen = told or node.parts[:_MOST_FAILED]
        hidden = len(node.parts) - len(chosen)
        parts = tuple(_explained(part, event, brief=True) for part in chosen)
        return Explanation("or", bool(told), parts=parts, hidden=hidden)
    parts = tuple(_explained(part, event, brief=brief) for part in node.parts)
    held = [part.held for part in parts]
    if isinstance(node, And):
        return Explanation("and", all(held), parts=parts)
    return Explanation("or", any(held), parts=parts)


def _explained_atom(atom: Atom, event: Event) -> Explanation:
    held = atom_holds(atom, event)
    found = values.all_texts(event) if atom.field is None else values.field_texts(event, atom.field)
    shown = [] if atom.field is None else found[:_MOST_SHOWN]
    return Explanation(
        "atom",
        held,
        field=atom.field if atom.field is not None else "any field",
        expected=expectation(atom),
        actual=tuple(one if len(one) <= _LONGEST_SHOWN else one[:_LONGEST_SHOWN] + "…" for one in shown),
        why=_reason(atom, event, found, held=held),
    )


def expectation(atom: Atom) -> str:
    """What an atom asks, in words that follow the field's name."""
    if atom.op is Op.EXISTS:
        return "is present" if atom.value else "is absent"
    if atom.op is Op.REF:
        other, how = atom.value
        return f"{_REFERENCES[how]} the field {other}"
    if atom.op is Op.TIME:
        unit, how, number = atom.value
        word = {"eq": "="}.get(how) or _WORDS[Op(how)]
        return f"has a {unit} {word} {number}"
    word = _WORDS[atom.op]
    if atom.op is Op.REGEX:
        pattern, flags = atom.value
        return f"{word} /{pattern}/{flags}"
    if atom.op in (Op.LIKE, Op.CASED):
        return f"{word} {_quoted(''.join(_SYMBOLS[p] if isinstance(p, int) else p for p in atom.value))}"
    return f"{word} {_quoted(atom.value)}" if isinstance(atom.value, str) else f"{word} {values.text(atom.value)}"


def _quoted(text: str) -> str:
    """As people write paths: backslashes once. What cannot be seen is escaped."""
    return "'" + "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text) + "'"


def _reason(atom: Atom, event: Event, found: list[str], *, held: bool) -> str:
    if atom.op is Op.EXISTS:
        return "field present" if found else "field absent"
    if not found:
        return "field absent"
    if held:
        return "holds"
    return next(_differences(atom, event, found))


def _differences(atom: Atom, event: Event, found: list[str]) -> Iterator[str]:
    """Why an atom does not hold for the texts found, the most telling reason first."""
    if atom.field is None:
        yield "no value holds it"
    if atom.op is Op.REF and not values.field_texts(event, atom.value[0]):
        yield f"field {atom.value[0]} absent"
    if _without_case(atom, event):
        yield "case differs"
    if atom.op in (Op.LT, Op.LTE, Op.GT, Op.GTE) and all(values.number(one) is None for one in found):
        yield "not a number"
    if atom.op is Op.TIME and all(values.moment(one) is None for one in found):
        yield "not a time"
    if atom.op is Op.CIDR and all(values.address(one) is None for one in found):
        yield "not an address"
    yield "value differs"


def _without_case(atom: Atom, event: Event) -> bool:
    """Whether the atom would hold if letters did not count."""
    if atom.op is Op.CASED:
        return atom_holds(Atom(atom.field, Op.LIKE, atom.value), event)
    if atom.op is Op.REGEX and "i" not in atom.value[1]:
        pattern, flags = atom.value
        return atom_holds(Atom(atom.field, Op.REGEX, (pattern, flags + "i")), event)
    return False
