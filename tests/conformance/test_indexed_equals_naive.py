"""All SigmaHQ rules on real and on mangled events: the index and naive evaluation never differ."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from vedette_engine.detect.engine import Engine
from vedette_engine.detect.ir import Atom, Node, Op, atoms
from vedette_engine.detect.naive import holds
from vedette_engine.detect.naming import NATIVE
from vedette_engine.detect.sigma import compile_sigma

pytestmark = pytest.mark.slow

COMPARISONS = 1_000_000
CONTROLS = ["\x00", "\n", "\x1b", "\u2028", "\U0001f600", " "]

Event = dict[str, Any]
Mangle = Callable[[random.Random, Event, list[Atom]], None]


def some_key(chance: random.Random, event: Event) -> str:
    return chance.choice(list(event)) if event else "Image"


def change_case(chance: random.Random, event: Event, _atoms: list[Atom]) -> None:
    key = some_key(chance, event)
    if isinstance(event.get(key), str):
        event[key] = chance.choice([str.upper, str.lower, str.swapcase])(event[key])


def use_odd_letters(chance: random.Random, event: Event, _atoms: list[Atom]) -> None:
    key = some_key(chance, event)
    if isinstance(event.get(key), str):
        odd = {"k": "\u212a", "i": "\u0130", "s": "\u017f", "K": "\u212a", "I": "\u0130", "e": "\u00e9"}
        event[key] = "".join(odd.get(char, char) if chance.random() < 0.3 else char for char in event[key])


def plant_literal(chance: random.Random, event: Event, found: list[Atom]) -> None:
    """Give a field a value that some rule asks for, or one next to it."""
    atom = chance.choice(found)
    if atom.field is None:
        field, literal = chance.choice(["Image", "x"]), str(atom.value)
    else:
        field = atom.field
        parts = atom.value if isinstance(atom.value, tuple) else (atom.value,)
        literal = "".join("zz" if part in (0, 1) else str(part) for part in parts)
    literal = chance.choice([literal, literal + "x", "x" + literal, literal[1:], literal.upper()])
    kept = event.get(field)
    event[field] = literal if not isinstance(kept, str) else chance.choice([literal, kept + literal, literal + kept])


def make_list(chance: random.Random, event: Event, found: list[Atom]) -> None:
    key = some_key(chance, event)
    other: Event = {}
    plant_literal(chance, other, found)
    event[key] = chance.choice([[event.get(key), *other.values()], [event.get(key)], [], [None], [[event.get(key)], 5]])


def make_scalar(chance: random.Random, event: Event, _atoms: list[Atom]) -> None:
    event[some_key(chance, event)] = chance.choice(
        [None, True, False, 0, 1, 1.0, 4688, -1, 2**63 - 1, 1.5, "", "1", "*"]
    )


def nest(chance: random.Random, event: Event, found: list[Atom]) -> None:
    dotted = [atom for atom in found if atom.field is not None and "." in atom.field]
    atom = chance.choice(dotted)
    assert atom.field is not None
    inner: Any = atom.value if isinstance(atom.value, str | int | float | bool) else "x"
    for part in reversed(atom.field.split(".")[1:]):
        inner = {part: inner}
        inner = chance.choice([inner, [inner], [{"other": 1}, inner]])
    event[atom.field.split(".")[0]] = inner


def add_controls(chance: random.Random, event: Event, _atoms: list[Atom]) -> None:
    key = some_key(chance, event)
    event[key] = f"{event.get(key)}{chance.choice(CONTROLS)}"


def drop(chance: random.Random, event: Event, _atoms: list[Atom]) -> None:
    event.pop(some_key(chance, event), None)


MANGLES: list[Mangle] = [
    change_case, use_odd_letters, plant_literal, plant_literal, make_list, make_scalar, nest, add_controls, drop,
]  # fmt: skip


def with_a_duplicate_key(chance: random.Random, raw: bytes, event: Event) -> bytes:
    """The same event as JSON, some key given twice; the last one wins."""
    key = orjson.dumps(some_key(chance, event))
    return b"{" + key + b':"mimikatz sekurlsa::",' + raw[1:]


def with_escapes(chance: random.Random, raw: bytes) -> bytes:
    """The same JSON with some letters written as escapes."""
    letter = chance.choice(b"aeiklmos")
    return raw.replace(bytes([letter]), b"\\u00%02x" % letter) if b"\\" not in raw else raw


def test_index_and_naive_evaluation_never_differ(shared_data: Path) -> None:
    with gzip.open(shared_data / "sigma" / "rules.jsonl.gz") as file:
        rules = [rule for line in file for rule in compile_sigma(orjson.loads(line)["yaml"]).rules]
    conditions: list[tuple[str, Node]] = [(rule.key, NATIVE.condition(rule)) for rule in rules]
    asked = [atom for _, condition in conditions for atom in atoms(condition) if atom.op is not Op.EXISTS]
    with (shared_data / "sigma" / "regression.jsonl").open("rb") as file:
        real = [event for line in file for event in orjson.loads(line)["events_flat"]]
    chance = random.Random(20261122)
    fast = Engine(rules, naming=NATIVE)
    plain = Engine(rules, naming=NATIVE, hyperscan=False, sample=real)
    compared = matched = 0
    while compared < COMPARISONS:
        event = dict(chance.choice(real))
        for _ in range(chance.randrange(5)):
            chance.choice(MANGLES)(chance, event, asked)
        raw = orjson.dumps(event)
        if event:
            raw = with_a_duplicate_key(chance, raw, event) if chance.random() < 0.1 else raw
            raw = with_escapes(chance, raw) if chance.random() < 0.1 else raw
        event = orjson.loads(raw)
        expected = [key for key, condition in conditions if holds(condition, event)]
        for engine in (fast, plain):
            assert [rule.key for rule in engine.match(event)] == expected, event
            assert [rule.key for rule in engine.match(event, raw)] == expected, event
        compared += len(conditions)
        matched += len(expected)
    assert matched > 500
