"""Names that do not depend on when or how often something is processed (DESIGN §4)."""

from __future__ import annotations

import datetime as dt
from hashlib import blake2b

_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)
_FIRST_DAY = (dt.date.min - _EPOCH).days
_LAST_DAY = (dt.date.max - _EPOCH).days


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
    """Name of the incident that an alert opens; `time` is the alert's event time in ms since the epoch.

    Events may claim any time: what no calendar holds counts as the first or the last day that one does.
    """
    days = min(max(time // _DAY_MS, _FIRST_DAY), _LAST_DAY)
    day = (_EPOCH + dt.timedelta(days=days)).isoformat().replace("-", "")
    return f"inc-{day}-{digest('incident', rule, group, first_alert, size=5)}"
