"""From an event to the lines that Elasticsearch indexes, and back. The hot path: bytes are put together by hand.

The stored `_source` is the document itself, with what searches need (see `elastic_mapping`) under names of its own in
front of it; `read_event` takes those away again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from operator import add
from typing import Any, Final

import orjson

from vedette_backends.store.elastic_mapping import (
    HASH_FIELD,
    HIGH_FIELD,
    INGESTED_FIELD,
    KV_FIELD,
    LONG_FIELD,
    LOW_FIELD,
    STORED_FIELD,
    TIME_FIELD,
    WORDS_FIELD,
    WORDS_FIELDS,
)
from vedette_backends.store.elastic_patterns import MAX_FOLDED
from vedette_backends.store.protocol import NewEvent, StoredEvent
from vedette_engine.query.fields import INGESTED, OTHER, SEARCHABLE_CHARACTERS, TIME, WORD_CHARACTERS, Kind, kind_of
from vedette_engine.query.values import fold, leaves, text_of

NUL: Final = "\0"
_DIGEST, _EXISTS = "\2", "\3"
_HALF: Final = 1 << 63
_ID: Final = re.compile(r"[0-9a-f]{32}")
_MAX_NAME: Final = 512
_MAX_PREFIXES: Final = 50_000

_ADDED: Final = frozenset(
    {TIME_FIELD, INGESTED_FIELD, HASH_FIELD, HIGH_FIELD, LOW_FIELD, STORED_FIELD, WORDS_FIELD, KV_FIELD, LONG_FIELD}
    | set(WORDS_FIELDS.values())
)
_APART: Final = frozenset({TIME, INGESTED, OTHER, *WORDS_FIELDS})
"""Fields whose words do not go among the others, or not at the first look."""

_SEPARATOR: Final = "\x1f"
_JOIN: Final = f" {_SEPARATOR} "
_BETWEEN: Final = "-"
"""Stands between two values: no word is written so, and no phrase reaches over it."""
_ASCII_WORDS: Final = bytes(
    byte if byte < 128 and chr(byte).isalnum() else ord(" ") for byte in bytes(range(256)).lower()
)
_JOINED_WORDS: Final = bytes(
    ord(_BETWEEN) if byte == ord(_SEPARATOR) else word for byte, word in enumerate(_ASCII_WORDS)
)
_STAMP: Final = len(b'{"create":{"_id":"%032x"}}\n{"vedette.stored":' % 0)
_NO_WORD: Final = re.compile(r"[\W_]+")


def encode_event(event: NewEvent, stored: int) -> bytes:
    """The action line and the document's line, to be created in the index that the request names.

    Args:
        event: what to store.
        stored: now, in ms.

    Raises:
        ValueError, TypeError: the event cannot be stored (`orjson`'s errors among them); the message says why.
    """
    if not _ID.fullmatch(event.id):
        raise ValueError(f"{event.id[:64]!r} is not an event's id of 32 hexadecimal digits")
    document = event.document
    if not _ADDED.isdisjoint(document):
        document = {name: value for name, value in document.items() if name not in _ADDED}
    encoded = orjson.dumps(document)
    high, low = halves(event.id)
    return b"".join(
        (
            b'{"create":{"_id":"%b"}}\n{"vedette.stored":%d,"vedette.time":%d,"vedette.ingested":%d,'
            b'"vedette.high":%d,"vedette.low":%d,"vedette.hash":%b'
            % (event.id.encode(), stored, event.time, event.ingested, high, low, orjson.dumps(event.hash)),
            _searched(document),
            b"," if len(encoded) > 2 else b"",
            encoded[1:],
            b"\n",
        )
    )


def restamped(lines: Iterable[bytes], stored: int) -> list[bytes]:
    """What `encode_event` made, stored at another time."""
    stamp = b"%d" % stored
    return [line[:_STAMP] + stamp + line[line.index(b",", _STAMP) :] for line in lines]


def halves(event_id: str) -> tuple[int, int]:
    """The id as two signed numbers of 64 bits that order as its digits do."""
    return int(event_id[:16], 16) - _HALF, int(event_id[16:], 16) - _HALF


def read_event(event_id: str, source: dict[str, Any]) -> StoredEvent:
    """The event of a stored document."""
    time, ingested = source[TIME_FIELD], source[INGESTED_FIELD]
    document = {name: value for name, value in source.items() if name not in _ADDED}
    return StoredEvent(id=event_id, time=time, ingested=ingested, document=document)


class _Prefixes(dict[str, str]):
    """Memo of what precedes a value in a term; hostile senders invent names, so it is emptied when it is large."""

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> str:
        if len(self) >= _MAX_PREFIXES:
            self.clear()
        self[name] = made = self._make(name)
        return made


def _other_code(name: str) -> str:
    if len(name) * 4 > _MAX_NAME or NUL in name or name.startswith("#"):
        return "#" + hashlib.blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()
    return name


_KV_PREFIXES: Final = _Prefixes(lambda name: _other_code(name) + NUL)


def kv_prefix(name: str) -> str:
    """What precedes the values of a name below `vedette.other` in the terms of `vedette.kv`."""
    return _KV_PREFIXES[name]


def long_code(name: str, *, other: bool) -> str:
    """A field in the terms of `vedette.long`."""
    return f"~{_other_code(name)}" if other else name


def digest_term(code: str, text: str) -> str:
    """The term of a long value, whatever its case."""
    return code + _DIGEST + hashlib.blake2b(fold(text).encode(errors="replace"), digest_size=16).hexdigest()


def exists_term(code: str) -> str:
    """The term that says that a field has a value which no other term tells of."""
    return code + _EXISTS


def _searched(document: Mapping[str, Any]) -> bytes:
    """The members that searches need, each with a comma in front. The document has been encoded, so it can be."""
    found = _Found()
    found.add_top(document)
    below = document.get(OTHER)
    if below:
        found.add_other(below)
    parts: list[bytes] = []
    if found.texts:
        parts += (b',"vedette.words":"', words_of(found.texts), b'"')
    for name, field in WORDS_FIELDS.items():
        if name in document:
            texts = [text_of(leaf) for leaf in leaves(document[name]) if _has_words(leaf)]
            parts += (b',"', field.encode(), b'":"', words_of(texts), b'"')
    if found.kv:
        parts += (b',"vedette.kv":', orjson.dumps(found.kv))
    if found.long:
        parts += (b',"vedette.long":', orjson.dumps(found.long))
    return b"".join(parts)


class _Found:
    """What one document is found by."""

    __slots__ = ("kv", "long", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.kv: list[str] = []
        self.long: list[str] = []

    def add_top(self, document: Mapping[str, Any]) -> None:
        """All at the top; words of fields of words are not among the others."""
        texts = self.texts
        for name, value in document.items():
            kind = value.__class__
            if kind is str:
                if name not in _APART:
                    texts.append(value)
                if len(value) > MAX_FOLDED:
                    self.add_long(long_code(name, other=False), value)
            elif name in _APART:
                continue
            elif kind is list:
                self._add_list(name, value)
            elif kind is int:
                texts.append(str(value))

    def _add_list(self, name: str, values: list[Any]) -> None:
        is_text = kind_of(name) is Kind.TEXT
        for leaf in leaves(values):
            if _has_words(leaf):
                self.texts.append(text_of(leaf))
            if is_text and leaf.__class__ is str and len(leaf) > MAX_FOLDED:
                self.add_long(long_code(name, other=False), leaf)

    def add_other(self, below: Mapping[str, Any]) -> None:
        """All below `vedette.other`."""
        kv, texts, prefixes = self.kv, self.texts, _KV_PREFIXES
        plain: list[Any] = [
            value if value.__class__ is str else str(value) if value.__class__ is int else None
            for value in below.values()
        ]
        if None not in plain and max(map(len, plain)) <= MAX_FOLDED:
            kv += map(add, map(prefixes.__getitem__, below), plain)
            texts += plain
            return
        for name, value in below.items():
            for leaf in leaves(value):
                text = text_of(leaf)
                if _has_words(leaf):
                    texts.append(text)
                if len(text) > MAX_FOLDED:
                    self.add_long(long_code(name, other=True), text)
                if len(text) <= SEARCHABLE_CHARACTERS:
                    kv.append(prefixes[name] + text)

    def add_long(self, code: str, text: str) -> None:
        """A value that is too long to be a pattern of classes, or to be a term."""
        self.long.append(digest_term(code, text))
        if len(text) > SEARCHABLE_CHARACTERS:
            self.long.append(exists_term(code))


def _has_words(leaf: Any) -> bool:
    return leaf.__class__ is not bool and leaf.__class__ is not float


def words_of(texts: list[str]) -> bytes:
    """The words of some values, in lower case, as a whitespace tokenizer takes them; needs no escaping in JSON.

    Words are what `vedette_engine.query.values.words` says they are.
    """
    joined = _JOIN.join(texts)
    if len(joined) > WORD_CHARACTERS:
        texts = [text[:WORD_CHARACTERS] for text in texts]
        joined = _JOIN.join(texts)
    if joined.isascii() and joined.count(_SEPARATOR) == len(texts) - 1:
        return joined.encode().translate(_JOINED_WORDS)
    return f" {_BETWEEN} ".encode().join(map(_encoded_words, texts))


def _encoded_words(text: str) -> bytes:
    return text.encode().translate(_ASCII_WORDS) if text.isascii() else _words_of_one(text).encode()


def _words_of_one(text: str) -> str:
    # Lower case character by character: only at the end of a word does a sigma go its own way.
    return _NO_WORD.sub(" ", text.replace("\u03a3", "\u03c3").lower())


def phrase_of(text: str) -> str:
    """The words of what is looked for, separated by spaces; empty when there are none."""
    return _words_of_one(text).strip()
