"""The effects of a batch, in the order that makes a crash harmless: alerts → events → dead letters → ack.

Whatever fails outside the program is tried again until it works: the batch stays unacked and nothing is lost; every
step is idempotent by id.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vedette_backends.broker.protocol import Consumer
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.store.protocol import DeadLetter, ItemResult, NewEvent, Outcome, Store
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Effects

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Batch:
    """Deliveries that were processed and what they want done.

    Attributes:
        created: what became of the alerts; None as long as they are not written.
        results: retention class → what became of its events, for those classes that are written.
    """

    tags: list[int] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    created: list[ItemResult] | None = None
    results: dict[str, list[ItemResult]] = field(default_factory=dict)


class Committer:
    """Applies batches, one after the other.

    In the worker's own thread: a second one would wait for the interpreter's lock at every document that it hands to
    the store, which costs more than it gains (measured: a fifth of the worker's CPU). The store indexes in threads of
    its own all the same.
    """

    def __init__(self, store: Store, consumer: Consumer, counters: Counters) -> None:
        self._store = store
        self._consumer = consumer
        self._counters = counters
        self._giving_up = False
        self.problem = ""
        """Why a batch is not being committed now; empty when nothing hinders it."""

    def give_up(self) -> None:
        """Try each batch once from now on: one that cannot be committed stays unacked, to be delivered again."""
        self._giving_up = True

    def commit(self, batch: Batch) -> bool:
        """Apply a batch, however long it takes; whether it was applied, which it always is until `give_up`."""
        pause = FIRST_PAUSE
        while True:
            try:
                self._apply(batch)
            except BackendError as error:
                self.problem = f"{type(error).__name__}: {error}"
                log.warning("batch of %d events waits: %s", len(batch.effects.events), self.problem)
                batch.effects.expect_repeats()
                if self._wait(pause):
                    return False
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self.problem = ""
                return True

    def _wait(self, seconds: float) -> bool:
        """Pause before the next attempt; whether there is to be none. No lock: signal handlers call `give_up`."""
        until = time.monotonic() + seconds
        while not self._giving_up and time.monotonic() < until:
            time.sleep(0.05)
        return self._giving_up

    def _apply(self, batch: Batch) -> None:
        effects = batch.effects
        if batch.created is None:
            batch.created = self._store.create_alerts(effects.alerts) if effects.alerts else []
        letters = list(effects.letters)
        stored, duplicates = self._write_events(batch, letters)
        if letters:
            self._store.put_dead_letters(letters)
        try:
            self._consumer.ack(batch.tags)
        except NotFoundError:
            # The broker took the messages back meanwhile; they come again, and everything is recognised by its id.
            log.warning("%d messages were taken back before they were acknowledged", len(batch.tags))
        self._count(effects, stored, duplicates, letters)
        for alert, outcome in zip(effects.alerts, batch.created, strict=True):
            if outcome.outcome is Outcome.CREATED:
                self._counters.totals["alerts"] += 1
                self._counters.rule_alerted(alert.rule)

    def _write_events(self, batch: Batch, letters: list[DeadLetter]) -> tuple[Mapping[str, Sequence[NewEvent]], int]:
        """Create the events; those that the store refuses join `letters`. Gives the new ones by source, and repeats."""
        effects = batch.effects
        by_class: dict[str, list[int]] = defaultdict(list)
        for index, (retention, _) in enumerate(effects.events):
            by_class[retention].append(index)
        stored: dict[str, list[NewEvent]] = defaultdict(list)
        duplicates = 0
        for retention, indices in by_class.items():
            if retention not in batch.results:
                events = [effects.events[index][1] for index in indices]
                batch.results[retention] = self._store.create_events(retention, events)
            for index, result in zip(indices, batch.results[retention], strict=True):
                if result.outcome is Outcome.CREATED:
                    stored[effects.originals[index][0].source].append(effects.events[index][1])
                elif result.outcome is Outcome.DUPLICATE:
                    duplicates += 1
                else:
                    letters.append(self._refused(effects, index, result))
        return stored, duplicates

    @staticmethod
    def _refused(effects: Effects, index: int, result: ItemResult) -> DeadLetter:
        arrival, record = effects.originals[index]
        if result.outcome is Outcome.COLLISION:
            detail = result.reason or "another event has the same key and other content"
            return arrival.letter(record, "IdCollision", detail, distinct=effects.events[index][1].hash)
        return arrival.letter(record, "DocumentRejected", result.reason)

    def _count(
        self,
        effects: Effects,
        stored: Mapping[str, Sequence[NewEvent]],
        duplicates: int,
        letters: Sequence[DeadLetter],
    ) -> None:
        totals = self._counters.totals
        totals["events"] += len(effects.events)
        totals["stored"] += sum(map(len, stored.values()))
        totals["duplicates"] += duplicates
        totals["dead_letters"] += len(letters)
        for source, events in stored.items():
            last_event = max(event.time for event in events)
            last_ingested = max(event.ingested for event in events)
            self._counters.source(source).seen(len(events), last_event, last_ingested)
        for letter in letters:
            self._counters.source(letter.source).dead_letters += 1
        totals["commits"] += 1
