"""The effects of a batch, in the order that makes a crash harmless: alerts → events → dead letters → notices → ack.

Whatever fails outside the program is tried again until it works: the batch stays unacked and nothing is lost; every
step is idempotent by id.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vedette_backends.broker.protocol import Broker, Consumer
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.store.protocol import DeadLetter, ItemResult, NewEvent, Outcome, Store
from vedette_engine.wire import is_content_key
from vedette_workers.notify import tell_responder
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Effects

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Batch:
    """Deliveries that were processed and what they want done.

    Attributes:
        tags: what to acknowledge where.
        created: what became of the alerts; None as long as they are not written.
        results: retention class → what became of its events, for those classes that are written.
    """

    tags: list[tuple[Consumer, int]] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    created: list[ItemResult] | None = None
    results: dict[str, list[ItemResult]] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    """What one application of a batch did. `collapsed`: deliveries taken for one because only their content tells."""

    letters: list[DeadLetter]
    stored: dict[str, list[NewEvent]] = field(default_factory=lambda: defaultdict(list))
    duplicates: int = 0
    collapsed: int = 0


class Committer:
    """Applies batches, one after the other.

    In the worker's own thread: a second one would wait for the interpreter's lock at every document that it hands to
    the store, which costs more than it gains (measured: a fifth of the worker's CPU). The store indexes in threads of
    its own all the same.

    Args:
        store: takes events, alerts and dead letters.
        broker: takes notices.
        counters: what was done.
        alive: called whenever there is a sign of life, also while a backend is down.
    """

    def __init__(
        self, store: Store, broker: Broker, counters: Counters, alive: Callable[[], object] = lambda: None
    ) -> None:
        self._store = store
        self._broker = broker
        self._counters = counters
        self._alive = alive
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
                self._counters.totals["commit_failures"] += 1
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
            self._alive()
            time.sleep(0.05)
        return self._giving_up

    def _apply(self, batch: Batch) -> None:
        effects = batch.effects
        tally = _Tally(list(effects.letters))
        if batch.created is None:
            batch.created = self._store.create_alerts(effects.alerts) if effects.alerts else []
        self._write_events(batch, tally)
        self._set_aside_alerts(batch, tally)
        if tally.letters:
            self._store.put_dead_letters(tally.letters)
        self._tell_responder(batch)
        self._acknowledge(batch)
        self._count(batch, tally)

    def _write_events(self, batch: Batch, tally: _Tally) -> None:
        """Create the events; those that the store refuses become dead letters."""
        effects = batch.effects
        by_class: dict[str, list[int]] = defaultdict(list)
        for index, (retention, _) in enumerate(effects.events):
            by_class[retention].append(index)
        for retention, indices in by_class.items():
            if retention not in batch.results:
                events = [effects.events[index][1] for index in indices]
                batch.results[retention] = self._store.create_events(retention, events)
            for index, result in zip(indices, batch.results[retention], strict=True):
                arrival, record = effects.originals[index]
                if result.outcome is Outcome.CREATED:
                    tally.stored[arrival.source].append(effects.events[index][1])
                elif result.outcome is Outcome.DUPLICATE:
                    tally.duplicates += 1
                    tally.collapsed += is_content_key(record.key) and not arrival.repeat
                else:
                    tally.letters.append(_refused(effects, index, result))

    @staticmethod
    def _set_aside_alerts(batch: Batch, tally: _Tally) -> None:
        """An alert that the store cannot hold is not lost silently: what raised it can be looked at and replayed."""
        effects = batch.effects
        for alert, (arrival, record), result in zip(effects.alerts, effects.causes, batch.created or (), strict=True):
            if result.outcome is Outcome.REJECTED:
                detail = f"an alert of rule {alert.rule}: {result.reason}"
                tally.letters.append(arrival.letter(record, "AlertRejected", detail, distinct=alert.id))

    def _tell_responder(self, batch: Batch) -> None:
        """Publish a notice of each alert that asks for an incident, also of those that were there before."""
        told = [
            notice
            for notice, result in zip(batch.effects.notices, batch.created or (), strict=True)
            if notice is not None and result.outcome in {Outcome.CREATED, Outcome.DUPLICATE}
        ]
        tell_responder(self._broker, told)
        self._counters.totals["notices"] += len(told)

    @staticmethod
    def _acknowledge(batch: Batch) -> None:
        by_consumer: dict[int, tuple[Consumer, list[int]]] = {}
        for consumer, tag in batch.tags:
            by_consumer.setdefault(id(consumer), (consumer, []))[1].append(tag)
        for consumer, tags in by_consumer.values():
            try:
                consumer.ack(tags)
            except NotFoundError:
                _acknowledge_one_by_one(consumer, tags)

    def _count(self, batch: Batch, tally: _Tally) -> None:
        totals = self._counters.totals
        effects = batch.effects
        totals["events"] += len(effects.events)
        totals["stored"] += sum(map(len, tally.stored.values()))
        totals["duplicates"] += tally.duplicates
        totals["collapsed"] += tally.collapsed
        totals["dead_letters"] += len(tally.letters)
        for source, events in tally.stored.items():
            last_event = max(event.time for event in events)
            last_ingested = max(event.ingested for event in events)
            self._counters.source(source).seen(len(events), last_event, last_ingested)
        for letter in tally.letters:
            self._counters.source(letter.source).dead_letters += 1
            self._counters.letters[letter.reason] += 1
        for alert, result in zip(effects.alerts, batch.created or (), strict=True):
            if result.outcome is Outcome.CREATED:
                totals["alerts"] += 1
                self._counters.rule_alerted(alert.rule)
        totals["commits"] += 1


def _acknowledge_one_by_one(consumer: Consumer, tags: Sequence[int]) -> None:
    """After a lost connection the broker took some back; they come again, and all is recognised by its id."""
    gone = 0
    for tag in tags:
        try:
            consumer.ack([tag])
        except NotFoundError:
            gone += 1
    log.warning("%d of %d messages were taken back before they were acknowledged", gone, len(tags))


def _refused(effects: Effects, index: int, result: ItemResult) -> DeadLetter:
    arrival, record = effects.originals[index]
    if result.outcome is Outcome.COLLISION:
        detail = result.reason or "another event has the same key and other content"
        return arrival.letter(record, "IdCollision", detail, distinct=effects.events[index][1].hash)
    return arrival.letter(record, "DocumentRejected", result.reason)
