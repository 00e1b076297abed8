"""Many rules at once: which of them match one event.

Each rule is a few conjuncts, each conjunct a bit of a Python integer. Every field of an event contributes the mask of
conjuncts that its value rules out; what no field rules out is tested exactly, which is hardly more than the rules that
match. Which fields matter is planned once for each set of names that events have, and for each log source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from vedette_engine.detect import values
from vedette_engine.detect.conjuncts import SEVERAL, Conjunct, conjuncts, is_late, single_field, weakened
from vedette_engine.detect.event_tests import EventTest, event_test
from vedette_engine.detect.field import Budget, FieldIndex
from vedette_engine.detect.hits import plain_choice
from vedette_engine.detect.ir import And, Atom, Node, Op, Or, field_names
from vedette_engine.detect.keywords import KeywordIndex, KeywordScan
from vedette_engine.detect.logsource import Logsource, Logsources, fits
from vedette_engine.detect.text_tests import when_absent
from vedette_engine.detect.witness import Statistics

_SELECTIVE = 0.05  # a witness that at most this share of values has anchors a conjunct
_RARE = 4.0**-4  # beside an anchor, only rarer witnesses of varied fields are worth a scan
_MOST_PLANS = 8_192
_WIDEST_PLAN = 1_024  # events with more names are planned each time anew


class Plan(NamedTuple):
    """What to do with events of one set of names.

    Attributes:
        dead: conjuncts ruled out by the log source and by the fields that are absent.
        compared: name, answer by lower-cased text, answer by int, answer of other texts, index; fields of whole-value
            comparisons only.
        looked_up: name, answer by text, index; all other fields that matter.
        nested: names that hold an object in some events and lead to a field of a rule.
        keywords: the scan for keywords that may still match; None when there are none.
    """

    dead: int
    compared: tuple[tuple[str, Callable[[str, int], int], Callable[[int], int | None], int, FieldIndex], ...]
    looked_up: tuple[tuple[str, Callable[[str], int | None], FieldIndex], ...]
    nested: tuple[str, ...]
    keywords: KeywordScan | None


class Index:
    """An index over rules, numbered by the caller.

    Rules may be added and removed at any time; what an addition needs is built before the next match.
    """

    def __init__(self, statistics: Statistics, *, hyperscan: bool) -> None:
        self.statistics = statistics
        self.hyperscan = hyperscan
        self.fields: dict[str, FieldIndex] = {}
        self.bits_of: dict[int, int] = {}
        self._budget = Budget()
        self._keywords = KeywordIndex()
        self._conjuncts: list[tuple[int, tuple[EventTest, ...]]] = []
        self._by_logsource: dict[Logsource, int] = {}
        self._prefixes: set[str] = set()
        self._alive = 0
        self._dirty = False
        self._plans: dict[Logsources | None, dict[tuple[str, ...], Plan]] = {}
        self._plans_by_fields: dict[tuple[Logsources | None, frozenset[str]], Plan] = {}
        self._plan_count = 0

    def add(self, number: int, logsource: Logsource, condition: Node) -> None:
        """Let a rule take part; its condition is over names of events."""
        bits = 0
        for conjunct in conjuncts(condition):
            bits |= 1 << self._add_conjunct(number, conjunct)
        self.bits_of[number] = bits
        self._alive |= bits
        self._by_logsource[logsource] = self._by_logsource.get(logsource, 0) | bits
        for name in field_names(condition):
            self._prefixes.update(name[:at] for at, char in enumerate(name) if char == ".")
        self._dirty = True

    def remove(self, number: int) -> None:
        """Let a rule take part no more; its traces stay until a new index is made."""
        self._alive &= ~self.bits_of.pop(number)
        self._forget_plans()

    def _add_conjunct(self, number: int, conjunct: Conjunct) -> int:
        bit = len(self._conjuncts)
        rest = list(conjunct.rest)
        joined = {
            name: nodes[0] if len(nodes) == 1 else And(tuple(nodes)) for name, nodes in conjunct.predicates.items()
        }
        varied = self.statistics.varied
        anchored = any(name is not None and name not in varied and self._selective(p) for name, p in joined.items())
        for name, predicate in joined.items():
            if name is None:
                self._keywords.add(predicate, bit)
                continue
            indexed: Node | None = weakened(predicate) if is_late(predicate) else predicate
            if name in varied and indexed is not None:
                indexed = self._for_scan(name, indexed, anchored=anchored)
            if indexed is not predicate:
                rest.append(predicate)
            if indexed is not None:
                if name not in self.fields:
                    self.fields[name] = FieldIndex(name, self._budget)
                self.fields[name].add(indexed, bit)
        tests = tuple(event_test(node) for node in sorted(rest, key=_dearness))
        self._conjuncts.append((number, tests))
        return bit

    def _selective(self, predicate: Node) -> bool:
        witness = self.statistics.best(predicate)
        return witness is not None and self.statistics.cost(witness) < _SELECTIVE

    def _for_scan(self, name: str, predicate: Node, *, anchored: bool) -> Node | None:
        """What the index asks of a field whose values hardly recur: a witness, or presence, or nothing.

        Anything but the predicate itself is weaker than it, which then has to be tested exactly.
        """
        witness = self.statistics.best(predicate)
        if witness is None or (anchored and self.statistics.cost(witness) > _RARE):
            return None if when_absent(predicate) else Atom(name, Op.EXISTS, value=True)
        if plain_choice(predicate) is not None:
            return predicate
        return witness[0] if len(witness) == 1 else Or(witness)

    def _commit(self) -> None:
        for field in self.fields.values():
            if field.dirty:
                field.build(self.statistics, hyperscan=self.hyperscan)
        if self._keywords.dirty:
            self._keywords.build(self.statistics, hyperscan=self.hyperscan)
        self._forget_plans()
        self._dirty = False

    def forget(self) -> None:
        """Drop what was remembered of events."""
        self._forget_plans()
        for field in self.fields.values():
            field.forget()

    def _forget_plans(self) -> None:
        self._plans.clear()
        self._plans_by_fields.clear()
        self._plan_count = 0

    def match(self, event: Mapping[str, Any], raw: bytes | None, logsources: Logsources | None) -> list[int]:
        """The numbers of the rules that match, in ascending order.

        Args:
            event: flat or nested.
            raw: the JSON text that the event was decoded from, if it holds all values of the event; else None.
            logsources: rules for other log sources are left out; None tries all.
        """
        if self._dirty:
            self._commit()
        try:
            plan = self._plans[logsources][tuple(event)]
        except KeyError:
            plan = self._plan(event, logsources)
        for name in plan.nested:
            kind = type(event[name])
            if kind is dict or kind is list:
                flat = values.flattened(event, plan.nested)
                return self._run(self._plan(flat, logsources), flat, event, raw)
        return self._run(plan, event, event, raw)

    def _run(self, plan: Plan, event: Mapping[str, Any], original: Mapping[str, Any], raw: bytes | None) -> list[int]:
        dead, compared, looked_up, _, keyword_scan = plan
        for name, get, get_int, others, field in compared:
            value = event[name]
            kind = type(value)
            if kind is str:
                dead |= get(value.lower(), others)
            else:
                known = get_int(value) if kind is int else None
                dead |= field.miss(value) if known is None else known
        for name, remembered, field in looked_up:
            value = event[name]
            if type(value) is str:
                known = remembered(value)
                dead |= field.miss_text(value) if known is None else known
            else:
                dead |= field.miss(value)
        if keyword_scan is not None and (live := self._keywords.constrained & ~dead):
            dead |= self._keywords.dead(original, raw, live, keyword_scan)
        alive = self._alive & ~dead
        return self._survivors(alive, event) if alive else []

    def _survivors(self, alive: int, event: Mapping[str, Any]) -> list[int]:
        found: list[int] = []
        last = -1
        while alive:
            lowest = alive & -alive
            alive ^= lowest
            number, tests = self._conjuncts[lowest.bit_length() - 1]
            if number == last:
                continue
            for test in tests:
                if not test(event):
                    break
            else:
                found.append(number)
                last = number
        return found

    def _plan(self, event: Mapping[str, Any], logsources: Logsources | None) -> Plan:
        """The plan for events of these names, made or remembered."""
        shape = tuple(event)
        plans = self._plans.get(logsources)
        if plans is not None and (plan := plans.get(shape)) is not None:
            return plan
        fields, prefixes = self.fields, self._prefixes
        key = (logsources, frozenset(name for name in shape if name in fields or name in prefixes))
        known = self._plans_by_fields.get(key)
        plan = known if known is not None else self._new_plan(key[1], logsources)
        if len(shape) <= _WIDEST_PLAN:
            if self._plan_count >= _MOST_PLANS:
                self._forget_plans()
            self._plan_count += 1
            self._plans_by_fields[key] = plan
            self._plans.setdefault(logsources, {})[shape] = plan
        return plan

    def _new_plan(self, names: Iterable[str], logsources: Logsources | None) -> Plan:
        present = sorted(names)
        dead = 0
        if logsources is not None:
            for logsource, bits in self._by_logsource.items():
                if not fits(logsource, logsources):
                    dead |= bits
        held = frozenset(present)
        for name, field in self.fields.items():
            if name not in held:
                dead |= field.absent_dead
        live = self._alive & ~dead
        compared = []
        looked_up = []
        for name in present:
            index = self.fields.get(name)
            if index is None or not index.constrained & live:
                continue
            if index.choices is not None:
                compared.append((name, index.choices.get, index.numbers.get, index.base_dead, index))
            else:
                looked_up.append((name, index.memo.get, index))
        nested = tuple(name for name in present if name in self._prefixes)
        sought = self._keywords.constrained & live
        scan = self._keywords.scan_for(sought) if sought else None
        return Plan(dead, tuple(compared), tuple(looked_up), nested, scan)


def _dearness(node: Node) -> int:
    """In which order exact tests come: of one field, of several, with regular expressions."""
    return 2 if is_late(node) else int(single_field(node) is SEVERAL)
