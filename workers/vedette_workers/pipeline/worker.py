"""The pipeline worker of one namespace: consume → process → commit → ack, until it is told to stop.

A batch closes every `FLUSH` seconds under load, and at once when nothing was committed for that long: a single event
is not kept waiting. Any number of workers serve a namespace side by side: each takes other messages, and whatever two
of them do twice is recognised by its id.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette_backends.broker.names import existing
from vedette_backends.broker.protocol import Broker, Consumer, Delivery
from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import Bundle
from vedette_engine.wire import QUEUE_PREFIX, Record, WireError
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.metrics import Sample, vital_samples
from vedette_workers.pipeline import intake, readings
from vedette_workers.pipeline.cache import BundleCache
from vedette_workers.pipeline.claims import Claims
from vedette_workers.pipeline.committer import Batch, Committer
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Arrival, Effects
from vedette_workers.pipeline.feeds import Feeds
from vedette_workers.pipeline.follow import BundleFollower
from vedette_workers.pipeline.housekeeping import Housekeeping
from vedette_workers.pipeline.isolation import FROM_DELIVERY, Isolation, Try
from vedette_workers.pipeline.processor import Processor
from vedette_workers.status import BROKER, BUNDLE, CONSUMING, STORE, Vitals, look_for_broker

log = logging.getLogger(__name__)

FLUSH = 0.25
MAX_EVENTS = 4000
MAX_BYTES = 16 << 20
IDLE = 0.1
RETRY = 1.0
"""Seconds until a queue that was not there is looked for again."""
TABLES_EVERY = 2.0
"""Seconds between two looks at files on volumes."""
GC_THRESHOLDS = (20_000, 20, 50)
"""Events are made and dropped by the thousand, hardly ever in cycles: look for those less often than by default."""
STUCK = 120.0
"""Seconds after which a delivery that is still being processed ends the worker, so that it is tried in isolation."""

Clock = Callable[[], int]


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def _keep_loaded() -> None:
    """Tell the garbage collector that what is loaded stays: scanning it again and again costs more than matching."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one worker.

    Attributes:
        namespace: whose events.
        prefix: of the queues; each source has one.
        bundle_interval, beat_interval: seconds.
        worker: name in heartbeats; workers that run side by side need different ones.
        only: consume these sources' queues and no others; empty for all.
        leave: consume all but these sources' queues.
        housekeeping: drop expired days and drain dead-letter queues, as the one worker that owns the embedded store
            does; in a cluster the librarian does.
        cache: folder of this worker's own where the bundle is kept for a start without the store.
        claims: folder of the mounted volumes.
    """

    namespace: str
    prefix: str = QUEUE_PREFIX
    bundle_interval: float = 0.25
    beat_interval: float = 1.0
    worker: str = "pipeline"
    only: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()
    housekeeping: bool = True
    cache: Path | None = None
    claims: Path | None = None

    def wants(self, source: str) -> bool:
        """Whether this worker serves the source."""
        return source not in self.leave and (not self.only or source in self.only)


class PipelineWorker:
    """Runs in the thread that calls `run`; `stop` may be called from any thread or signal handler.

    Args:
        settings: what it serves.
        store, broker: of the namespace.
        make_try: importable by name; called with the namespace and `try_args` in a disposable child.
        try_args: what else it needs.
        clock: ms since the epoch.
        vitals: where probes look.
        incarnation: in heartbeats and logs; drawn when it is not given.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
        make_try: Callable[..., Try],
        *try_args: str | Path | None,
        clock: Clock = now_ms,
        vitals: Vitals | None = None,
        incarnation: str = "",
    ) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._clock = clock
        self._stopping = False
        self._attend_at = 0.0
        self.vitals = vitals or Vitals()
        self.vitals.expect(BUNDLE, STORE, BROKER, CONSUMING)
        self.counters = Counters()
        self.processor = Processor(settings.namespace, self.counters, Claims(settings.claims))
        self._follower = BundleFollower(
            store,
            self._load,
            interval=settings.bundle_interval,
            clock=time.monotonic,
            cache=None if settings.cache is None else BundleCache(settings.cache),
        )
        self._feeds: Feeds | None = None
        self._committer = Committer(store, broker, self.counters, self.vitals.alive)
        self._queues: tuple[list[str], list[str]] = ([], [])
        self._isolation = (make_try, try_args)
        self._busy_since = 0.0
        self._batch = Batch()
        self._committed = 0.0
        self._tables_at = 0.0
        self._housekeeping: Housekeeping | None = None
        if settings.housekeeping:
            self._housekeeping = Housekeeping(settings.namespace, store, broker, self.counters.totals, clock)
        self._pulse = Pulse(settings.beat_interval, self._beat, incarnation)

    # life -----------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Finish what was fetched, ack it, return from `run`. What cannot be committed now stays in the queue."""
        # A plain flag: this runs in signal handlers, where taking a lock that the main thread holds would never end.
        self._stopping = True
        self._committer.give_up()

    def run(self) -> None:
        """Work until `stop`. Raises only what no retry can mend."""
        gc.set_threshold(*GC_THRESHOLDS)
        self._pulse.start()
        try:
            while not self._stopping:
                self.vitals.alive()
                self._follow()
                self._tidy()
                if self._feeds is None:
                    time.sleep(IDLE)
                    continue
                waiting = FLUSH - (time.monotonic() - self._committed) if self._batch.tags else IDLE
                for consumer, delivery in self._fetch(self._feeds, max(0.0, min(waiting, IDLE))):
                    self._take(consumer, delivery, self._batch)
                if self.processor.ruleset.settle(time.monotonic()):
                    _keep_loaded()
                if self._due():
                    self._commit()
        finally:
            self._end_consuming()
            self._pulse.stop()

    def _tidy(self) -> None:
        now = time.monotonic()
        if now >= self._tables_at:
            self._tables_at = now + TABLES_EVERY
            if self.processor.enrichments.refresh():
                self._pulse.now()
        if self._housekeeping is not None:
            self._housekeeping.look(self.processor.sources)

    def _fetch(self, feeds: Feeds, timeout: float) -> list[tuple[Consumer, Delivery]]:
        try:
            found = feeds.fetch(timeout)
        except BackendError as error:
            self.vitals.failed(BROKER, str(error))
            log.warning("broker: %s", error)
            time.sleep(IDLE)
            return []
        if found:
            self.vitals.reached(BROKER)
        return found

    def _due(self) -> bool:
        batch = self._batch
        if not batch.tags:
            return False
        if len(batch.effects.events) >= MAX_EVENTS or batch.effects.bytes >= MAX_BYTES:
            return True
        return time.monotonic() - self._committed >= FLUSH

    def _commit(self) -> None:
        if self._committer.commit(self._batch):
            self.vitals.reached(STORE)
        self._committed = time.monotonic()
        self._batch = Batch()

    # bundle and queues ----------------------------------------------------------------------------------------------
    def _follow(self) -> None:
        gc.disable()  # loading makes a million objects that stay: looking for garbage among them doubles the time
        try:
            fresh = self._follower.poll()
        finally:
            gc.enable()
        if fresh:
            _keep_loaded()
            self.vitals.reached(BUNDLE)
            self._pulse.now()
            self._attend()
        elif self._follower.current and time.monotonic() >= self._attend_at:
            self._attend()

    def _load(self, bundle: Bundle, tables: Callable[[str], bytes]) -> None:
        self.processor.load(bundle, tables)

    def _wanted(self) -> tuple[list[str], list[str]]:
        """Queues of our own messages, and queues that foreign publishers fill."""
        sources = [(name, one.foreign) for name, one in self.processor.sources.items() if self._settings.wants(name)]
        prefix = self._settings.prefix
        batches, singles = (
            sorted(prefix + name for name, foreign in sources if foreign is kind) for kind in (False, True)
        )
        return batches, singles

    def _attend(self) -> None:
        """Consume the queues of the bundle's sources; those of a source that is gone keep what they hold."""
        wanted = self._wanted()
        self._attend_at = float("inf")
        if wanted == self._queues and self._feeds is not None and not self._feeds.missing:
            return
        self._attend_at = time.monotonic() + RETRY
        if wanted == self._queues and self._feeds is not None and not self._appeared(self._feeds.missing):
            return
        self._end_consuming()
        if self._stopping:
            return
        try:
            feeds = Feeds(self._broker, *wanted)
        except BackendError as error:
            self.vitals.failed(CONSUMING, str(error))
            log.warning("broker: %s", error)
            return
        self._renew_committer()
        self._queues = wanted
        self._feeds = feeds or None
        if feeds.missing:
            self.vitals.failed(CONSUMING, f"queue {feeds.missing[0]} is not declared")
            return
        self.vitals.reached(CONSUMING)
        self._attend_at = float("inf")

    def _renew_committer(self) -> None:
        self._committer = Committer(self._store, self._broker, self.counters, self.vitals.alive)
        if self._stopping:  # `stop` may have told the old one
            self._committer.give_up()

    def _appeared(self, missing: Sequence[str]) -> bool:
        try:
            return bool(existing(self._broker, missing))
        except BackendError as error:
            log.warning("broker: %s", error)
            return False

    def _end_consuming(self) -> None:
        self._committer.give_up()
        if self._batch.tags:
            self._commit()
        if self._feeds is not None:
            self._feeds.close()
            self._feeds = None

    # deliveries -----------------------------------------------------------------------------------------------------
    def _take(self, consumer: Consumer, delivery: Delivery, batch: Batch) -> None:
        self._busy_since = time.monotonic()
        self.vitals.alive()
        now = self._clock()
        effects = batch.effects
        try:
            arrived = intake.read(self._settings.namespace, delivery, now)
        except WireError as error:
            effects.letters.append(intake.unreadable(delivery, now, error))
        else:
            arrived = intake.plain(arrived, self.processor.limit, effects.letters)
            records = arrived.records
            if delivery.deliveries >= FROM_DELIVERY:
                records = self._survivors(records, arrived.arrival, effects)
            for record in records:
                self.processor.process(record, arrived.arrival, effects)
        effects.bytes += len(delivery.body)
        self.counters.totals["bytes"] += len(delivery.body)
        batch.tags.append((consumer, delivery.tag))
        self._busy_since = 0.0

    def _survivors(self, records: Sequence[Record], arrival: Arrival, effects: Effects) -> Sequence[Record]:
        make, args = self._isolation
        good = []
        with Isolation(make, self._settings.namespace, *args) as isolation:
            for record in records:
                self._busy_since = time.monotonic()
                self.vitals.alive()
                why = isolation.verdict(record, arrival)
                if why:
                    effects.letters.append(arrival.letter(record, "Poison", f"processing it {why}"))
                else:
                    good.append(record)
        return good

    # telling others -------------------------------------------------------------------------------------------------
    def samples(self) -> Iterator[Sample]:
        """The metrics, for a scrape."""
        yield from vital_samples(self.vitals)
        yield from readings.samples(self.counters, self.processor)

    def _beat(self, incarnation: str, started: int) -> None:
        busy = self._busy_since
        if busy and time.monotonic() - busy > STUCK:
            log.critical("a delivery is not done after %.0f s; ending, so that it is tried in isolation", STUCK)
            os._exit(70)
        now = self._clock()
        for source in self.processor.sources:
            if self._settings.wants(source):
                self.counters.source(source).lag = self._lag(source, now)
        self.counters.rule_failures(dict(self.processor.ruleset.failures))
        look_for_broker(self._broker, self.vitals)
        try:
            beat(
                self._store,
                role="pipeline",
                worker=self._settings.worker,
                incarnation=incarnation,
                started=started,
                now=now,
                body=self._said(now),
            )
        except BackendError as error:
            self.vitals.failed(STORE, str(error))
            raise
        self.vitals.reached(STORE)
        if self._follower.current:
            self.vitals.reached(BUNDLE)

    def _said(self, now: int) -> dict[str, Any]:
        problems = [self._follower.problem, self._committer.problem, *self.processor.ruleset.problems()]
        return {
            "bundle": self._follower.current,
            "engine": self.processor.ruleset.state(),
            "errors": [problem for problem in problems if problem],
            "tests": self.processor.enrichments.tests(),
            **self.counters.to_json(now),
        }

    def _lag(self, source: str, now: int) -> int:
        """How long the oldest message of a source has been waiting, in ms."""
        try:
            oldest = self._broker.stats(self._settings.prefix + source).oldest
        except BackendError:
            return self.counters.source(source).lag  # what was known last; the heartbeat tells more than this
        return 0 if oldest is None else max(now - oldest, 0)
