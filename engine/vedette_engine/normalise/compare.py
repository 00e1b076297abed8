"""Compares an event with what a test expects: the expected fields have to be there, others may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vedette_engine.normalise.document import OTHER, Document
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.times import parse_time

_SHOWN = 20


def differences(event: Event, document: Document, expect: Mapping[str, Any], absent: Iterable[str] = ()) -> list[str]:
    """One sentence per field that is not as expected.

    Args:
        event: flat, as rules see it.
        document: of the same event, as it is stored; an expected value may be written as in either.
        expect: dotted (or nested) names → value; null: the field must not be there.
        absent: fields that must not be there.
    """
    wanted = dict(_flat(expect, ""))
    found: list[str] = []
    stored = {**document.get(OTHER, {}), **document}
    for name, value in wanted.items():
        if value is None:
            if name in event:
                found.append(f"{name} is {_show(event[name])}, but must be absent")
        elif name not in event:
            found.append(f"{name} is absent, but must be {_show(value)}")
        elif not _equal(event[name], value, name) and not _equal(stored.get(name), value, name):
            found.append(f"{name} is {_show(stored.get(name, event[name]))}, but must be {_show(value)}")
    found += [f"{name} is {_show(event[name])}, but must be absent" for name in absent if name in event]
    return found[:_SHOWN]


def _flat(expect: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in expect.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _equal(actual: Any, wanted: Any, name: str) -> bool:
    """Equal, where a list of one element equals the element, and times are compared as times."""
    if isinstance(actual, list) != isinstance(wanted, list):
        return _equal(
            actual if isinstance(actual, list) else [actual], wanted if isinstance(wanted, list) else [wanted], name
        )
    if isinstance(actual, list):
        return len(actual) == len(wanted) and all(_equal(a, w, name) for a, w in zip(actual, wanted, strict=True))
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return actual is wanted
    if name in {"@timestamp", "event.ingested"}:
        return parse_time(actual) == parse_time(wanted) is not None
    return bool(actual == wanted)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
