"""Which literals to look for: a witness of a predicate is a set of atoms of which one must hold for it to hold.

The scan looks for witnesses only; the rest of a predicate is tested on the few events where one was found. How often a
literal occurs in real values decides which witness is best; without a sample, its length does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vedette_engine.detect import scanner, values
from vedette_engine.detect.conjuncts import late_literals
from vedette_engine.detect.ir import Atom, Named, Node, Not, Op, Or, atoms
from vedette_engine.detect.text_tests import equal_text

_EQUAL_SHARE = 1e-6
_ENOUGH_VALUES = 30
_MOSTLY_NEW = 0.4
_LONGEST_SAMPLED = 20_000

# Fields that have a new value in almost every event, by any naming, where no sample says otherwise.
_VARIED = frozenset(
    {
        "CommandLine",
        "ParentCommandLine",
        "ScriptBlockText",
        "ContextInfo",
        "Payload",
        "Details",
        "Data",
        "TargetObject",
        "CallTrace",
        "Hashes",
        "QueryName",
        "DestinationHostname",
        "DestinationIp",
        "Message",
        "TargetFilename",
        "process.command_line",
        "process.parent.command_line",
        "registry.path",
        "dns.question.name",
        "destination.domain",
        "destination.ip",
        "file.path",
        "message",
        "event.original",
        "url.original",
        "url.query",
        "user_agent.original",
    }
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of real values.

    Attributes:
        varied: fields with a new value in almost every event: remembering answers by value does not pay.
        shares: (field, literal in lower case) → share of the field's values that hold it.
    """

    varied: frozenset[str] = _VARIED | frozenset("winlog.event_data." + name for name in _VARIED)
    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def cost(self, witness: Iterable[Atom]) -> float:
        """About how many values in a hundred hold some atom of the witness, as a share."""
        return sum(self._share(atom) for atom in witness)

    def _share(self, atom: Atom) -> float:
        if atom.op is Op.EQUALS and not self.shares:
            return _EQUAL_SHARE
        literal = atom_literal(atom)
        if not self.shares:
            return 4.0 ** -min(len(literal), 12)
        prior = _EQUAL_SHARE if atom.op is Op.EQUALS else 0.02 * 4.0 ** -min(len(literal), 8)
        return self.shares.get((atom.field or "", literal), 0.0) + prior

    def best(self, node: Node) -> tuple[Atom, ...] | None:
        """The cheapest witness of a single-field tree; None when it can hold without any literal."""
        if isinstance(node, Atom):
            return None if node.op is Op.EXISTS else (node,)
        if isinstance(node, Not):
            return None
        if isinstance(node, Named):
            return self.best(node.part)
        found = [self.best(part) for part in node.parts]
        if isinstance(node, Or):
            if any(one is None for one in found):
                return None
            return tuple(dict.fromkeys(atom for one in found if one is not None for atom in one))
        candidates = [one for one in found if one is not None]
        return min(candidates, key=self.cost) if candidates else None


def atom_literal(atom: Atom) -> str:
    """A literal in lower case that every lower-cased text for which the atom holds contains; may be empty."""
    if atom.op is Op.EQUALS:
        return equal_text(atom)
    if atom.op in (Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH):
        literal: str = atom.value.lower()
        return literal
    found = late_literals(atom)
    return found[0] if found else ""


def learn(events: Iterable[Mapping[str, Any]], conditions: Iterable[Node]) -> Statistics:
    """Statistics of a sample of events for the fields and literals that conditions use.

    A thousand events, spread over the day and the sources, are enough; fields that they hardly show keep the defaults.
    """
    wanted = _wanted_literals(conditions)
    seen: dict[str, list[str]] = {}
    for event in events:
        for name, value in event.items():
            if name in wanted:
                seen.setdefault(name, []).extend(one[:_LONGEST_SAMPLED].lower() for one in values.texts(value))
    varied = set(Statistics().varied)
    shares: dict[tuple[str, str], float] = {}
    for name, found in seen.items():
        if len(found) >= _ENOUGH_VALUES:
            (varied.add if len(set(found)) > _MOSTLY_NEW * len(found) else varied.discard)(name)
        for literal, count in _counted(wanted[name], found):
            shares[name, literal] = count / len(found)
    return Statistics(frozenset(varied), shares)


def _wanted_literals(conditions: Iterable[Node]) -> dict[str, dict[str, None]]:
    """The literals that conditions use, by field."""
    wanted: dict[str, dict[str, None]] = {}
    for condition in conditions:
        for atom in atoms(condition):
            if atom.field is not None and atom.op not in (Op.EXISTS, Op.REF):
                wanted.setdefault(atom.field, {})[atom_literal(atom)] = None
    return wanted


def _counted(literals: Iterable[str], texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The literals that occur in some texts, and in how many."""
    needles = [scanner.Needle(literal) for literal in literals if literal]
    scan = scanner.text_scanner(needles, hyperscan=False)
    counts = [0] * len(needles)
    for text in texts:
        for index in scan(text):
            counts[index] += 1
    return ((needle.text, count) for needle, count in zip(needles, counts, strict=True) if count)
