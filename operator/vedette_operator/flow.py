"""How events of a source flow, as the workers' heartbeats tell it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.store.protocol import Heartbeat
from vedette_crds.duration import parse_duration
from vedette_operator.verdict import Finding

SILENCE = "15m"
"""After so long without an event a source counts as silent, where its `silence.after` names no other time."""

_FIRST = int(dt.datetime(1000, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000
_LAST = int(dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class Flow:
    """Sums over the workers that live. Times in ms since the epoch, 0 when nothing came yet."""

    rate: float = 0.0
    lag: int = 0
    dead_letters: int = 0
    last_event: int = 0
    last_ingested: int = 0

    @classmethod
    def of(cls, beats: Sequence[Heartbeat], source: str) -> Flow:
        """The flow of one source."""
        found = [beat.body["sources"][source] for beat in beats if source in beat.body.get("sources", {})]
        return cls(
            rate=sum(item["rate"] for item in found),
            lag=max((item["lag_ms"] for item in found), default=0),
            dead_letters=sum(item["dead_letters"] for item in found),
            last_event=max((item["last_event"] for item in found), default=0),
            last_ingested=max((item["last_ingested"] for item in found), default=0),
        )

    def stats(self) -> dict[str, Any]:
        """`status.stats` of a LogSource: two digits are enough there, live figures are on the page."""
        told: dict[str, Any] = {
            "eventsPerSecond": _two_digits(self.rate),
            "lagSeconds": _two_digits(self.lag / 1000),
            "deadLetters": self.dead_letters,
        }
        # Events may claim any time; what no calendar holds is no time to show.
        if self.last_event and _FIRST <= self.last_event <= _LAST:
            moment = dt.datetime.fromtimestamp(self.last_event / 1000, dt.UTC)
            told["lastEventTime"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        return told

    def receiving(self, spec: Mapping[str, Any], now: int) -> Finding:
        """The Receiving condition, which informs only."""
        patience = (spec.get("silence") or {}).get("after") or SILENCE
        if not self.last_ingested:
            return Finding("Receiving", "Unknown", "NeverReceived", "no event came since the workers started")
        if now - self.last_ingested < parse_duration(patience):
            return Finding("Receiving", "True", "Events", "")
        return Finding("Receiving", "False", "Silent", f"no event came for {patience}")


def _two_digits(figure: float) -> str:
    """Rounded, without an exponent: the API server takes none."""
    return f"{float(f'{figure:.1e}'):.10f}".rstrip("0").rstrip(".")


def available(beats: Sequence[Heartbeat], *, starting: bool = False) -> list[Finding]:
    """Whether a worker consumes the source, and whether the store is prepared (the embedded one always is).

    Args:
        beats: of the pipelines that live.
        starting: whether those without a heartbeat may still be starting.
    """
    if beats:
        working = Finding("Available", "True", "Consuming", "")
    elif starting:
        working = Finding("Available", "False", "Starting", "workers are starting")
    else:
        working = Finding("Available", "False", "NoWorkers", "no pipeline worker reports")
    return [Finding("TemplateReady", "True", "Declared", ""), working]
