"""The detection section of a Sigma document: selections and the condition over them, as one tree."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pyparsing import ParseException
from sigma.conditions import (
    ConditionAND,
    ConditionIdentifier,
    ConditionNOT,
    ConditionOR,
    ConditionSelector,
    SigmaCondition,
)
from sigma.exceptions import SigmaError
from sigma.rule.detection import EmptySigmaDetections

from vedette_crds.problems import Problem
from vedette_engine.detect.ir import And, Named, Node, Not, Or
from vedette_engine.detect.sigma_values import MAX_VALUES, ItemError, Placeholders, count_atoms, item_node
from vedette_engine.detect.yamldocs import Path

MAX_CONDITION: Final = 8_192
MAX_BRACKETS: Final = 24
MAX_SELECTIONS: Final = 500

_SCALAR = str | int | float | bool | None

Report = Callable[[Path, str, str], None]
"""Takes the path of a mistake, its message and a hint."""


class DetectionReader:
    """Reads one detection or filter section; mistakes go to `report`, all of them in one go."""

    def __init__(self, section: Path, placeholders: Placeholders, report: Report) -> None:
        self.section = section
        self.placeholders = placeholders
        self.report = report
        self.failed = False
        self.atoms = 0

    def read(self, detection: Any, skip: Iterable[str] = ("condition",)) -> Node | None:
        """The whole section as one tree; None after at least one mistake was reported."""
        if not isinstance(detection, Mapping):
            self.fail((), "the section is not a mapping", "name selections in it and write a condition")
            return None
        skipped = frozenset(skip)
        names = [name for name in detection if name not in skipped]
        if not names:
            self.fail((), "there is no selection", "write at least one")
        if len(names) > MAX_SELECTIONS:
            self.fail((), f"there are {len(names)} selections, more than {MAX_SELECTIONS}")
            return None
        selections = {name: self.definition(detection[name], (name,)) for name in names}
        condition = detection.get("condition")
        if condition is None or condition == []:
            self.fail((), "there is no condition", "write one, such as `condition: selection`")
        texts = condition if isinstance(condition, list) else [condition]
        nodes = [self.condition(text, selections) for text in texts if text is not None]
        if self.failed:
            return None
        whole = [node for node in nodes if node is not None]
        tree = whole[0] if len(whole) == 1 else Or(tuple(whole))
        if (atoms := count_atoms(tree)) > MAX_VALUES * 4:
            self.fail(("condition",), f"the condition asks {atoms} questions, more than {MAX_VALUES * 4}")
            return None
        return tree

    def fail(self, path: Path, message: str, hint: str = "") -> None:
        """Report a mistake; the section will yield nothing."""
        self.failed = True
        self.report((*self.section, *path), message, hint)

    def definition(self, definition: Any, path: Path) -> Node | None:
        """One selection: a mapping (all lines), a value or values (keywords), or a list of selections (any)."""
        if isinstance(definition, Mapping):
            parts = [self.item(key, value, (*path, key)) for key, value in definition.items()]
            return self.joined(And, parts, path)
        if isinstance(definition, list) and not all(isinstance(one, _SCALAR) for one in definition):
            parts = [self.definition(one, (*path, index)) for index, one in enumerate(definition)]
            return self.joined(Or, parts, path)
        return self.item(None, definition, path)

    def joined(self, join: type[And | Or], parts: list[Node | None], path: Path) -> Node | None:
        """The parts as one tree; None when one of them failed."""
        whole = [part for part in parts if part is not None]
        if not parts:
            self.fail(path, "the selection is empty", "list fields and values, or remove it")
        if not whole or len(whole) < len(parts):
            return None
        return whole[0] if len(whole) == 1 else join(tuple(whole))

    def item(self, key: str | None, value: Any, path: Path) -> Node | None:
        """One line of a selection."""
        try:
            node = item_node(key, value, self.placeholders)
        except ItemError as error:
            self.fail(path, str(error), error.hint)
            return None
        self.atoms += count_atoms(node)
        if self.atoms > MAX_VALUES:
            self.fail(path, f"the selections hold more than {MAX_VALUES} values", "split the rule")
            return None
        return node

    def condition(self, text: Any, selections: Mapping[str, Node | None]) -> Node | None:
        """The tree of one condition line."""
        path: Path = ("condition",)
        if not isinstance(text, str):
            self.fail(path, "the condition is not a text", "write it like `selection and not filter`")
            return None
        if len(text) > MAX_CONDITION or text.count("(") > MAX_BRACKETS:
            self.fail(path, f"the condition is longer than {MAX_CONDITION} or has more than {MAX_BRACKETS} brackets")
            return None
        if "|" in text:
            self.fail(path, "aggregations after a `|` are no longer part of Sigma", "write a correlation rule")
            return None
        try:
            parsed = SigmaCondition(text, EmptySigmaDetections()).parse(postprocess=False)
            return self.tree(parsed, selections)
        except (SigmaError, ParseException) as error:
            self.fail(path, f"the condition cannot be read: {error}", "see the Sigma specification on conditions")
        except RecursionError:
            self.fail(path, "the condition nests too deeply")
        return None

    def tree(self, node: Any, selections: Mapping[str, Node | None]) -> Node | None:
        """The tree of a part of a condition that pySigma parsed."""
        if isinstance(node, ConditionIdentifier):
            return self.selection(node.identifier, selections)
        if isinstance(node, ConditionSelector):
            return self.selector(node, selections)
        parts = [self.tree(part, selections) for part in node.args]
        whole = tuple(part for part in parts if part is not None)
        if len(whole) < len(parts):
            return None
        if isinstance(node, ConditionNOT):
            return Not(whole[0])
        if isinstance(node, ConditionAND):
            return And(whole)
        if isinstance(node, ConditionOR):
            return Or(whole)
        raise TypeError(f"pySigma parsed a {type(node).__name__}")

    def selection(self, name: str, selections: Mapping[str, Node | None]) -> Node | None:
        """The selection that a condition names."""
        if name not in selections:
            self.fail(("condition",), f"the condition names {name!r}, which is not defined", _known(selections))
            return None
        part = selections[name]
        return None if part is None else Named(name, part)

    def selector(self, node: ConditionSelector, selections: Mapping[str, Node | None]) -> Node | None:
        """`1 of name*`, `all of them`: names with a leading underscore only by a pattern that has one."""
        pattern = "*" if node.pattern == "them" else node.pattern
        names = [
            name
            for name in selections
            if fnmatch.fnmatchcase(name, pattern) and (pattern.startswith("_") or not name.startswith("_"))
        ]
        if not names:
            self.fail(("condition",), f"no selection has a name like {node.pattern!r}", _known(selections))
        parts = [self.selection(name, selections) for name in names]
        whole = tuple(part for part in parts if part is not None)
        if not whole or len(whole) < len(parts):
            return None
        if len(whole) == 1:
            return whole[0]
        return And(whole) if node.cond_class is ConditionAND else Or(whole)


def _known(selections: Mapping[str, Node | None]) -> str:
    return "defined are " + ", ".join(list(selections)[:10]) if selections else ""


def path_text(path: Path) -> str:
    """A path as users read it: `detection.selection[2].CommandLine|re`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def problem(message: str, path: Path, hint: str, line: int | None) -> Problem:
    """The problem of one place in a rule."""
    return Problem(message, path=path_text(path), hint=hint, line=line)
