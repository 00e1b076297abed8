"""From nested JSON to a flat event.

`{"a": {"b": 1}}` and `{"a.b": 1}` both give `a.b`; the parts of a name stand as the sender wrote them. Lists of
objects give one list per leaf, as Elasticsearch sees them. Nothing is merged: a name that is taken gets a number.
Nulls, empty lists and empty objects hold no value and are left out (counted).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.errors import Malformed

Event = dict[str, Any]

MAX_DEPTH = 24
"""Levels of nesting that become names; what is below is kept as one JSON text."""

_SCALARS = (str, int, float)  # bool is an int
_LARGEST = 2.0**63


def flatten(nested: Mapping[str, Any], counters: Counters, prefix: str = "") -> Event:
    """The leaves of a JSON object under dotted names, in the order of the object.

    Raises:
        Malformed: `TooDeep`, when it is nested so deeply that it cannot even be written as text.
    """
    event: Event = {}
    _flatten(nested, prefix, MAX_DEPTH, event, counters)
    return event


def put(event: Event, name: str, value: Any, counters: Counters) -> None:
    """Sets a field without hiding one that is there: a taken name gets `#2`, `#3` …, unless it holds the same value."""
    if name not in event:
        event[name] = value
        return
    if event[name] == value and type(event[name]) is type(value):
        return
    count(counters, "renamed")
    number = 2
    while f"{name}#{number}" in event:
        number += 1
    event[f"{name}#{number}"] = value


def put_any(event: Event, name: str, value: Any, counters: Counters) -> None:
    """As `put`, for a value that may be nested or null."""
    _flatten_one(name, value, MAX_DEPTH, event, counters)


def _flatten(nested: Mapping[str, Any], prefix: str, depth: int, event: Event, counters: Counters) -> None:
    for key, value in nested.items():
        name = prefix + key
        kind = type(value)
        if (kind is str or kind is int or kind is bool) and name not in event:
            event[name] = value
        else:
            _flatten_one(name, value, depth, event, counters)


def _flatten_one(name: str, value: Any, depth: int, event: Event, counters: Counters) -> None:
    if isinstance(value, dict):
        if not value:
            count(counters, "empty")
        elif depth <= 1:
            put(event, name, _as_text(value, counters), counters)
        else:
            _flatten(value, name + ".", depth - 1, event, counters)
    elif isinstance(value, list):
        _flatten_list(value, name, depth, event, counters)
    elif value is None:
        count(counters, "empty")
    elif isinstance(value, float) and not -_LARGEST < value < _LARGEST:
        count(counters, "rounded")
        put(event, name, value, counters)
    elif isinstance(value, _SCALARS):
        put(event, name, value, counters)
    else:
        raise Malformed("MalformedJson", f"a value of type {type(value).__name__} is not JSON")


def _flatten_list(values: list[Any], name: str, depth: int, event: Event, counters: Counters) -> None:
    """Scalars stay a list under the name; objects add to one list per leaf below it."""
    if not values:
        count(counters, "empty")
        return
    if all(isinstance(value, _SCALARS) for value in values):
        put(event, name, values, counters)
        return
    if depth <= 1:
        put(event, name, _as_text(values, counters), counters)
        return
    columns: dict[str, list[Any]] = {}
    _gather(values, name, depth - 1, columns, counters)
    for column, gathered in columns.items():
        put(event, column, gathered, counters)


def _gather(values: list[Any], name: str, depth: int, columns: dict[str, list[Any]], counters: Counters) -> None:
    for value in values:
        if isinstance(value, dict):
            leaves: Event = {}
            _flatten(value, name + ".", depth, leaves, counters)
            if not value:
                count(counters, "empty")
            for leaf, held in leaves.items():
                columns.setdefault(leaf, []).extend(held if isinstance(held, list) else [held])
        elif isinstance(value, list):
            if depth <= 1:
                columns.setdefault(name, []).append(_as_text(value, counters))
            else:
                _gather(value, name, depth - 1, columns, counters)
        elif value is None:
            count(counters, "empty")
        else:
            columns.setdefault(name, []).append(value)


def _as_text(value: Any, counters: Counters) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise Malformed("TooDeep", "the record is nested too deeply") from error
    count(counters, "too_deep")
    return text
