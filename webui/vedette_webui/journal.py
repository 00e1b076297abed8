"""What people did, written down beside what they did it to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from vedette_backends.store.protocol import Record
from vedette_webui.visit import Visit


def record_id(visit: Visit) -> str:
    """A new id that sorts by time."""
    return f"{visit.now:013d}-{secrets.token_hex(6)}"


def note_change(visit: Visit, collection: str, parent: str, fields: Mapping[str, Any]) -> Record:
    """Write down that this person set these fields."""
    body = {"kind": "change", "author": visit.session.user, "fields": dict(fields)}
    return visit.store.put_record(collection, parent, record_id(visit), body)
