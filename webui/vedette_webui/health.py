"""What the workers and the operator say of rules and sources, put together for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vedette_backends.cluster.protocol import Object
from vedette_backends.store.protocol import Heartbeat

ALIVE = 30_000
"""A worker whose last heartbeat is older (ms) counts as gone."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an object stands: `tone` is good, wait, bad or idle; `word` one word; `why` a sentence."""

    tone: str
    word: str
    why: str = ""


def conditions(found: Object) -> list[Mapping[str, Any]]:
    """The conditions in an object's status."""
    listed = found.status.get("conditions")
    return [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []


def rule_state(rule: Object) -> State:
    """The first thing that keeps a rule from running, in the order in which it would be mended."""
    held = {str(each.get("type")): each for each in conditions(rule)}
    if not held:
        return State("wait", "waiting", "The operator has not looked at this rule yet")
    checks = (
        ("Accepted", "bad", "rejected"),
        ("Tested", "bad", "tests fail"),
        ("Loaded", "wait", "loading"),
        ("DataAvailable", "idle", "no data"),
    )
    for name, tone, word in checks:
        condition = held.get(name)
        if condition is not None and condition.get("status") == "False":
            why = str(condition.get("message") or condition.get("reason") or "")
            later = condition.get("reason") == "NotYetSupported"
            return State("idle", "not yet supported", why) if later else State(tone, word, why)
    ready = held.get("Ready")
    if ready is not None and ready.get("status") == "True":
        return State("good", "live")
    return State("wait", "loading", str((ready or {}).get("message", "")))


def source_state(source: Object, figures: Mapping[str, Any], now: int) -> State:
    """Whether a source is accepted, and whether something comes."""
    for condition in conditions(source):
        if condition.get("type") in {"Accepted", "Ready"} and condition.get("status") == "False":
            word = "rejected" if condition["type"] == "Accepted" else "not ready"
            return State("bad", word, str(condition.get("message", "")))
    last = figures.get("last_ingested")
    if not isinstance(last, int):
        return State("idle", "silent", "Nothing has come from this source yet")
    if now - last > 15 * 60_000:
        return State("wait", "quiet", "Nothing has come for more than 15 minutes")
    return State("good", "receiving")


def totals(beats: Iterable[Heartbeat], part: str, now: int) -> dict[str, dict[str, Any]]:
    """Figures per name (`part` is `rules` or `sources`) over all workers.

    Counters add up, times and lags take the largest; rates count only for workers that live.
    """
    result: dict[str, dict[str, Any]] = {}
    for beat in beats:
        alive = now - beat.time <= ALIVE
        listed = beat.body.get(part)
        for name, figures in listed.items() if isinstance(listed, Mapping) else ():
            if not isinstance(figures, Mapping):
                continue
            into = result.setdefault(str(name), {})
            for key, value in figures.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                if key in {"rate", "lag_ms"} and not alive:
                    continue
                if key == "events" and beat.body.get("role") == "gateway":
                    continue  # the pipeline counts the same events once they are stored
                largest = key.startswith("last") or key in {"lag_ms", "micros"}
                into[key] = max(into.get(key, value), value) if largest else into.get(key, 0) + value
    return result


def lively(figures: Mapping[str, Any]) -> float:
    """Events per second, 0 when unknown."""
    rate = figures.get("rate", 0)
    return float(rate) if isinstance(rate, int | float) else 0.0
