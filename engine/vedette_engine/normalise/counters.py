"""Counters of what normalisation changed: nothing of an event disappears without one of these growing.

A counter set is a plain dict, so that a worker can add them up and send them in its heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping

Counters = dict[str, int]
"""Name (a key of COUNTERS) → how often; names that never happened are absent."""

COUNTERS: Mapping[str, str] = {
    "events": "records that became events",
    "malformed": "records that became dead letters",
    "invalid_utf8": "records with bytes that are not UTF-8; replaced by U+FFFD, the bytes kept in base64",
    "not_syslog": "lines without a syslog header; kept whole as the message",
    "unparsed": "lines that the parser knows nothing about; kept whole as the message",
    "reserved": "fields with a name that only Vedette sets; moved below `supplied.`",
    "renamed": "fields whose name is empty, too long, holds NUL, or would have hidden another; kept under a new name",
    "too_deep": "nested values below the depth limit; kept as one JSON text",
    "empty": "nulls, empty lists and empty objects; they hold no value and are left out",
    "rounded": "numbers too large for 64 bits; rounded, the original text kept in event.original",
    "wrong_type": "values that do not fit the type of their ECS field; kept below vedette.other",
    "converted": "values changed to the type of their ECS field without loss",
    "mapping_failed": "values that a mapping could not convert; kept under their old name",
    "time_missing": "events without a time; marked, sorted by their arrival",
    "time_unreadable": "events whose time cannot be read; marked, sorted by their arrival",
    "time_future": "events more than five minutes ahead of their arrival; marked",
    "not_searchable": "texts longer than 8,000 characters; stored, but cannot be searched",
    "rest": "documents with more than 1,000 uncatalogued fields; what is over is kept as one JSON text",
}
"""Every counter with its meaning."""


def count(counters: Counters, name: str, by: int = 1) -> None:
    """Adds to a counter."""
    counters[name] = counters.get(name, 0) + by


def add(counters: Counters, more: Mapping[str, int]) -> None:
    """Adds a whole set."""
    for name, by in more.items():
        counters[name] = counters.get(name, 0) + by
