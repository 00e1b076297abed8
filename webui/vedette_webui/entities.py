"""Who and what an alert is about: the hosts, users, addresses, programs and files of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vedette_engine.alerting.incidents import ENTITY_FIELDS, named
from vedette_webui import show

FIELDS = ENTITY_FIELDS
LEADING = {
    "host.name": "host",
    "user.name": "user",
    "event.action": "action",
    "source.ip": "source",
    "process.command_line": "command",
    "process.executable": "program",
    "url.full": "url",
}
"""What one line of an event without a message shows."""
SHOWN = (
    "event.dataset",
    "event.action",
    "event.outcome",
    "event.code",
    "message",
    *FIELDS,
    "process.command_line",
    "process.parent.executable",
    "url.full",
)
"""Fields of an event that are shown before the others."""
_FRAME = ("@timestamp", "event.ingested", "event.hash", "event.id", "vedette.stored")
ALIKE = 3
"""Values of one field that are listed."""


def entities(documents: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(field, value), in the order of `FIELDS`, each once."""
    return [(name, value) for name, values in named(documents, show.scalar).items() for value in values[:ALIKE]]


def leading(fields: Mapping[str, Any], matched: Mapping[str, str]) -> list[tuple[str, Any]]:
    """The fields to show first: those that made the rule fire, then those that say who and what."""
    first = [name for name in matched if name in fields]
    names = dict.fromkeys([*first, *(name for name in SHOWN if name in fields)])
    return [(name, fields[name]) for name in names] or list(fields.items())[:12]


def headline(document: Mapping[str, Any]) -> str:
    """One line for an event: its message, or its leading fields."""
    fields = show.flat(document)
    for name in ("message", "event.original"):
        if isinstance(fields.get(name), str) and fields[name].strip():
            return str(fields[name])[:500]
    named = {label: fields[name] for name, label in LEADING.items() if name in fields}
    if not named:
        named = dict([pair for pair in fields.items() if pair[0] not in _FRAME][:6])
    return "  ".join(f"{name}={', '.join(show.values(value))[:200]}" for name, value in named.items())
