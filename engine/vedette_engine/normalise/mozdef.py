"""MozDef's event JSON to ECS.

MozDef's own fields stand at the top of an event, everything else in `details`. Known names of both get their ECS name;
what has none keeps its own below `mozdef.`, so nothing is dropped (MozDef dropped unknown top-level keys).
Senders through syslog-ng write its macros in capitals; they mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.flatten import Event, put_any

_TOP: Mapping[str, str] = {
    "summary": "message",
    "message": "message",
    "hostname": "host.name",
    "host": "host.name",
    "processname": "process.name",
    "program": "process.name",
    "processid": "process.pid",
    "pid": "process.pid",
    "severity": "log.level",
    "priority": "log.syslog.severity.name",
    "facility": "log.syslog.facility.name",
    "tags": "tags",
    "receivedtimestamp": "event.created",
    "mozdefhostname": "observer.hostname",
}
_TIMES = ("utctimestamp", "timestamp", "date", "eventtime")

_DETAILS: Mapping[str, str] = {
    "sourceipaddress": "source.ip",
    "sourceport": "source.port",
    "sourcehost": "source.domain",
    "destinationipaddress": "destination.ip",
    "destinationport": "destination.port",
    "destinationhost": "destination.domain",
    "id.orig_h": "source.ip",
    "id.orig_p": "source.port",
    "id.resp_h": "destination.ip",
    "id.resp_p": "destination.port",
    "srcip": "source.ip",
    "username": "user.name",
    "suser": "user.name",
    "userid": "user.id",
    "email": "user.email",
    "duser": "user.effective.name",
    "eventname": "event.action",
    "useragent": "user_agent.original",
    "user_agent": "user_agent.original",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "status_code": "http.response.status_code",
    "mimetype": "http.response.mime_type",
    "referrer": "http.request.referrer",
    "program": "process.name",
    "processname": "process.name",
    "processid": "process.pid",
    "dproc": "process.executable",
    "command": "process.command_line",
    "parentprocess": "process.parent.name",
    "fname": "file.path",
    "md5": "file.hash.md5",
    "sha1": "file.hash.sha1",
    "sha256": "file.hash.sha256",
    "dhost": "host.name",
    "query": "dns.question.name",
}
_CATEGORIES = frozenset(
    [
        "api",
        "authentication",
        "configuration",
        "database",
        "driver",
        "email",
        "file",
        "host",
        "iam",
        "intrusion_detection",
        "library",
        "malware",
        "network",
        "package",
        "process",
        "registry",
        "session",
        "threat",
        "vulnerability",
        "web",
    ]
)
"""What ECS allows in event.category; MozDef's own categories (`bro`, `syslog`) stay in mozdef.category only."""


def read_mozdef(record: Mapping[str, Any], counters: Counters) -> Event:
    """The flat event of a MozDef event."""
    event: Event = {}
    times: dict[str, Any] = {}
    for key, value in record.items():
        name = key.lower()
        if name == "details":
            _read_details(value, event, counters)
        elif name in _TIMES and name not in times:
            times[name] = value
        elif name in {"message", "summary"} and (decoded := _decode(value)) is not None:
            _read_details(decoded, event, counters)
        else:
            _set(event, _TOP.get(name, f"mozdef.{key}"), f"mozdef.{key}", value, counters)
    for name in _TIMES:
        if name in times and "@timestamp" not in event:
            event["@timestamp"] = times.pop(name)
    for name, value in times.items():
        put_any(event, f"mozdef.{name}", value, counters)
    _complete(event)
    return event


def _read_details(details: Any, event: Event, counters: Counters) -> None:
    if not isinstance(details, dict):
        put_any(event, "mozdef.details", details, counters)
        return
    for key, value in details.items():
        own = f"mozdef.details.{key}"
        _set(event, _DETAILS.get(key.lower(), own), own, value, counters)


def _set(event: Event, name: str, own: str, value: Any, counters: Counters) -> None:
    """Under its ECS name when that is free and the value is a leaf, else under MozDef's own."""
    if name != own and (name in event or isinstance(value, dict | list)) and name != "tags":
        name = own
    put_any(event, name, value, counters)


def _decode(value: Any) -> dict[str, Any] | None:
    """A whole JSON object that a syslog daemon carried as text, as Zeek's logs come."""
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    try:
        decoded = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return decoded if isinstance(decoded, dict) else None


def _complete(event: Event) -> None:
    """What follows from the rest: outcome, category, a time inside a decoded message, tags as a list."""
    success = event.get("mozdef.details.success")
    if isinstance(success, bool):
        event.setdefault("event.outcome", "success" if success else "failure")
    category = event.get("mozdef.category")
    if isinstance(category, str) and category in _CATEGORIES:
        event.setdefault("event.category", [category])
    if "@timestamp" not in event and "mozdef.details.ts" in event:
        event["@timestamp"] = event["mozdef.details.ts"]
    tags = event.get("tags")
    if isinstance(tags, str):
        event["tags"] = [tags]
