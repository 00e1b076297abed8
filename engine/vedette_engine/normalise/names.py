"""Names that senders may not set."""

from __future__ import annotations

_RESERVED = frozenset({"event.ingested", "event.hash", "vedette"})

SUPPLIED = "supplied."
"""Prefix of what a sender gave under a reserved name."""


def is_reserved(name: str) -> bool:
    """Whether only Vedette sets this field."""
    return name in _RESERVED or name.startswith("vedette.")


def allowed(name: str) -> str:
    """The name a sender's field gets: `vedette.x` becomes `supplied.vedette.x`, all others stay."""
    return SUPPLIED + name if is_reserved(name) else name
