"""Which searches are in force, and when each is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vedette_engine.alerting.bundle import Bundle, BundledRule
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.query.lucene import parse
from vedette_engine.query.tree import QueryError
from vedette_workers.scheduler.figures import Figures
from vedette_workers.scheduler.round import Scheduled

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
SHORTEST: Final = 1.0
"""Seconds between two rounds, whatever the rule says."""


@dataclass(slots=True)
class Entry:
    """One search. Times in monotonic seconds.

    Attributes:
        scheduled: the rule with its query.
        due: when its next round begins.
        pause: before the next try, should this one fail.
    """

    scheduled: Scheduled
    due: float
    pause: float = FIRST_PAUSE
    figures: Figures = field(default_factory=Figures)

    def done(self, now: float, *, more: bool) -> None:
        """A round ended; with `more` to look at, the next begins at once."""
        self.pause = FIRST_PAUSE
        self.due = now if more else now + max(self.scheduled.spec.every / 1000, SHORTEST)

    def failed(self, now: float) -> None:
        """A round failed: the next try comes sooner than the next round would, and each later than the one before."""
        self.due = now + min(self.pause, max(self.scheduled.spec.every / 1000, SHORTEST))
        self.pause = min(self.pause * 2, LONGEST_PAUSE)


class Plan:
    """The searches of the bundle in force. One thread changes it, others may read."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.broken: dict[str, str] = {}
        """Rules whose search cannot be read → why; they are in the bundle, and do nothing."""

    def load(self, bundle: Bundle, now: float) -> list[str]:
        """Take over a bundle; the rules that are gone. A changed rule is due at once and keeps its figures."""
        entries: dict[str, Entry] = {}
        broken: dict[str, str] = {}
        for rule in bundle.rules:
            if not rule.search:
                continue
            before = self.entries.get(rule.name)
            if before is not None and before.scheduled.rule.hash == rule.hash:
                entries[rule.name] = before
                continue
            try:
                entry = Entry(_scheduled(rule), now)
            except (QueryError, KeyError, TypeError, AttributeError) as error:
                broken[rule.name] = f"the search cannot be read: {error}"
                continue
            if before is not None:
                entry.figures = before.figures
            entries[rule.name] = entry
        gone = [name for name in (*self.entries, *self.broken) if name not in entries and name not in broken]
        self.entries, self.broken = entries, broken
        return gone

    def due(self, now: float) -> Entry | None:
        """The search that has been due for the longest; None while none is."""
        first = min(self.entries.values(), key=lambda entry: entry.due, default=None)
        return first if first is not None and first.due <= now else None

    def knows(self, name: str) -> bool:
        """Whether the rule is in force."""
        return name in self.entries or name in self.broken


def _scheduled(rule: BundledRule) -> Scheduled:
    spec = SearchSpec.from_json(rule.search)
    return Scheduled(rule, spec, parse(spec.query))


def messages(entries: Iterable[Entry]) -> list[str]:
    """What people should know of the rules' last rounds."""
    return [
        f"rule {entry.scheduled.rule.name}: {said}"
        for entry in entries
        for said in (entry.figures.error, entry.figures.note)
        if said
    ]
