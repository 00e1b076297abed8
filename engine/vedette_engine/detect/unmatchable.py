"""Finds fields that no event can have: mistyped ECS names. A rule that therefore never matches is not loaded."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from functools import lru_cache

from vedette_crds.problems import Problem
from vedette_engine.detect import ir
from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or
from vedette_engine.detect.naming import ECS
from vedette_engine.detect.rule import Rule
from vedette_engine.ecs.catalogue import ROOTS, is_ecs, is_open, suggest

# Names that users set themselves below an ECS root are legitimate; only what is nearly a catalogued name is a mistake.
_NEARLY = 0.9


def check_fields(rule: Rule, known: Collection[str] = ()) -> tuple[list[Problem], bool]:
    """Doubtful fields of a rule, and whether the rule can match at all.

    Args:
        rule: to be checked under ECS names.
        known: names that events do have, whatever the catalogue says.

    Returns:
        problems whose `path` is the field as the rule names it, and whether some event can match.
    """
    problems = []
    dead = set()
    for native in sorted(ir.field_names(rule.condition)):
        name = ECS.field(rule.logsource, native)
        if name in known or native in known:
            continue
        meant = mistyped(name)
        if meant:
            dead.add(native)
            problems.append(Problem(f"no event has a field {native!r}", path=native, hint=f"did you mean {meant!r}?"))
    if not dead:
        return [], True
    matchable = _possible(rule.condition, dead)[0]
    if not matchable:
        problems = [
            Problem(f"{one.message}, so the rule can never match", path=one.path, hint=one.hint) for one in problems
        ]
    return problems, matchable


@lru_cache(maxsize=4096)
def mistyped(name: str) -> str:
    """The catalogued name that an uncatalogued one was probably meant to be; empty for names that may be right."""
    root, dot, _ = name.partition(".")
    if not dot or root not in ROOTS or is_ecs(name) or is_open(name):
        return ""
    near = suggest(name)
    if near and difflib.SequenceMatcher(None, name, near[0]).ratio() >= _NEARLY:
        return near[0]
    return ""


def _possible(node: Node, dead: Collection[str]) -> tuple[bool, bool]:
    """Whether a condition can be true and whether it can be false, when the dead fields are always absent."""
    if isinstance(node, Atom):
        fields = {node.field, node.value[0]} if node.op is Op.REF else {node.field}
        if fields.isdisjoint(dead):
            return True, True
        holds = node.op is Op.EXISTS and node.value is False
        return holds, not holds
    if isinstance(node, And | Or):
        parts = [_possible(part, dead) for part in node.parts]
        true, false = [part[0] for part in parts], [part[1] for part in parts]
        return (all(true), any(false)) if isinstance(node, And) else (any(true), all(false))
    true_part, false_part = _possible(node.part, dead)
    return (false_part, true_part) if isinstance(node, Not) else (true_part, false_part)
