"""What of a document goes into the index, as plain text terms.

Terms of the field `kv`, one per leaf; `name` is the encoded field name (see `Name`):

    name NUL value          every value of at most 8,000 characters, case kept: equality, patterns, top values
    name SOH hex            numbers, dates (ms) and addresses in a fixed-width form whose order is theirs: ranges
    name STX digest         values of more than 128 characters: equality without a giant automaton

Field `names` holds the encoded names that have a value; `message` the words of `message` and `error.message`; `text`
the words of everything else. Plain terms cost less than tantivy's JSON fields and depend on no internal layout.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add, itemgetter
from typing import Any, Final

from vedette_backends.store.stored import STAMPS, STORED
from vedette_engine.ecs.catalogue import CATALOGUE
from vedette_engine.query.fields import (
    OTHER,
    SEARCHABLE_CHARACTERS,
    WORD_CHARACTERS,
    Kind,
    kind_of,
    other_name,
)
from vedette_engine.query.values import address_number, date_bounds, fold, leaves, text_of

LONG_CHARACTERS: Final = 128
"""Longer values get a digest term; up to this length a case-insensitive automaton is cheap."""

SEPARATOR: Final = " \ua66e\ua66e "
"""Stands between two values in a text: a word that nobody writes, so that no phrase reaches over it."""

_VALUE, _ORDER, _DIGEST = "\0", "\1", "\2"
_PLAIN = re.compile(r'[!-"$-}][!-~]{0,63}')
_SIGN = 1 << 63
_MAX_NAMES = 50_000
_MAX_SHAPES = 2000
_MAX_SHAPE_FIELDS = 200
_MAX_SHAPE_CHARACTERS = 6000
_ONLY_TEXT = {str}


@dataclass(frozen=True, slots=True)
class Name:
    """A field as the index knows it.

    Attributes:
        code: the name itself where it is short and printable, else `#` and a digest; below `vedette.other` with `~`
            in front.
        prefix: what precedes the value in a term of `kv`.
        kind: how its values compare.
    """

    code: str
    prefix: str
    kind: Kind

    def value(self, text: str) -> str:
        """The term of a value."""
        return self.prefix + text

    def order(self, digits: str) -> str:
        """The term that places a value in its order."""
        return self.code + _ORDER + digits

    def digest(self, text: str) -> str:
        """The term that stands for a long value, whatever its case."""
        return self.code + _DIGEST + hashlib.blake2b(fold(text).encode(), digest_size=16).hexdigest()


def _encode(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return "#" + hashlib.blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()


class _Names(dict[str, Name]):
    """Memo of encoded names; hostile senders invent names, so it is emptied when it has grown too large."""

    def __init__(self, *, other: bool) -> None:
        super().__init__()
        self._other = other

    def __missing__(self, name: str) -> Name:
        kind = Kind.OTHER if self._other else kind_of(name)
        code = "~" + _encode(name) if kind is Kind.OTHER else name
        made = Name(code, code + _VALUE, kind)
        if len(self) >= _MAX_NAMES:
            self.clear()
        self[name] = made
        return made


_TOP = _Names(other=False)
_BELOW = _Names(other=True)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is the same for all documents with these fields.

    Attributes:
        fields, names, prefixes: of the fields that nearly always hold one plain text.
        codes: of those fields, as the index field `names` takes them.
        take: their values.
        rest: the other fields, which are handled one by one.
    """

    fields: tuple[str, ...]
    names: tuple[Name, ...]
    prefixes: tuple[str, ...]
    codes: str
    take: Callable[[dict[str, Any]], tuple[Any, ...]]
    rest: tuple[str, ...]


def _shape(fields: tuple[str, ...], names: tuple[Name, ...], rest: tuple[str, ...]) -> _Shape:
    if len(fields) > 1:
        take: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(*fields)
    else:

        def take(document: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(document[field] for field in fields)

    prefixes = tuple(name.prefix for name in names)
    return _Shape(fields, names, prefixes, " ".join(name.code for name in names), take, rest)


class _Shapes(dict[tuple[str, ...], _Shape]):
    """Memo of shapes; odd ones, which hostile senders can make without end, are not kept."""

    def __init__(self, make: Callable[[tuple[str, ...]], _Shape]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, fields: tuple[str, ...]) -> _Shape:
        made = self._make(fields)
        if len(fields) <= _MAX_SHAPE_FIELDS and sum(map(len, fields)) <= _MAX_SHAPE_CHARACTERS:
            if len(self) >= _MAX_SHAPES:
                self.clear()
            self[fields] = made
        return made


def _top_shape(fields: tuple[str, ...]) -> _Shape:
    indexed = [field for field in fields if field != OTHER and field not in STAMPS]
    plain = tuple(f for f in indexed if _TOP[f].kind is Kind.TEXT and not CATALOGUE[f].array)
    return _shape(plain, tuple(_TOP[f] for f in plain), tuple(f for f in indexed if f not in set(plain)))


def _below_shape(fields: tuple[str, ...]) -> _Shape:
    return _shape(fields, tuple(_BELOW[f] for f in fields), ())


_TOP_SHAPES = _Shapes(_top_shape)
_BELOW_SHAPES = _Shapes(_below_shape)


def name_of(field: str) -> Name:
    """The encoded name of a field in a query."""
    kind = kind_of(field)
    return _BELOW[other_name(field)] if kind is Kind.OTHER else _TOP[field]


def order_digits(kind: Kind, value: float) -> str:
    """The fixed-width form of a number (16 hex digits), or of an address number (32)."""
    if kind is Kind.IP:
        return f"{int(value):032x}"
    if kind is Kind.FLOAT:
        (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
        return f"{bits ^ (_SIGN if bits < _SIGN else (1 << 64) - 1):016x}"
    return f"{int(value) + _SIGN:016x}"


@functools.lru_cache(maxsize=16)
def stamp_term(stored: int) -> str:
    """The term in `kv` of when an event was stored, ms; its name goes into `names`, too."""
    return _TOP[STORED].order(order_digits(Kind.DATE, stored))


@dataclass(slots=True)
class Terms:
    """The index fields of one document."""

    kv: list[str]
    names: str
    text: str
    message: str


def terms_of(document: dict[str, Any]) -> Terms:
    """The terms of a document. Raises ValueError for a value that no index can hold (an integer beyond 64 bits)."""
    kv: list[str] = []
    codes: list[str] = []
    text: list[str] = []
    message: list[str] = []
    shape = _TOP_SHAPES[tuple(document)]
    if not _add_texts(shape, shape.take(document), kv, codes, text):
        for name, field in zip(shape.names, shape.fields, strict=True):
            _add(name, document[field], kv, codes, text)
    for field in shape.rest:
        name = _TOP[field]
        _add(name, document[field], kv, codes, message if name.kind is Kind.WORDS else text)
    below = document.get(OTHER)
    if below:
        shape = _BELOW_SHAPES[tuple(below)]
        texts = [
            value if value.__class__ is str else str(value) if value.__class__ is int else None
            for value in below.values()
        ]
        if not _add_texts(shape, texts, kv, codes, text):
            for name, value in zip(shape.names, below.values(), strict=True):
                _add(name, value, kv, codes, text)
    return Terms(kv, " ".join(codes), SEPARATOR.join(text), SEPARATOR.join(message))


def _add_texts(shape: _Shape, values: Sequence[Any], kv: list[str], codes: list[str], text: list[str]) -> bool:
    """The quick way for plain texts, all of a shape at once; False, and nothing done, when some value needs more."""
    if not values:
        return True
    if set(map(type, values)) != _ONLY_TEXT:
        return False
    longest = max(map(len, values))
    if longest > SEARCHABLE_CHARACTERS:
        return False
    if longest > LONG_CHARACTERS:
        kv += [name.digest(v) for name, v in zip(shape.names, values, strict=True) if len(v) > LONG_CHARACTERS]
    kv += map(add, shape.prefixes, values)
    codes.append(shape.codes)
    text += values
    return True


def _add(name: Name, value: Any, kv: list[str], codes: list[str], text: list[str]) -> None:
    """The general way: lists, numbers, dates, addresses, long texts."""
    found = False
    for leaf in leaves(value) if value.__class__ is list else () if value is None else (value,):
        found = True
        written = text_of(leaf)
        if len(written) > LONG_CHARACTERS:
            kv.append(name.digest(written))
        if len(written) <= SEARCHABLE_CHARACTERS:
            kv.append(name.prefix + written)
        number = _number(name.kind, leaf)
        if number is not None:
            kv.append(name.order(order_digits(name.kind, number)))
        if leaf.__class__ is not bool and leaf.__class__ is not float:
            text.append(written[:WORD_CHARACTERS])
    if found:
        codes.append(name.code)


def _number(kind: Kind, leaf: Any) -> float | None:
    """What places a leaf in the order of its kind; None where there is none."""
    if kind is Kind.IP:
        return address_number(leaf) if isinstance(leaf, str) else None
    if kind is Kind.DATE:
        bounds = date_bounds(leaf) if isinstance(leaf, str) else None
        return bounds[0] if bounds else None
    if isinstance(leaf, bool) or not isinstance(leaf, int | float):
        return None
    if kind is Kind.FLOAT:
        return float(leaf)
    if kind is not Kind.INTEGER:
        return None
    if not -_SIGN <= leaf < _SIGN:
        raise ValueError("an integer does not fit into 64 bits")
    return leaf
