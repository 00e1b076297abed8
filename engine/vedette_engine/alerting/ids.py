"""Names that do not depend on when or how often something is processed (DESIGN §4)."""

from __future__ import annotations

import datetime as dt
from hashlib import blake2b


def digest(*parts: str, size: int = 16) -> str:
    """Hex digest of the parts; lengths go in too, so that ("ab", "c") and ("a", "bc") differ."""
    state = blake2b(digest_size=size)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()


def alert_id(namespace: str, rule: str, document: str, event: str) -> str:
    """Id of a single-event alert: the AlertRule, the Sigma document inside it, and the event that raised it."""
    return digest("alert", namespace, rule, document, event)


def dead_letter_id(event: str, reason: str) -> str:
    """Id of a dead letter: one event is set aside once for one reason."""
    return digest("dead", event, reason)


def incident_name(time: int, rule: str, group: str, first_alert: str) -> str:
    """Name of the incident that an alert opens; `time` is the alert's event time in ms since the epoch."""
    day = dt.datetime.fromtimestamp(time / 1000, dt.UTC).strftime("%Y%m%d")
    return f"inc-{day}-{digest('incident', rule, group, first_alert, size=5)}"
