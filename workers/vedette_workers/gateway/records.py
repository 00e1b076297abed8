r"""From the body of `POST /events` to records: an object, an array, NDJSON, or lines of text. Pure.

Every record of a JSON source is a complete JSON object as strict as orjson reads it (no NaN, no invalid UTF-8, no lone
surrogates), so nothing later in the way of an event fails on its syntax. The senders' bytes are kept, except for the
elements of an array, which are written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from vedette_engine.wire import Run
from vedette_workers.gateway.errors import MAX_TOLD, BadRequest, TooLarge, told
from vedette_workers.gateway.settings import Settings

_WHITE: Final = b" \t\r\n"
_CONTAINERS: Final = frozenset({dict, list})


@dataclass(frozen=True, slots=True)
class Key:
    """What the ids of a request's records are made of. `given`: by the client, as `Idempotency-Key`."""

    text: str
    given: bool


@dataclass(frozen=True, slots=True)
class Parsed:
    """Records of one request and the runs that cover them; `size` in bytes."""

    kind: Literal["json", "text"]
    records: list[bytes]
    runs: list[Run]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(map(len, self.records)))


@dataclass(slots=True)
class _Faults:
    """What is wrong with a request, as far as it is told."""

    bad: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)
    total: int = 0

    def add(self, place: str, text: str, *, large: bool = False) -> None:
        self.total += 1
        if self.total <= MAX_TOLD:
            (self.large if large else self.bad).append(f"{place}: {text}")

    def check(self) -> None:
        """Raises BadRequest or TooLarge when there is any."""
        if not self.total:
            return
        problems = told(self.bad + self.large, self.total)
        raise (BadRequest if self.bad else TooLarge)(problems[0], problems=problems)


def parse_events(
    body: bytes, key: Key, *, text: bool, json_type: bool, max_event_bytes: int, settings: Settings
) -> Parsed:
    """Records of a body of `/events`.

    Args:
        body: as sent, decompressed.
        key: for the ids.
        text: the source's format is made of lines.
        json_type: the client declared JSON, so a source of lines is sent objects with a `message`.
        max_event_bytes: the source's limit.
        settings: limits of the gateway.

    Raises:
        BadRequest: with the first lines (or items of an array) that are not JSON objects, and why.
        TooLarge: too many events, or events that exceed their size.
    """
    faults = _Faults()
    if text and not json_type:
        records = _lines(body, faults, max_event_bytes, settings)
    elif body[:64].lstrip(_WHITE).startswith(b"["):
        records = _array(body, faults, max_event_bytes, settings)
    else:
        records = _objects(body, faults, max_event_bytes, settings)
    faults.check()
    if len(records) > settings.max_events:
        raise TooLarge(f"a request may have {settings.max_events} events, this one has {len(records)}")
    kind: Literal["json", "text"] = "text" if text and not json_type else "json"
    runs = [Run(len(records), key.text, 0, key.given)] if records else []
    return Parsed(kind, records, runs)


def split_lines(body: bytes, limit: int) -> list[bytes]:
    r"""At most `limit` lines, by `\n`; more raise TooLarge before they cost memory."""
    if body.count(b"\n") > limit:
        raise TooLarge(f"a request may have {limit} lines")
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()  # what stands behind the last line break is no line
    return lines


def object_fault(raw: bytes, max_depth: int) -> str:
    """Why these bytes are not a JSON object that is taken; empty when they are."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error.msg} at column {error.pos + 1}"
    if type(value) is not dict:
        return f"must be a JSON object, not {_type_name(value)}"
    if _CONTAINERS.isdisjoint(map(type, value.values())):  # flat, as most events are
        return ""
    if raw.count(b"{") + raw.count(b"[") > max_depth and deeper_than(value, max_depth):
        return f"nested deeper than {max_depth} levels"
    return ""


def deeper_than(value: Any, limit: int) -> bool:
    """Whether there are more than `limit` levels of objects and arrays; takes no recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _lines(body: bytes, faults: _Faults, max_event_bytes: int, settings: Settings) -> list[bytes]:
    records = []
    for number, line in enumerate(split_lines(body, 2 * settings.max_events), 1):
        record = line.removesuffix(b"\r")
        if not record:
            continue
        if len(record) > max_event_bytes:
            faults.add(f"line {number}", _size_fault(record, max_event_bytes), large=True)
        records.append(record)
    return records


def _objects(body: bytes, faults: _Faults, max_event_bytes: int, settings: Settings) -> list[bytes]:
    lines = split_lines(body, 2 * settings.max_events)
    if _spread(body, lines, max_event_bytes):
        lines = [body]
    records = []
    for number, line in enumerate(lines, 1):
        if len(line) > max_event_bytes:
            if line.strip(_WHITE):
                faults.add(f"line {number}", _size_fault(line, max_event_bytes), large=True)
            continue
        fault = object_fault(line, settings.max_depth)
        if not fault:
            records.append(line)
        elif line.strip(_WHITE):
            faults.add(f"line {number}", fault)
    return records


def _spread(body: bytes, lines: Sequence[bytes], max_event_bytes: int) -> bool:
    """Whether the body is one object over several lines: its first line is no JSON, the whole is."""
    first = next((line for line in lines if line.strip(_WHITE)), b"")
    return len(lines) > 1 and len(body) <= max_event_bytes and not _is_json(first) and _is_json(body)


def _is_json(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _array(body: bytes, faults: _Faults, max_event_bytes: int, settings: Settings) -> list[bytes]:
    if body.count(b",") > settings.max_values:
        raise TooLarge(f"an array of events may have {settings.max_values} values in all; send NDJSON instead")
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}"
        faults.add(place, f"not valid JSON: {error.msg} at column {error.colno}")
        return []
    if len(items) > settings.max_events:
        raise TooLarge(f"a request may have {settings.max_events} events, this one has {len(items)}")
    brackets = body.count(b"{") + body.count(b"[")
    deep = brackets - 1 - len(items) >= settings.max_depth  # otherwise no item can be nested that deep
    records = []
    for number, item in enumerate(items, 1):
        place = f"item {number}"
        if type(item) is not dict:
            faults.add(place, f"must be a JSON object, not {_type_name(item)}")
        elif deep and deeper_than(item, settings.max_depth):
            faults.add(place, f"nested deeper than {settings.max_depth} levels")
        else:
            record = orjson.dumps(item)
            if len(record) > max_event_bytes:
                faults.add(place, _size_fault(record, max_event_bytes), large=True)
            records.append(record)
    return records


def _size_fault(record: bytes, limit: int) -> str:
    return f"an event of this source may have {limit} bytes, this one has {len(record)}"


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names[type(value)]
