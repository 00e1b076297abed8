"""Finds which of many literals a text holds, in one pass: Hyperscan where it is installed, else Aho-Corasick.

Hyperscan (extra `fast`, x86 only) is several times faster on long texts with many literals. Both give the same answers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import ahocorasick
import re2

HAVE_HYPERSCAN: Final = importlib.util.find_spec("hyperscan") is not None

# Below this an Aho-Corasick automaton is as fast, and is built in no time.
_WORTH_HYPERSCAN = 50
_AUTOMATON_MEMORY = 32 << 20


class Place(IntEnum):
    """Where in the text a literal has to stand."""

    ANYWHERE = 0
    START = 1
    END = 2


class Needle(NamedTuple):
    """A literal, not empty, in lower case, and where it has to stand."""

    text: str
    place: Place = Place.ANYWHERE


Scan = Callable[[str], Collection[int]]
"""Takes a text in lower case and gives the indices of the needles in it, some perhaps twice."""


def text_scanner(needles: Sequence[Needle], *, hyperscan: bool) -> Scan:
    """A scanner for texts in lower case."""
    if not needles:
        return lambda _text: ()
    if hyperscan and HAVE_HYPERSCAN and len(needles) >= _WORTH_HYPERSCAN:
        return _hyperscan_texts(needles)
    return _aho_corasick(needles)


def raw_scanner(needles: Sequence[bytes], *, hyperscan: bool) -> Callable[[bytes], Collection[int]]:
    """A scanner for encoded text in any case; the needles are ASCII in lower case."""
    if not needles:
        return lambda _raw: ()
    if hyperscan and HAVE_HYPERSCAN:
        return _hyperscan([_escaped(needle) for needle in needles], caseless=True)
    scan = _aho_corasick([Needle(needle.decode("latin-1")) for needle in needles])
    any_of = _any_of(needles)

    def scan_raw(raw: bytes) -> Collection[int]:
        # Most events hold no needle, which RE2 finds out ten times as fast. bytes.lower changes ASCII letters alone,
        # and every byte is a character of Latin-1.
        return scan(raw.lower().decode("latin-1")) if any_of(raw) is not None else ()

    return scan_raw


def _any_of(needles: Sequence[bytes]) -> Callable[[bytes], object | None]:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _AUTOMATON_MEMORY
    search: Callable[[bytes], object | None] = re2.compile(b"|".join(map(_escaped, needles)), options).search
    return search


def _aho_corasick(needles: Sequence[Needle]) -> Scan:
    ends: dict[str, list[tuple[Place, int]]] = {}
    for index, (text, place) in enumerate(needles):
        ends.setdefault(text, []).append((place, index))
    automaton: Any = ahocorasick.Automaton()
    for text, uses in ends.items():
        simple = len(uses) == 1 and uses[0][0] is Place.ANYWHERE
        automaton.add_word(text, uses[0][1] if simple else (len(text) - 1, uses))
    automaton.make_automaton()
    search = automaton.iter

    def scan(text: str) -> Collection[int]:
        found = set()
        last = len(text) - 1
        for end, payload in search(text):
            if type(payload) is int:
                found.add(payload)
                continue
            first_end, uses = payload
            for place, index in uses:
                if place == 0 or (end == first_end if place == 1 else end == last):
                    found.add(index)
        return found

    return scan


def _hyperscan_texts(needles: Sequence[Needle]) -> Scan:
    # Anchored expressions take Hyperscan ten times as long to compile; where a literal stands is seen afterwards.
    scan = _hyperscan([_escaped(needle.text.encode()) for needle in needles], caseless=False)
    if all(needle.place is Place.ANYWHERE for needle in needles):
        return lambda text: scan(_encoded(text))
    heads = [needle.text if needle.place is Place.START else "" for needle in needles]
    tails = [needle.text if needle.place is Place.END else "" for needle in needles]

    def scan_text(text: str) -> Collection[int]:
        found = scan(_encoded(text))
        return [index for index in found if text.startswith(heads[index]) and text.endswith(tails[index])]

    return scan_text


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # no needle holds a lone surrogate
        return text.encode(errors="surrogatepass")


def _escaped(literal: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in literal)


def _hyperscan(expressions: Sequence[bytes], *, caseless: bool) -> Callable[[bytes], list[int]]:
    import hyperscan  # noqa: PLC0415 # an optional dependency

    flags = hyperscan.HS_FLAG_SINGLEMATCH | (hyperscan.HS_FLAG_CASELESS if caseless else 0)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=list(expressions),
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[flags] * len(expressions),
    )
    search = database.scan
    found: list[int] = []
    append = found.append

    def on_match(index: int, _start: int, _end: int, _flags: int, _context: object) -> None:
        append(index)

    def scan(data: bytes) -> list[int]:
        search(data, match_event_handler=on_match)
        if not found:
            return found
        result = found.copy()
        found.clear()
        return result

    return scan


def unique(items: Iterable[Needle]) -> list[Needle]:
    """Needles in the order of their first appearance, each once."""
    return list(dict.fromkeys(items))
