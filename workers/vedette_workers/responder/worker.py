"""The responder worker of one namespace: notices in, incidents out, until it is told to stop.

The queue has a single active consumer, so that a group's alerts are not worked on by two responders as a rule; where
they are all the same (one was paused, and came back), the store's versions decide.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vedette_backends.broker.protocol import Broker, Consumer, Delivery
from vedette_backends.cluster.protocol import Cluster
from vedette_backends.errors import BackendError, NotFoundError, RefusedError, UnavailableError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting import notices
from vedette_engine.alerting.notices import Notice, NoticeError
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.metrics import Sample, vital_samples
from vedette_workers.pipeline.intake import is_foreign
from vedette_workers.responder.rate import Limit
from vedette_workers.responder.responder import Responder
from vedette_workers.status import BROKER, CONSUMING, STORE, Vitals

log = logging.getLogger(__name__)

PREFETCH = 20
IDLE = 0.2
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
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
    """Of one worker. `worker`: name in heartbeats; `limit`: of incidents per rule; `beat_interval` in seconds."""

    namespace: str
    worker: str = "responder"
    limit: Limit = field(default_factory=Limit)
    beat_interval: float = 1.0


@dataclass(slots=True)
class _Work:
    """A delivery that is not done.

    Attributes:
        left: notices that are not handled.
        refused: why it is none of ours; empty for those that are.
        again_at: when to try again, monotonic seconds.
    """

    tag: int
    left: list[Notice]
    refused: str = ""
    pause: float = FIRST_PAUSE
    again_at: float = 0.0


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
        self._consumer: Consumer | None = None
        self._pending: list[_Work] = []
        self._problem = ""
        self._failure = ""
        self._pulse = Pulse(settings.beat_interval, self._beat, incarnation)

    def stop(self) -> None:
        """Finish the message at hand, return from `run`. What is left stays in the queue."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`."""
        self._pulse.start()
        try:
            while not self._stopping:
                self.vitals.alive()
                if self._consumer is None and not self._begin():
                    time.sleep(IDLE)
                    continue
                self._fetch()
                self._work()
        finally:
            if self._consumer is not None:
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

    def _fetch(self) -> None:
        assert self._consumer is not None
        room = PREFETCH - len(self._pending)
        if room <= 0:
            time.sleep(IDLE)
            return
        try:
            deliveries = self._consumer.fetch(room, IDLE)
        except BackendError as error:
            self.vitals.failed(BROKER, str(error))
            log.warning("broker: %s", error)
            time.sleep(IDLE)
            return
        self.vitals.reached(BROKER)
        self._pending += map(self._taken, deliveries)

    def _taken(self, delivery: Delivery) -> _Work:
        refused = ""
        if is_foreign(delivery):
            refused = "it came through an exchange; notices are published by pipelines only"
        else:
            try:
                return _Work(delivery.tag, notices.decode(delivery.body, delivery.headers))
            except NoticeError as error:
                refused = str(error)
        log.warning("a message in the queue %s is set aside: %s", ALERT_QUEUE, refused)
        self.responder.counters["rejected"] += 1
        return _Work(delivery.tag, [], refused)

    def _work(self) -> None:
        """Try what is due. A notice that cannot be handled holds up its own message, not the others."""
        self.responder.look_again()
        self._problem = ""
        for work in list(self._pending):
            if self._stopping:
                return
            if time.monotonic() < work.again_at:
                continue
            work.left = [notice for notice in work.left if not self._handle(notice)]
            if not work.left and self._settle(work):
                self._pending.remove(work)
                continue
            work.again_at = time.monotonic() + work.pause
            work.pause = min(work.pause * 2, LONGEST_PAUSE)

    def _handle(self, notice: Notice) -> bool:
        self.vitals.alive()
        if self._stopping or self._problem:
            return False
        try:
            self.responder.handle(notice)
        except UnavailableError as error:
            self._fail(notice, error)
            self._problem = str(error)  # it is down for the others too
            return False
        except Exception as error:
            if not isinstance(error, BackendError):
                log.exception("alert %s", notice.alert)
            self._fail(notice, error)
            return False
        self.responder.counters["notices"] += 1
        return True

    def _fail(self, notice: Notice, error: Exception) -> None:
        self.responder.counters["failures"] += 1
        self._failure = f"alert {notice.alert} of rule {notice.rule}: {type(error).__name__}: {error}"
        log.warning("%s has no incident yet", self._failure)

    def _settle(self, work: _Work) -> bool:
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

    def samples(self) -> Iterator[Sample]:
        """The metrics, for a scrape."""
        yield from vital_samples(self.vitals)
        for name, metric in _METRICS.items():
            yield metric, (), self.responder.counters[name]
        yield "vedette_responder_waiting_notices", (), self._waiting()

    def _waiting(self) -> int:
        return sum(len(work.left) for work in list(self._pending))

    def _beat(self, incarnation: str, started: int) -> None:
        failing = bool(self._pending) and any(work.again_at for work in self._pending)
        try:
            beat(
                self._store,
                role="responder",
                worker=self._settings.worker,
                incarnation=incarnation,
                started=started,
                now=self._clock(),
                body={
                    "errors": [self._failure] if failing and self._failure else [],
                    "counters": dict(self.responder.counters),
                    "waiting": self._waiting(),
                },
            )
        except BackendError as error:
            self.vitals.failed(STORE, str(error))
            raise
        self.vitals.reached(STORE)
