"""The responder worker of one namespace: notices in, incidents out, until it is told to stop.

The queue has a single active consumer, so that a group's alerts are not worked on by two responders as a rule; where
they are all the same (one was paused, and came back), the store's versions decide. Within the worker groups are handled
side by side (`lanes`), while the main loop fetches, acknowledges and keeps the probes right.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vedette_backends.broker.protocol import Broker, Consumer, Delivery
from vedette_backends.cluster.protocol import Cluster
from vedette_backends.errors import BackendError, NotFoundError, RefusedError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting import notices
from vedette_engine.alerting.notices import Notice, NoticeError
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.metrics import Sample, vital_samples
from vedette_workers.pipeline.intake import is_foreign
from vedette_workers.responder.lanes import THREADS, Lanes, Work
from vedette_workers.responder.rate import Limit
from vedette_workers.responder.responder import Responder
from vedette_workers.status import BROKER, CONSUMING, STORE, Vitals, look_for_broker

log = logging.getLogger(__name__)

PREFETCH = 20
IDLE = 0.2
SETTLE_AGAIN = 1.0
LOOK_AGAIN = 1.0
"""Seconds for which an incident is taken for open without asking the cluster again."""
STUCK = 60.0
"""Seconds that one notice may take before the worker counts as hanging: several requests, each of which may wait."""
_METRICS = {
    "notices": "vedette_responder_notices_total",
    "opened": "vedette_responder_incidents_opened_total",
    "linked": "vedette_responder_alerts_linked_total",
    "limited": "vedette_responder_alerts_limited_total",
    "failures": "vedette_responder_failures_total",
    "rejected": "vedette_responder_rejected_messages_total",
}


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one worker.

    Attributes:
        namespace: whose alerts.
        worker: its name in heartbeats.
        limit: of incidents per rule.
        beat_interval: seconds.
        threads: how many groups are handled at a time.
    """

    namespace: str
    worker: str = "responder"
    limit: Limit = field(default_factory=Limit)
    beat_interval: float = 1.0
    threads: int = THREADS


class ResponderWorker:
    """Runs in the thread that calls `run`; `stop` may be called from any thread or signal handler.

    Args:
        settings: what it serves.
        store, broker: of the namespace.
        cluster: where Incidents live.
        clock: ms since the epoch.
        vitals: where probes look.
        incarnation: in heartbeats and logs; drawn when it is not given.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
        cluster: Cluster,
        *,
        clock: Callable[[], int] = now_ms,
        vitals: Vitals | None = None,
        incarnation: str = "",
    ) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._clock = clock
        self._stopping = False
        self.vitals = vitals or Vitals()
        self.vitals.expect(STORE, BROKER, CONSUMING)
        self.responder = Responder(settings.namespace, store, cluster, clock, settings.limit)
        self._lanes = Lanes(self._handle, settings.threads)
        self._consumer: Consumer | None = None
        self._held = 0
        self._unsettled: list[Work] = []
        self._settle_at = self._look_at = 0.0
        self._failure = ""
        self._pulse = Pulse(settings.beat_interval, self._beat, incarnation)

    def stop(self) -> None:
        """Finish the notices at hand, return from `run`. What is left stays in the queue."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`."""
        self._pulse.start()
        try:
            while not self._stopping:
                if self._lanes.longest < STUCK:
                    self.vitals.alive()
                if self._consumer is None and not self._begin():
                    time.sleep(IDLE)
                    continue
                self._look_again()
                self._fetch()
                self._settle()
        finally:
            self._lanes.close()
            if self._consumer is not None:
                self._settle_at = 0.0
                self._settle()
                self._consumer.close()
            self._pulse.stop()

    def _begin(self) -> bool:
        try:
            with contextlib.suppress(RefusedError):
                # In a cluster the operator alone may, and did.
                self._broker.declare(ALERT_QUEUE, single_active_consumer=True)
            self._consumer = self._broker.consume([ALERT_QUEUE], prefetch=PREFETCH)
        except BackendError as error:
            self.vitals.failed(CONSUMING, str(error))
            log.warning("broker: %s", error)
            return False
        self.vitals.reached(CONSUMING)
        return True

    def _look_again(self) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_AGAIN
            self.responder.look_again()

    # deliveries -----------------------------------------------------------------------------------------------------
    def _fetch(self) -> None:
        """Take messages as long as few are at hand; waits a moment where there is nothing to do."""
        assert self._consumer is not None
        room = PREFETCH - self._held
        if room <= 0:
            self._unsettled += self._lanes.done(IDLE)
            return
        try:
            deliveries = self._consumer.fetch(room, IDLE)
        except BackendError as error:
            self.vitals.failed(BROKER, str(error))
            log.warning("broker: %s", error)
            time.sleep(IDLE)
            return
        if deliveries:
            self.vitals.reached(BROKER)
        for delivery in deliveries:
            self._take(delivery)

    def _take(self, delivery: Delivery) -> None:
        self._held += 1
        work = Work(delivery.tag)
        told: list[Notice] = []
        if is_foreign(delivery):
            work.refused = "it came through an exchange; notices are published by pipelines only"
        else:
            try:
                told = notices.decode(delivery.body, delivery.headers)
            except NoticeError as error:
                work.refused = str(error)
        if work.refused:
            log.warning("a message in the queue %s is set aside: %s", ALERT_QUEUE, work.refused)
            self.responder.count("rejected")
        self._lanes.put(work, told)

    def _handle(self, notice: Notice) -> Exception | None:
        """One notice, in a thread of the lanes. One that cannot be handled holds up its own group and message only."""
        try:
            self.responder.handle(notice)
        except Exception as error:  # whatever is wrong with it, the others go on
            if not isinstance(error, BackendError):
                log.exception("alert %s", notice.alert)
            self.responder.count("failures")
            self._failure = f"alert {notice.alert} of rule {notice.rule}: {type(error).__name__}: {error}"
            log.warning("%s has no incident yet", self._failure)
            return error
        self.responder.count("notices")
        return None

    def _settle(self) -> None:
        """Tell the broker which messages are done; what it could not be told is told again."""
        self._unsettled += self._lanes.done()
        if time.monotonic() < self._settle_at:
            return
        left = [work for work in self._unsettled if not self._settled(work)]
        self._held -= len(self._unsettled) - len(left)
        self._unsettled = left
        if left:
            self._settle_at = time.monotonic() + SETTLE_AGAIN

    def _settled(self, work: Work) -> bool:
        """Tell the broker that the message is done; whether it knows."""
        assert self._consumer is not None
        try:
            if work.refused:
                self._consumer.reject(work.tag, work.refused)
            else:
                self._consumer.ack([work.tag])
        except NotFoundError:
            log.warning("a message was taken back before it was acknowledged; its alerts are recognised")
        except BackendError as error:
            log.warning("broker: %s", error)
            return False
        return True

    # telling others -------------------------------------------------------------------------------------------------
    def samples(self) -> Iterator[Sample]:
        """The metrics, for a scrape."""
        yield from vital_samples(self.vitals)
        for name, metric in _METRICS.items():
            yield metric, (), self.responder.counters[name]
        yield "vedette_responder_waiting_notices", (), self._lanes.waiting()

    def _beat(self, incarnation: str, started: int) -> None:
        look_for_broker(self._broker, self.vitals)
        try:
            beat(
                self._store,
                role="responder",
                worker=self._settings.worker,
                incarnation=incarnation,
                started=started,
                now=self._clock(),
                body={
                    "errors": [self._failure] if self._lanes.failing else [],
                    "counters": dict(self.responder.counters),
                    "waiting": self._lanes.waiting(),
                },
            )
        except BackendError as error:
            self.vitals.failed(STORE, str(error))
            raise
        self.vitals.reached(STORE)
