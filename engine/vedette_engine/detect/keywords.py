"""The index of keywords: questions about any value of an event.

All keywords are looked for in one scan of the event's JSON text. What it finds is only a hint, for the text also holds
names, and spells some characters as escapes; the values decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from vedette_engine.detect import scanner, values
from vedette_engine.detect.hits import holds_with
from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or, atoms
from vedette_engine.detect.text_tests import atom_test
from vedette_engine.detect.witness import Statistics, atom_literal

# Characters that JSON writes as themselves, unless it writes them as \u00xx.
_VERBATIM = re.compile(r"[a-z0-9 ._:=(),;*@#%$!?\[\]{}&|<>+^~`'-]+", re.ASCII)
# A fragment of digits alone may be written as another number is (1e3 for 1000).
_HAS_LETTER = re.compile(r"[a-df-z]", re.ASCII)
_SHORTEST = 3
# Where the JSON text holds one of these, unescaping or lower-casing makes ASCII letters of something else: \u00xx, and
# the Kelvin sign and the dotted capital I, written out or escaped.
_DOUBTFUL = (b"\\u00", b"\\u212a", b"\\u0130", "\u212a".encode(), "\u0130".encode())

_MOST_SCANS = 256
_ONLY_TEXTS = {str}

KeywordScan = Callable[[bytes], Collection[int]]
"""Takes JSON text and gives the numbers of needles in it."""

_Test = Callable[[list[str], str], bool]


class KeywordIndex:
    """All predicates on the whole event; the counterpart of `FieldIndex`."""

    def __init__(self) -> None:
        self.predicates: dict[Node, int] = {}
        self.constrained = 0
        self.dirty = True
        self._base = 0
        self._base_dead = 0
        self._tests: list[tuple[_Test, int]] = []
        self._by_needle: list[list[int]] = []
        self._unsought: list[int] = []
        self._unsought_mask = 0
        self._needles: list[bytes] = []
        self._scans: dict[tuple[int, ...], KeywordScan] = {}
        self._hyperscan = False

    def add(self, predicate: Node, bit: int) -> None:
        """Let a conjunct ask this; `build` before the next look-up."""
        mask = 1 << bit
        self.predicates[predicate] = self.predicates.get(predicate, 0) | mask
        self.constrained |= mask
        self.dirty = True

    def build(self, statistics: Statistics, *, hyperscan: bool) -> None:
        """Prepare for look-ups after predicates were added."""
        self._base = 0
        self._tests, self._unsought = [], []
        sought: dict[bytes, list[int]] = {}
        for predicate, mask in self.predicates.items():
            index = len(self._tests)
            self._tests.append((_test(predicate), mask))
            numbers = {atom: number for number, atom in enumerate(atoms(predicate))}
            if holds_with(predicate, present=True, numbers=numbers):
                self._base |= mask
            fragments = self._fragments(predicate, statistics)
            if fragments is None:
                self._unsought.append(index)
            for fragment in fragments or ():
                sought.setdefault(fragment, []).append(index)
        self._base_dead = self.constrained & ~self._base
        self._unsought_mask = 0
        for index in self._unsought:
            self._unsought_mask |= self._tests[index][1]
        needles = sorted(sought)
        self._by_needle = [sought[needle] for needle in needles]
        self._needles = [*needles, *_DOUBTFUL]
        self._hyperscan = hyperscan
        self._scans.clear()
        self.dirty = False

    def scan_for(self, live: int) -> KeywordScan:
        """A scan that finds at least the needles of these conjuncts."""
        wanted = tuple(
            number for number, uses in enumerate(self._by_needle) if any(self._tests[index][1] & live for index in uses)
        )
        if wanted not in self._scans:
            if len(self._scans) >= _MOST_SCANS:
                self._scans.clear()
            self._scans[wanted] = self._narrow_scan(wanted)
        return self._scans[wanted]

    def _narrow_scan(self, wanted: tuple[int, ...]) -> KeywordScan:
        if not wanted:
            return lambda _raw: ()
        numbers = (*wanted, *range(len(self._by_needle), len(self._needles)))
        scan = scanner.raw_scanner([self._needles[number] for number in numbers], hyperscan=self._hyperscan)

        def narrow(raw: bytes) -> Collection[int]:
            found = scan(raw)
            return [numbers[index] for index in found] if found else found

        return narrow

    def _fragments(self, predicate: Node, statistics: Statistics) -> set[bytes] | None:
        """Texts of which one is in the JSON text of every event that the predicate holds for; None when unknown."""
        witness = statistics.best(predicate)
        if not witness:
            return None
        found = {max(_VERBATIM.findall(atom_literal(atom)), key=len, default="") for atom in witness}
        if any(len(one) < _SHORTEST or _HAS_LETTER.search(one) is None for one in found):
            return None
        return {one.encode() for one in found}

    def dead(self, event: Mapping[str, Any], raw: bytes | None, live: int, scan: KeywordScan) -> int:
        """The conjuncts that an event rules out; right for those of `live`.

        Args:
            event: nested or flat.
            raw: the JSON text that the event was decoded from, if it holds all values of the event.
            live: conjuncts that are still of interest.
            scan: what `scan_for` gave for these, or for more.
        """
        found = scan(raw if raw is not None else _joined_texts(event))
        if not found and not self._unsought_mask & live:
            return self._base_dead
        waiting = self._unsought
        if found:
            waiting = [*waiting, *self._found(found, doubt=raw is not None)]
        waiting = [index for index in waiting if self._tests[index][1] & live] if waiting else waiting
        if not waiting:
            return self._base_dead
        texts = values.all_texts(event)
        joined = "\n".join(texts).lower()
        alive = self._base
        for index in dict.fromkeys(waiting):
            test, mask = self._tests[index]
            alive = alive | mask if test(texts, joined) else alive & ~mask
        return self.constrained & ~alive

    def _found(self, found: Collection[int], *, doubt: bool) -> list[int]:
        """Predicates to be tested after the scan found these needles."""
        count = len(self._by_needle)
        if doubt and any(index >= count for index in found):
            found = range(count)
        return [index for needle in found if needle < count for index in self._by_needle[needle]]


def _joined_texts(event: Mapping[str, Any]) -> bytes:
    """At least the texts of an event's values, in lower case."""
    found: list[str] = []
    for value in event.values():
        kind = type(value)
        if kind is str:
            found.append(value)
        elif kind is list and set(map(type, value)) == _ONLY_TEXTS:
            found.extend(value)
        elif kind is list or kind is dict:
            found = values.all_texts(event)
            break
        else:
            found.append(str(value))
    return "\n".join(found).lower().encode(errors="surrogatepass")


def _test(node: Node) -> _Test:
    """A tree over the texts of an event and over all of them in lower case, one per line."""
    if isinstance(node, Atom):
        if node.op is Op.CONTAINS and node.value and "\n" not in node.value:
            inner = node.value.lower()
            return lambda _texts, joined: inner in joined
        test = atom_test(node)
        return lambda texts, _joined: any(test(one, one.lower()) for one in texts)
    if isinstance(node, Not):
        inner_test = _test(node.part)
        return lambda texts, joined: not inner_test(texts, joined)
    if isinstance(node, And | Or):
        parts = [_test(part) for part in node.parts]
        if isinstance(node, And):
            return lambda texts, joined: all(part(texts, joined) for part in parts)
        return lambda texts, joined: any(part(texts, joined) for part in parts)
    return _test(node.part)
