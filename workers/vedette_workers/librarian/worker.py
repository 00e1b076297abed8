"""The librarian: one process that keeps house for all namespaces of a release.

It drops days whose retention is over and moves what lies in dead-letter queues into the stores. Under `vedette up` the
pipeline of each namespace does both, since it owns the namespace's files.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vedette_backends.broker.protocol import Broker
from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import HEAD, decode
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.librarian.expire import EVERY, drop_expired
from vedette_workers.librarian.fleet import Fleet
from vedette_workers.librarian.letters import drain
from vedette_workers.metrics import Sample, vital_samples
from vedette_workers.status import BUNDLE, STORE, Vitals

log = logging.getLogger(__name__)

MAX_ERRORS = 20


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the librarian.

    Attributes:
        worker: name in heartbeats.
        fleet_interval: seconds between two looks at the list of namespaces.
        drain_interval: seconds between two looks into the dead-letter queues.
        expire_interval: seconds between two looks at days that may be over.
        beat_interval: seconds between heartbeats.
    """

    worker: str = "librarian"
    fleet_interval: float = 1.0
    drain_interval: float = 5.0
    expire_interval: float = EVERY
    beat_interval: float = 1.0


@dataclass(slots=True)
class _House:
    """One namespace. Times are monotonic seconds."""

    store: Store
    broker: Broker
    drain_at: float = 0.0
    expire_at: float = 0.0
    problem: str = ""
    head: str = ""
    known: set[str] = field(default_factory=set)

    def sources(self) -> set[str]:
        """LogSources of the bundle in force, and those that were in one before: their dead letters may come later."""
        head = self.store.head(HEAD)
        if head is not None and head != self.head:
            self.known |= decode(self.store.get_blob(head)).sources.keys()
            self.head = head
        return self.known


class Librarian:
    """Runs in the thread that calls `run`; `stop` may be called from any thread or signal handler.

    Args:
        settings: how often.
        system: the store of the release's own namespace: the list of namespaces is there, and heartbeats go there.
        stores, brokers: open those of a namespace.
        clock: ms since the epoch.
        vitals: where probes look.
        incarnation: in heartbeats and logs; drawn when it is not given.
    """

    def __init__(
        self,
        settings: Settings,
        system: Store,
        stores: Callable[[str], Store],
        brokers: Callable[[str], Broker],
        *,
        clock: Callable[[], int] = now_ms,
        vitals: Vitals | None = None,
        incarnation: str = "",
    ) -> None:
        self._settings = settings
        self._system = system
        self._stores = stores
        self._brokers = brokers
        self._clock = clock
        self._stopping = False
        self._fleet = Fleet(system)
        self._fleet_at = 0.0
        self._houses: dict[str, _House] = {}
        self.counters: Counter[str] = Counter()
        self.vitals = vitals or Vitals()
        self.vitals.expect(STORE, BUNDLE)
        self._pulse = Pulse(settings.beat_interval, self._beat, incarnation)

    def stop(self) -> None:
        """Finish what is at hand, return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`."""
        self._pulse.start()
        try:
            while not self._stopping:
                self.vitals.alive()
                self._follow()
                for namespace in list(self._houses):
                    self._keep(namespace)
                time.sleep(min(self._settings.fleet_interval, 0.2))
        finally:
            for namespace in list(self._houses):
                self._close(namespace)
            self._pulse.stop()

    def _follow(self) -> None:
        if time.monotonic() < self._fleet_at:
            return
        self._fleet_at = time.monotonic() + self._settings.fleet_interval
        if self._fleet.poll():
            self.vitals.reached(STORE)
        else:
            self.vitals.failed(STORE, self._fleet.problem)
        if self._fleet.known:
            self.vitals.reached(BUNDLE)
        for namespace in set(self._houses).difference(self._fleet.names):
            self._close(namespace)
        for namespace in self._fleet.names:
            if namespace not in self._houses:
                self._open(namespace)

    def _open(self, namespace: str) -> None:
        try:
            store = self._stores(namespace)
            try:
                broker = self._brokers(namespace)
            except BackendError:
                store.close()
                raise
        except BackendError as error:
            log.warning("%s: %s", namespace, error)
            return
        self._houses[namespace] = _House(store, broker)

    def _close(self, namespace: str) -> None:
        house = self._houses.pop(namespace)
        for opened in (house.broker, house.store):
            try:
                opened.close()
            except BackendError as error:
                log.warning("%s: %s", namespace, error)

    def _keep(self, namespace: str) -> None:
        """What is due in one namespace; its faults are none of the others'."""
        if self._stopping:
            return
        self.vitals.alive()
        house = self._houses[namespace]
        now = time.monotonic()
        try:
            if now >= house.drain_at:
                house.drain_at = now + self._settings.drain_interval
                self.counters["drained"] += drain(namespace, house.store, house.broker, house.sources(), self._clock)
            if now >= house.expire_at:
                house.expire_at = now + self._settings.expire_interval
                self.counters["expired_days"] += drop_expired(house.store)
        except BackendError as error:
            self._fail(house, namespace, f"{type(error).__name__}: {error}")
        except Exception as error:
            log.exception("%s", namespace)
            self._fail(house, namespace, f"{type(error).__name__}: {error}")
        else:
            house.problem = ""

    def _fail(self, house: _House, namespace: str, problem: str) -> None:
        self.counters["failures"] += 1
        house.problem = problem
        # Nothing is lost by waiting, and much is gained when a backend comes back under load.
        house.drain_at = time.monotonic() + self._settings.drain_interval
        log.warning("%s: %s", namespace, problem)

    def samples(self) -> Iterator[Sample]:
        """The metrics, for a scrape."""
        yield from vital_samples(self.vitals)
        yield "vedette_librarian_namespaces", (), len(self._houses)
        yield "vedette_librarian_failures_total", (), self.counters["failures"]
        yield "vedette_housekeeping_expired_days_total", (), self.counters["expired_days"]
        yield "vedette_housekeeping_drained_dead_letters_total", (), self.counters["drained"]

    def _beat(self, incarnation: str, started: int) -> None:
        problems = [f"{name}: {house.problem}" for name, house in list(self._houses.items()) if house.problem]
        if self._fleet.problem:
            problems.insert(0, self._fleet.problem)
        beat(
            self._system,
            role="librarian",
            worker=self._settings.worker,
            incarnation=incarnation,
            started=started,
            now=self._clock(),
            body={
                "errors": problems[:MAX_ERRORS],
                "namespaces": len(self._houses),
                "counters": dict(self.counters),
            },
        )
