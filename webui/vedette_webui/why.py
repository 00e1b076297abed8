"""The explanation that an alert carries, read defensively: it was written by an engine of any version."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vedette_webui import show

DEPTH = 40
PARTS = 200
NODES = 5_000
"""A page shows no more nodes than this."""

_WORDS = {"and": "all of", "or": "any of", "not": "not"}


@dataclasses.dataclass(slots=True)
class Node:
    """One part of a rule's condition.

    Attributes:
        label: what a person calls it: the selection's name, or how the parts combine.
        combines: how the parts combine, where `label` is a name.
        held: whether it held for the event.
        expected: values that the rule asks for.
        actual: values that the event has.
        why: why it did not hold.
        cut: what is left out, for people.
    """

    atom: bool
    label: str
    held: bool
    combines: str = ""
    field: str = ""
    operator: str = ""
    expected: list[str] = dataclasses.field(default_factory=list)
    actual: list[str] = dataclasses.field(default_factory=list)
    why: str = ""
    parts: list[Node] = dataclasses.field(default_factory=list)
    cut: str = ""

    @property
    def shown(self) -> list[Node]:
        """Parts to show at once: of alternatives, those that held."""
        return [part for part in self.parts if part.held] if self._alternatives else self.parts

    @property
    def folded(self) -> list[Node]:
        """The alternatives that did not hold, beside some that did."""
        return [part for part in self.parts if not part.held] if self._alternatives else []

    @property
    def _alternatives(self) -> bool:
        return _WORDS["or"] in {self.label, self.combines} and self.held


def read(value: Any) -> Node | None:
    """The tree in an alert's body; None when there is none."""
    return _read(value, DEPTH, [NODES])


def _read(value: Any, depth: int, left: list[int]) -> Node | None:
    if not isinstance(value, Mapping) or left[0] <= 0:
        return None
    left[0] -= 1
    kind, name = _text(value.get("kind")), _text(value.get("name"))
    node = Node(
        atom=kind == "atom",
        label=name or _WORDS.get(kind, kind),
        combines=_WORDS.get(kind, "") if name else "",
        held=value.get("held") is True,
        field=_text(value.get("field")),
        operator=_text(value.get("operator")),
        expected=_texts(value.get("expected")),
        actual=_texts(value.get("actual")),
        why=_text(value.get("why")),
    )
    listed = value.get("parts")
    parts = listed if isinstance(listed, Sequence) and not isinstance(listed, str | bytes) else []
    if depth == 0 and parts:
        node.cut = f"deeper than {DEPTH} levels"
        return node
    node.parts = [part for part in (_read(one, depth - 1, left) for one in parts[:PARTS]) if part is not None]
    if len(parts) > PARTS:
        node.cut = f"{len(parts) - PARTS} more"
    if kind == "selection" and len(node.parts) == 1 and not node.parts[0].atom and not node.parts[0].combines:
        # A selection around one "all of" reads as one line.
        inner = node.parts[0]
        node.combines, node.parts, node.cut = inner.label, inner.parts, node.cut or inner.cut
    return node


def matched(node: Node | None) -> dict[str, str]:
    """Fields whose values made the rule fire, each with the expectation that it met."""
    found: dict[str, str] = {}
    pending = [node] if node is not None else []
    while pending:
        one = pending.pop()
        pending.extend(reversed(one.parts))
        if one.atom and one.held and one.field:
            found.setdefault(one.field, f"{one.operator} {' or '.join(one.expected[:5])}".strip())
    return found


def _text(value: Any) -> str:
    return "" if value is None else show.scalar(value)


def _texts(value: Any) -> list[str]:
    return [] if value is None else show.values(value)
