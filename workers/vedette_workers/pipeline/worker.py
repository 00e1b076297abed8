"""The pipeline worker of one namespace: consume → process → commit → ack, until it is told to stop.

A batch closes every `FLUSH` seconds under load, and at once when nothing was committed for that long: a single event
is not kept waiting.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vedette_backends.broker.protocol import Broker, Consumer, Delivery
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.store.protocol import DeadLetter, Store
from vedette_engine.alerting.bundle import Bundle
from vedette_engine.alerting.ids import dead_letter_id
from vedette_engine.wire import QUEUE_PREFIX, Record, WireError, decode
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.librarian.expire import EVERY, drop_expired
from vedette_workers.pipeline.committer import Batch, Committer
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import ATTEMPT, Arrival, Effects
from vedette_workers.pipeline.follow import BundleFollower
from vedette_workers.pipeline.isolation import FROM_DELIVERY, Isolation, Try
from vedette_workers.pipeline.processor import Processor

log = logging.getLogger(__name__)

FLUSH = 0.25
MAX_EVENTS = 4000
MAX_BYTES = 16 << 20
PREFETCH = 24
FETCH = 4
IDLE = 0.1
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
    """Of one worker. `queues` are found by `prefix` among the broker's queues: each source has one."""

    namespace: str
    prefix: str = QUEUE_PREFIX
    bundle_interval: float = 0.25
    beat_interval: float = 1.0


class PipelineWorker:
    """Runs in the thread that calls `run`; `stop` may be called from any thread or signal handler."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
        make_try: Callable[..., Try],
        *try_args: str | Path,
        clock: Clock = now_ms,
    ) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._clock = clock
        self._stopping = False
        self._unattended = False
        self.counters = Counters()
        self._processor = Processor(settings.namespace, self.counters)
        self._follower = BundleFollower(store, self._load, interval=settings.bundle_interval, clock=time.monotonic)
        self._consumer: Consumer | None = None
        self._committer: Committer | None = None
        self._queues: list[str] = []
        self._isolation = (make_try, try_args)
        self._busy_since = 0.0
        self._batch = Batch()
        self._committed = 0.0
        self._tidy_at = 0.0
        self._pulse = Pulse(settings.beat_interval, self._beat)

    # life -----------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Finish what was fetched, ack it, return from `run`. What cannot be committed now stays in the queue."""
        # A plain flag: this runs in signal handlers, where taking a lock that the main thread holds would never end.
        self._stopping = True
        if self._committer is not None:
            self._committer.give_up()

    def run(self) -> None:
        """Work until `stop`. Raises only what no retry can mend."""
        gc.set_threshold(*GC_THRESHOLDS)
        self._pulse.start()
        try:
            while not self._stopping:
                self._follow()
                if self._consumer is None:
                    time.sleep(IDLE)
                    continue
                waiting = FLUSH - (time.monotonic() - self._committed) if self._batch.tags else IDLE
                for delivery in self._fetch(max(0.0, min(waiting, IDLE))):
                    self._take(delivery, self._batch)
                if self._processor.ruleset.settle(time.monotonic()):
                    _keep_loaded()
                if self._due():
                    self._commit()
                self._tidy()
        finally:
            self._end_consuming()
            self._pulse.stop()

    def _tidy(self) -> None:
        """Drop days whose retention is over; the worker does it, because it owns the partitions."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + EVERY
        try:
            self.counters.totals["expired_days"] += drop_expired(self._store)
        except BackendError as error:
            log.warning("expired days stay for now: %s", error)

    def _fetch(self, timeout: float) -> list[Delivery]:
        assert self._consumer is not None
        try:
            return self._consumer.fetch(FETCH, timeout)
        except BackendError as error:
            log.warning("broker: %s", error)
            time.sleep(IDLE)
            return []

    def _due(self) -> bool:
        batch = self._batch
        if not batch.tags:
            return False
        if len(batch.effects.events) >= MAX_EVENTS or batch.effects.bytes >= MAX_BYTES:
            return True
        return time.monotonic() - self._committed >= FLUSH

    def _commit(self) -> None:
        assert self._committer is not None
        self._committer.commit(self._batch)
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
            self._pulse.now()
            self._attend()
        elif self._follower.current and (self._consumer is None or self._unattended):
            self._attend()

    def _load(self, bundle: Bundle, tables: Callable[[str], bytes]) -> None:
        self._processor.load(bundle, tables)

    def _attend(self) -> None:
        """Consume the queues of the bundle's sources; those of a source that is gone keep what they hold."""
        self._unattended = True
        try:
            wanted = {self._settings.prefix + source for source in self._processor.sources}
            queues = [name for name in self._broker.queues() if name in wanted]
            if queues == self._queues and self._consumer is not None:
                self._unattended = False
                return
            self._end_consuming()
            if queues:
                self._consumer = self._broker.consume(queues, prefetch=PREFETCH)
                self._committer = Committer(self._store, self._consumer, self.counters)
            self._queues = queues
            self._unattended = False
        except (BackendError, NotFoundError) as error:
            log.warning("broker: %s", error)

    def _end_consuming(self) -> None:
        if self._committer is not None:
            self._committer.give_up()
            if self._batch.tags:
                self._commit()
            self._committer = None
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    # deliveries -----------------------------------------------------------------------------------------------------
    def _take(self, delivery: Delivery, batch: Batch) -> None:
        self._busy_since = time.monotonic()
        now = self._clock()
        effects = batch.effects
        try:
            message = decode(self._settings.namespace, delivery.body, delivery.headers)
        except WireError as error:
            effects.letters.append(self._whole(delivery, now, str(error)))
        else:
            attempt = delivery.headers.get(ATTEMPT, "")
            arrival = Arrival(message.source, message.ingested, now, delivery.redelivered, attempt)
            records: Sequence[Record] = message.records
            if delivery.deliveries >= FROM_DELIVERY:
                records = self._survivors(records, arrival, effects)
            for record in records:
                self._processor.process(record, arrival, effects)
        effects.bytes += len(delivery.body)
        self.counters.totals["bytes"] += len(delivery.body)
        batch.tags.append(delivery.tag)
        self._busy_since = 0.0

    def _survivors(self, records: Sequence[Record], arrival: Arrival, effects: Effects) -> Sequence[Record]:
        make, args = self._isolation
        good = []
        with Isolation(make, self._settings.namespace, *args) as isolation:
            for record in records:
                self._busy_since = time.monotonic()
                why = isolation.verdict(record, arrival)
                if why:
                    effects.letters.append(arrival.letter(record, "Poison", f"processing it {why}"))
                else:
                    good.append(record)
        return good

    def _whole(self, delivery: Delivery, now: int, detail: str) -> DeadLetter:
        """A message that is not one of ours, set aside as it is."""
        headers = dict(delivery.headers)
        identity = headers.get(ATTEMPT, "") + delivery.body.hex()
        return DeadLetter(
            id=dead_letter_id(identity, "UnreadableMessage"),
            time=now,
            source=delivery.queue.removeprefix(self._settings.prefix),
            reason="UnreadableMessage",
            detail=detail,
            original=delivery.body,
            headers=headers,
        )

    # heartbeat ------------------------------------------------------------------------------------------------------
    def _beat(self, incarnation: str, started: int) -> None:
        busy = self._busy_since
        if busy and time.monotonic() - busy > STUCK:
            log.critical("a delivery is not done after %.0f s; ending, so that it is tried in isolation", STUCK)
            os._exit(70)
        now = self._clock()
        for source in self._processor.sources:
            self.counters.source(source).lag = self._lag(source, now)
        self.counters.rule_failures(dict(self._processor.ruleset.failures))
        committer = self._committer
        problems = [self._follower.problem, committer.problem if committer else "", *self._processor.ruleset.problems()]
        beat(
            self._store,
            role="pipeline",
            incarnation=incarnation,
            started=started,
            now=now,
            body={
                "bundle": self._follower.current,
                "engine": self._processor.ruleset.state(),
                "errors": [problem for problem in problems if problem],
                **self.counters.to_json(now),
            },
        )

    def _lag(self, source: str, now: int) -> int:
        """How long the oldest message of a source has been waiting, in ms."""
        try:
            oldest = self._broker.stats(self._settings.prefix + source).oldest
        except BackendError:
            return self.counters.source(source).lag  # what was known last; the heartbeat tells more than this
        return 0 if oldest is None else max(now - oldest, 0)
