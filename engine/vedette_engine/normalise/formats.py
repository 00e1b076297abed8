"""How a record is written: from its bytes, or its decoded JSON, to a first flat event.

A reader sets `@timestamp` as the sender wrote it, or leaves it out; the normaliser reads it. Text formats keep the
whole record in `event.original`; JSON ones do not, because every leaf of theirs is kept.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.flatten import Event, flatten
from vedette_engine.normalise.mozdef import read_mozdef
from vedette_engine.normalise.names import allowed, is_reserved
from vedette_engine.normalise.syslog import read_syslog
from vedette_engine.normalise.windows import read_windows

Reader = Callable[[bytes, Any, Counters], Event]

_TIME_NAMES = ("timestamp", "time", "ts", "eventTime")
"""Where plain JSON may keep its time when there is no `@timestamp`."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that the record is. Raises Malformed."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        reason = "TooDeep" if "depth limit" in str(error) else "MalformedJson"
        raise Malformed(reason, f"the record is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise Malformed("NotAnObject", f"the record is JSON, but not an object: {type(parsed).__name__}")
    return parsed


def decode_text(raw: bytes, counters: Counters) -> Event:
    """The record as text in `event.original`; bytes that are not UTF-8 are replaced, and all kept in base64 beside."""
    try:
        return {"event.original": raw.decode().strip("\ufeff\r\n")}
    except UnicodeDecodeError:
        count(counters, "invalid_utf8")
        return {
            "event.original": raw.decode(errors="replace").strip("\ufeff\r\n"),
            "event.original_base64": base64.b64encode(raw).decode(),
        }


def read_json(raw: bytes, parsed: Any, counters: Counters) -> Event:
    """Plain JSON: nested names become dotted ones, all else stays as the sender wrote it."""
    record = as_object(raw, parsed)
    event = protect(flatten(record, counters), counters)
    if "@timestamp" not in event:
        for name in _TIME_NAMES:
            if name in event:
                event["@timestamp"] = event[name]
                break
    return event


def as_object(raw: bytes, parsed: Any) -> dict[str, Any]:
    """What was decoded already, or the record decoded. Raises Malformed."""
    if parsed is None:
        return decode_object(raw)
    if not isinstance(parsed, dict):
        raise Malformed("NotAnObject", f"the record is JSON, but not an object: {type(parsed).__name__}")
    return parsed


def protect(event: Event, counters: Counters) -> Event:
    """Moves away what only Vedette may set."""
    reserved = [name for name in event if is_reserved(name)]
    for name in reserved:
        count(counters, "reserved")
        event[allowed(name)] = event.pop(name)
    return event


def _read_mozdef(raw: bytes, parsed: Any, counters: Counters) -> Event:
    return protect(read_mozdef(as_object(raw, parsed), counters), counters)


def _read_windows(raw: bytes, parsed: Any, counters: Counters) -> Event:
    return read_windows(as_object(raw, parsed), counters)


def _read_text(raw: bytes, parsed: Any, counters: Counters) -> Event:
    """One line, or a JSON object that a shipper wrapped around it."""
    wrapped = _unwrap(raw, parsed, counters)
    if wrapped is not None:
        return wrapped
    event = decode_text(raw, counters)
    event["message"] = event["event.original"]
    return event


def _read_syslog(raw: bytes, parsed: Any, counters: Counters) -> Event:
    wrapped = _unwrap(raw, parsed, counters)
    if wrapped is None:
        wrapped = decode_text(raw, counters)
        wrapped["message"] = wrapped["event.original"]
    text = wrapped.get("message")
    if isinstance(text, str) and not read_syslog(text, wrapped):
        count(counters, "not_syslog")
    return wrapped


def _unwrap(raw: bytes, parsed: Any, counters: Counters) -> Event | None:
    """A shipper's object around a line, or None for a bare line."""
    if parsed is None and raw[:1] == b"{":
        try:
            parsed = decode_object(raw)
        except Malformed:
            return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("message"), str):
        return None
    event = read_json(raw, parsed, counters)
    event.setdefault("event.original", event["message"])
    return event


FORMATS: Mapping[str, Reader] = {
    "json": read_json,
    "mozdef": _read_mozdef,
    "windowsEvent": _read_windows,
    "syslog": _read_syslog,
    "text": _read_text,
}
"""`LogSource.spec.format` → reader."""
