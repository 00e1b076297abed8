"""The index of one field: from a value to the mask of conjuncts that this value rules out.

Bits are conjuncts. A value is scanned once for all literals of the field, and the answer is remembered; fields whose
values recur cost one dictionary access per event.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from vedette_engine.detect import scanner, values
from vedette_engine.detect.conjuncts import late_literals
from vedette_engine.detect.hits import HitTest, hit_test, holds_with, plain_choice
from vedette_engine.detect.ir import Atom, Node, Op, atoms
from vedette_engine.detect.scanner import Needle, Place
from vedette_engine.detect.text_tests import TextTest, atom_test, equal_text, list_test
from vedette_engine.detect.witness import Statistics

_PLACES = {Op.CONTAINS: Place.ANYWHERE, Op.STARTSWITH: Place.START, Op.ENDSWITH: Place.END}


class Budget:
    """Bounds what all fields of an index remember together.

    `spent` counts the bytes remembered since the fields last began anew; what is older is thrown away then.
    """

    def __init__(self, limit: int = 24 << 20) -> None:
        self.limit = limit
        self.spent = 0
        self.fields: list[FieldIndex] = []

    def renew(self) -> None:
        """Let every field keep what it learnt last, and forget the rest."""
        self.spent = 0
        for field in self.fields:
            field.rotate()


class FieldIndex:
    """All predicates on one field.

    Attributes:
        constrained: the conjuncts that ask something of this field.
        absent_dead: those that an event without the field rules out.
        memo, numbers: remembered answers, by text and by int.
        choices: for a field of whole-value comparisons only, lower-cased text → answer; else None.
        misses: how often an answer was not remembered.
    """

    LONGEST_REMEMBERED = 4_096
    MOST_REMEMBERED = 20_000

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.budget = budget
        budget.fields.append(self)
        self.predicates: dict[Node, int] = {}
        self.constrained = 0
        self.absent_dead = 0
        self.base_dead = 0
        self.dirty = True
        self.misses = 0
        self.memo: dict[str, int] = {}
        self.older: dict[str, int] = {}
        self.numbers: dict[int, int] = {}
        self.choices: dict[str, int] | None = None
        self._base = 0
        self._equal: dict[str, int] = {}
        self._plain: list[int] = []
        self._composed: list[tuple[int, ...]] = []
        self._entries: list[tuple[HitTest, int]] = []
        self._always: list[tuple[int, TextTest]] = []
        self._networks: dict[tuple[int, int], dict[int, list[int]]] = {}
        self._scan: scanner.Scan = lambda _text: ()
        self._actions: list[tuple[tuple[int, TextTest | None], ...]] = []
        self._many: list[tuple[Callable[[list[str]], bool], int]] | None = None

    def add(self, predicate: Node, bit: int) -> None:
        """Let a conjunct ask this of the field; `build` before the next look-up."""
        mask = 1 << bit
        self.predicates[predicate] = self.predicates.get(predicate, 0) | mask
        self.constrained |= mask
        self.dirty = True

    def build(self, statistics: Statistics, *, hyperscan: bool) -> None:
        """Prepare for look-ups after predicates were added."""
        numbers: dict[Atom, int] = {}
        for predicate in self.predicates:
            for atom in atoms(predicate):
                if atom.op is not Op.EXISTS:
                    numbers.setdefault(atom, len(numbers))
        self._base = self.absent_dead = 0
        self._plain = [0] * len(numbers)
        self._entries = []
        composed: dict[int, list[int]] = {}
        sought: set[Atom] = set()
        for predicate, mask in self.predicates.items():
            if not holds_with(predicate, present=False):
                self.absent_dead |= mask
            if holds_with(predicate, present=True, numbers=numbers):
                self._base |= mask
            choice = plain_choice(predicate)
            if choice is None:
                sought.update(self._compose(predicate, mask, numbers, statistics, composed))
                continue
            sought.update(choice)
            for atom in choice:
                self._plain[numbers[atom]] |= mask
        self.base_dead = self.constrained & ~self._base
        self._composed = [tuple(composed.get(number, ())) for number in range(len(numbers))]
        self._prepare(((atom, numbers[atom]) for atom in sought), hyperscan=hyperscan)
        self._many = None
        self.forget()
        self.dirty = False

    def _compose(
        self,
        predicate: Node,
        mask: int,
        numbers: dict[Atom, int],
        statistics: Statistics,
        composed: dict[int, list[int]],
    ) -> set[Atom]:
        """Note which atoms, when they hold, call for a test of the predicate; the atoms that the test looks at."""
        own = {atom for atom in atoms(predicate) if atom.op is not Op.EXISTS}
        if own:
            witness = None if mask & self._base else statistics.best(predicate)
            for atom in own if witness is None else witness:
                composed.setdefault(numbers[atom], []).append(len(self._entries))
            self._entries.append((hit_test(predicate, numbers), mask))
        return own

    def _prepare(self, sought: Iterable[tuple[Atom, int]], *, hyperscan: bool) -> None:
        """Sort atoms by how they are found: by the whole text, by a literal, as an address, or by a test."""
        self._equal, self._always, self._networks = {}, [], {}
        actions: dict[Needle, list[tuple[int, TextTest | None]]] = {}
        for atom, number in sorted(sought, key=lambda pair: pair[1]):
            if atom.op is Op.EQUALS:
                self._equal[equal_text(atom)] = number
            elif atom.op in _PLACES and atom.value:
                needle = Needle(atom.value.lower(), _PLACES[atom.op])
                actions.setdefault(needle, []).append((number, None))
            elif atom.op is Op.CIDR:
                network = ipaddress.ip_network(atom.value)
                free = network.max_prefixlen - network.prefixlen
                prefixes = self._networks.setdefault((network.version, free), {})
                prefixes.setdefault(int(network.network_address) >> free, []).append(number)
            elif literals := late_literals(atom):
                actions.setdefault(Needle(literals[0]), []).append((number, atom_test(atom)))
            else:
                self._always.append((number, atom_test(atom)))
        self._actions = [tuple(uses) for uses in actions.values()]
        self._scan = scanner.text_scanner(list(actions), hyperscan=hyperscan)
        self.choices = None
        if not actions and not self._always and not self._networks:
            self.choices = {whole: self._dead({number}) for whole, number in self._equal.items()}

    def forget(self) -> None:
        """Drop all remembered answers."""
        self.memo.clear()
        self.older = {}
        self.numbers.clear()

    def rotate(self) -> None:
        """Make what is remembered the older generation; the one before that is dropped."""
        self.older = self.memo.copy()
        self.memo.clear()

    def miss(self, value: Any) -> int:
        """The dead mask of a value whose answer is not in `memo`."""
        kind = type(value)
        if kind is str:
            return self.miss_text(value)
        if kind is int:
            return self._miss_int(value)
        found = values.texts(value)
        if not found:
            return self.absent_dead
        if len(found) == 1:
            return self.dead_of_text(found[0])
        return self.dead_of_texts(found)

    def miss_text(self, value: str) -> int:
        """The dead mask of a text whose answer is not in `memo`."""
        self.misses += 1
        dead = self.older.get(value)
        if dead is None:
            dead = self.dead_of_text(value)
        size = len(value)
        if size <= self.LONGEST_REMEMBERED:
            budget = self.budget
            # The string, its place in the dictionary, and the mask unless it is the one that most values share.
            budget.spent += size + (160 if dead is self.base_dead else 640)
            if budget.spent > budget.limit:
                budget.renew()
            if len(self.memo) >= self.MOST_REMEMBERED:
                self.rotate()
            self.memo[value] = dead
        return dead

    def _miss_int(self, value: int) -> int:
        dead = self.numbers.get(value)
        if dead is None:
            self.misses += 1
            dead = self.dead_of_text(values.text(value) or "")
            if len(self.numbers) >= self.MOST_REMEMBERED:
                self.numbers.clear()
            self.numbers[value] = dead
        return dead

    def dead_of_text(self, value: str) -> int:
        """The conjuncts that an event with this one text rules out."""
        low = value.lower()
        hits: set[int] = set()
        equal = self._equal.get(low)
        if equal is not None:
            hits.add(equal)
        found = self._scan(low)
        if found:
            actions = self._actions
            for needle in found:
                for number, test in actions[needle]:
                    if test is None or (number not in hits and test(value, low)):
                        hits.add(number)
        for number, test in self._always:
            if test(value, low):
                hits.add(number)
        if self._networks:
            hits.update(self._networks_of(low))
        return self._dead(hits) if hits else self.base_dead

    def _networks_of(self, low: str) -> list[int]:
        address = values.address(low)
        if address is None:
            return []
        found: list[int] = []
        for (version, free), prefixes in self._networks.items():
            if version == address.version:
                found.extend(prefixes.get(int(address) >> free, ()))
        return found

    def _dead(self, hits: set[int]) -> int:
        alive = self._base
        plain = self._plain
        composed = self._composed
        waiting: set[int] = set()
        for number in hits:
            mask = plain[number]
            if mask:
                alive |= mask
            entries = composed[number]
            if entries:
                waiting.update(entries)
        for entry in waiting:
            test, mask = self._entries[entry]
            if test(hits):
                alive |= mask
            elif mask & self._base:
                alive &= ~mask
        return self.constrained & ~alive

    def dead_of_texts(self, found: list[str]) -> int:
        """The conjuncts that an event with these several texts rules out."""
        if self._many is None:
            self._many = [(list_test(predicate), mask) for predicate, mask in self.predicates.items()]
        alive = 0
        for test, mask in self._many:
            if test(found):
                alive |= mask
        return self.constrained & ~alive
