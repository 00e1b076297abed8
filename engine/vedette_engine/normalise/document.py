"""From an event to the document that is stored, and back.

Catalogued ECS leaves whose value fits their type stand at the top of the document. All else goes below
`vedette.other`, one flat object: sender's own fields, ECS names with a value of the wrong type, `user` where
`user.name` is the leaf. Both levels keep dotted names; nothing is nested, so no two names can meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson

from vedette_engine.ecs.catalogue import CATALOGUE, TEXT_TYPES
from vedette_engine.normalise.counters import Counters, add, count
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.shapes import Shapes
from vedette_engine.normalise.times import format_time, parse_time
from vedette_engine.normalise.types import CHECKS, MISMATCH, Check, check_list, check_other

Document = dict[str, Any]

OTHER = "vedette.other"
SOURCE = "vedette.source"
"""Name of the LogSource that the event came from; stamped by the pipeline."""
REST = "_rest"
MAX_OTHER = 1000
"""Fields below `vedette.other`; what is over is kept as one JSON text under `_rest`."""
MAX_NAME_BYTES = 512
SEARCHABLE_CHARACTERS = 8000
"""Longer texts are stored but cannot be searched (`ignore_above` of the mapping)."""

_TIMES = ("@timestamp", "event.ingested")


@dataclass(slots=True)
class _Plan:
    """What to do with events of one shape, that is, with these names holding these types."""

    top: tuple[str, ...] = ()
    take_top: Callable[[Event], tuple[Any, ...]] = field(default=lambda _event: ())
    other: tuple[str, ...] = ()
    take_other: Callable[[Event], tuple[Any, ...]] = field(default=lambda _event: ())
    texts: Callable[[Event], tuple[Any, ...]] = field(default=lambda _event: ())
    integers: Callable[[Event], tuple[Any, ...]] = field(default=lambda _event: ())
    checks: list[tuple[str, str, Check]] = field(default_factory=list)
    """Event's name, name below `vedette.other` if the value does not fit, check."""
    times: tuple[str, ...] = ()
    counts: Counters = field(default_factory=dict)


# A memo of a pure function: what it holds never changes what `to_document` gives.
_PLANS: Shapes[_Plan] = Shapes()


def to_document(event: Event, counters: Counters | None = None, size: int | None = None) -> Document:
    """The document to store.

    Args:
        event: flat; `@timestamp` and `event.ingested` in milliseconds. It is not changed, lists may be shared.
        counters: what was moved, converted or cannot be searched is added here.
        size: bytes of the raw record if known: a small one cannot hold a long text, which saves looking.
    """
    shape = (tuple(event), tuple(map(type, event.values())))
    plan = _PLANS.get(shape)
    if plan is None and not _PLANS.deserves_plan(shape):
        event = dict(sorted(event.items()))
        shape = (tuple(event), tuple(map(type, event.values())))
        plan = _PLANS.get(shape)
    if plan is None:
        plan = _make_plan(event)
        _PLANS.put(shape, plan, sum(map(len, event)))
    document = dict(zip(plan.top, plan.take_top(event), strict=True))
    other = dict(zip(plan.other, plan.take_other(event), strict=True))
    tally: Counters = {} if counters is None else counters
    for name in plan.times:
        document[name] = format_time(event[name])
    if plan.checks:
        _check(plan, event, document, other, tally)
    integers = plan.integers(event)
    if integers and not (min(integers) >= -(2**63) and max(integers) < 2**64):
        other.update((name, check_other(value)) for name, value in other.items())
    if plan.counts:
        add(tally, plan.counts)
    if size is None or size > SEARCHABLE_CHARACTERS:
        _count_long(plan.texts(event), tally)
    if len(other) > MAX_OTHER:
        other = _limit(other, tally)
    if other:
        document[OTHER] = other
    return document


def from_document(document: Mapping[str, Any]) -> Event:
    """The event of a document: flat again, times in milliseconds. The inverse of `to_document` but for conversions."""
    event: Event = {name: value for name, value in document.items() if name != OTHER}
    for name in _TIMES:
        time = parse_time(event.get(name))
        if time is not None:
            event[name] = time
    other = document.get(OTHER)
    if isinstance(other, Mapping):
        for name, value in other.items():
            if name == REST and isinstance(value, str):
                event.update(_read_rest(value))
            else:
                event.setdefault(name, value)
    return event


def _check(plan: _Plan, event: Event, document: Document, other: Document, counters: Counters) -> None:
    for name, other_name, check in plan.checks:
        value = event[name]
        fitting = check(value)
        if fitting is value:
            document[name] = value
        elif fitting is MISMATCH:
            other[other_name] = check_other(value)
            if name in CATALOGUE:
                count(counters, "wrong_type")
        else:
            document[name] = fitting
            count(counters, "converted")


def _count_long(texts: tuple[str, ...], counters: Counters) -> None:
    if sum(map(len, texts)) > SEARCHABLE_CHARACTERS:
        long = sum(len(text) > SEARCHABLE_CHARACTERS for text in texts)
        if long:
            count(counters, "not_searchable", long)


def _make_plan(event: Event) -> _Plan:
    top: list[str] = []
    plain: dict[str, str] = {}
    texts: list[str] = []
    times: list[str] = []
    integers: list[str] = []
    plan = _Plan()
    taken: set[str] = set()
    for name, value in event.items():
        kind = type(value)
        if kind is str:
            texts.append(name)
        known = CATALOGUE.get(name)
        if known is None:
            safe = _safe_name(name, taken, plan.counts)
            if kind is str or kind is bool or kind is int:
                plain[name] = safe
                if kind is int:
                    integers.append(name)
            else:
                plan.checks.append((name, safe, _never))
        elif name in _TIMES and kind is int:
            times.append(name)
        elif kind is str and known.type in TEXT_TYPES:
            top.append(name)
        else:
            check = CHECKS[known.type]
            plan.checks.append(
                (name, _safe_name(name, taken, plan.counts), check_list(check) if kind is list else check)
            )
    plan.top, plan.take_top = tuple(top), _taker(top)
    plan.other, plan.take_other = tuple(plain.values()), _taker(plain)
    plan.texts = _taker(texts)
    plan.integers = _taker(integers)
    plan.times = tuple(times)
    return plan


def _never(_value: Any) -> object:
    """The check of names outside the catalogue: they fit nowhere at the top."""
    return MISMATCH


def _taker(names: Iterable[str]) -> Callable[[Event], tuple[Any, ...]]:
    """As itemgetter, but a tuple for one and for no name too."""
    wanted = tuple(names)
    if len(wanted) > 1:
        return itemgetter(*wanted)
    if wanted:
        only = wanted[0]
        return lambda event: (event[only],)
    return lambda _event: ()


def _safe_name(name: str, taken: set[str], counts: Counters) -> str:
    """A name that both stores take: not empty, without NUL, at most 512 bytes, and not taken."""
    safe = name.replace("\0", "\u2400") or "_empty"
    if len(safe) * 4 > MAX_NAME_BYTES and len(safe.encode()) > MAX_NAME_BYTES:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        safe = safe.encode()[: MAX_NAME_BYTES - 17].decode(errors="ignore") + "~" + digest
    unique, number = safe, 2
    while unique in taken:
        unique = f"{safe}#{number}"
        number += 1
    if unique != name:
        count(counts, "renamed")
    taken.add(unique)
    return unique


def _limit(other: Document, counters: Counters) -> Document:
    names = list(other)
    kept = {name: other[name] for name in names[: MAX_OTHER - 1] if name != REST}
    rest = {name: value for name, value in other.items() if name not in kept}
    count(counters, "rest")
    text = orjson.dumps(rest).decode()
    if len(text) > SEARCHABLE_CHARACTERS:
        count(counters, "not_searchable")
    kept[REST] = text
    return kept


def _read_rest(text: str) -> Document:
    try:
        rest = orjson.loads(text)
    except orjson.JSONDecodeError:
        rest = None
    return rest if isinstance(rest, dict) else {REST: text}
