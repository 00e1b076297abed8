"""The scheduler worker of one namespace: searches over what was stored, each in its own rhythm.

One is enough for a namespace. Two at a time do no harm: each round is remembered under a version, and the slower one
begins anew with what the faster one remembered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from vedette_backends.broker.protocol import Broker
from vedette_backends.errors import BackendError, ConflictError, UnavailableError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import Bundle
from vedette_workers.heartbeat import Pulse, beat
from vedette_workers.metrics import Sample, vital_samples
from vedette_workers.pipeline.follow import BundleFollower
from vedette_workers.scheduler.figures import Figures, samples
from vedette_workers.scheduler.plan import Entry, Plan, messages
from vedette_workers.scheduler.round import Rounds
from vedette_workers.status import BROKER, BUNDLE, STORE, Vitals, look_for_broker

log = logging.getLogger(__name__)

IDLE: Final = 0.1
SETTLE: Final = 45_000
"""ms: longer than a bulk request may take, with its refresh, and the permitted difference of clocks."""
SWEEP_EVERY: Final = 3600.0
"""Seconds between two looks at what is remembered of rules that are gone."""
SWEEP_AGAIN: Final = 10.0
MAX_ERRORS: Final = 20


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one worker.

    Attributes:
        namespace: whose events.
        worker: name in heartbeats.
        settle: ms after which everything that was stored can be read, whoever stored it and whatever his clock said.
        bundle_interval, beat_interval: seconds.
    """

    namespace: str
    worker: str = "scheduler"
    settle: int = SETTLE
    bundle_interval: float = 1.0
    beat_interval: float = 1.0


class _StoppedError(Exception):
    """The worker is to stop: the round at hand is left, and begun again by the next worker."""


class SchedulerWorker:
    """Runs in the thread that calls `run`; `stop` may be called from any thread or signal handler.

    Args:
        settings: what it serves.
        store, broker: of the namespace.
        clock: ms since the epoch.
        vitals: where probes look.
        incarnation: in heartbeats and logs; drawn when it is not given.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
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
        self._parting = False
        self.vitals = vitals or Vitals()
        self.vitals.expect(BUNDLE, STORE, BROKER)
        self.plan = Plan()
        self._rounds = Rounds(settings.namespace, store, broker, clock, settings.settle, self._breathe)
        self._follower = BundleFollower(store, self._load, interval=settings.bundle_interval, clock=time.monotonic)
        self._gone: set[str] = set()
        self._sweep_at = 0.0
        self._pulse = Pulse(settings.beat_interval, self._beat, incarnation)

    # life -----------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Leave the round at hand, return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`."""
        self._pulse.start()
        try:
            while not self._stopping:
                self.vitals.alive()
                self._follow()
                entry = self.plan.due(time.monotonic())
                if entry is None:
                    self._tidy()
                    time.sleep(IDLE)
                else:
                    self._round(entry)
            self._part()
        finally:
            self._pulse.stop()

    def _breathe(self) -> None:
        self.vitals.alive()
        if self._stopping and not self._parting:
            raise _StoppedError

    def _follow(self) -> None:
        if self._follower.poll():
            self.vitals.reached(BUNDLE)
            self._pulse.now()

    def _load(self, bundle: Bundle, _tables: Callable[[str], bytes]) -> None:
        self._gone.update(self.plan.load(bundle, time.monotonic()))
        for name, why in self.plan.broken.items():
            log.error("rule %s: %s", name, why)

    # rounds ---------------------------------------------------------------------------------------------------------
    def _round(self, entry: Entry) -> None:
        """One round. Whatever goes wrong with one rule does not stop the others."""
        name, figures = entry.scheduled.rule.name, entry.figures
        try:
            more = self._rounds.run(entry.scheduled, figures)
        except _StoppedError:
            return
        except ConflictError as error:
            log.info("rule %s: another scheduler was faster: %s", name, error)
            entry.failed(time.monotonic())
        except UnavailableError as error:
            log.warning("rule %s waits: %s", name, error)
            figures.failures += 1
            entry.failed(time.monotonic())
        except Exception as error:
            if isinstance(error, BackendError):
                log.warning("rule %s: %s", name, error)
            else:
                log.exception("rule %s", name)
            figures.failures += 1
            figures.error = f"the search fails: {type(error).__name__}: {error}"[:500]
            entry.failed(time.monotonic())
        else:
            self.vitals.reached(STORE)
            entry.done(time.monotonic(), more=more)

    def _tidy(self) -> None:
        """Note which rules are gone, and forget in the end what is remembered of them."""
        if time.monotonic() >= self._sweep_at and self._follower.current:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
            self._retire(None)
        elif self._gone:
            self._retire(self._gone)

    def _retire(self, names: set[str] | None) -> None:
        """Note that these are gone; None stands for all that are remembered and not in force."""
        try:
            for name in sorted(self._rounds.remembered() if names is None else names):
                if not self.plan.knows(name):
                    self._rounds.retire(name)
                self._gone.discard(name)
        except _StoppedError:
            return
        except BackendError as error:
            log.warning("rules that are gone are noted later: %s", error)
            self._sweep_at = time.monotonic() + SWEEP_AGAIN

    def _part(self) -> None:
        """A worker is stopped when the last rule is gone, perhaps before it could see that: it looks once more."""
        self._parting = True
        self._follower = BundleFollower(self._store, self._load, interval=0.0, clock=time.monotonic)
        if self._follower.poll():
            self._retire(self._gone)

    # telling others -------------------------------------------------------------------------------------------------
    def samples(self) -> Iterator[Sample]:
        """The metrics, for a scrape."""
        yield from vital_samples(self.vitals)
        yield from samples(self._figures())

    def _figures(self) -> dict[str, tuple[Figures, int]]:
        now, settle = self._clock(), self._settings.settle
        return {
            name: (entry.figures, entry.figures.overdue(now, entry.scheduled.spec.every, settle))
            for name, entry in dict(self.plan.entries).items()
        }

    def _beat(self, incarnation: str, started: int) -> None:
        try:
            beat(
                self._store,
                role="scheduler",
                worker=self._settings.worker,
                incarnation=incarnation,
                started=started,
                now=self._clock(),
                body=self._said(),
            )
        except BackendError as error:
            self.vitals.failed(STORE, str(error))
            raise
        self.vitals.reached(STORE)
        if self._follower.current:
            self.vitals.reached(BUNDLE)
        look_for_broker(self._broker, self.vitals)

    def _said(self) -> dict[str, Any]:
        broken = dict(self.plan.broken)
        problems = [self._follower.problem, *(f"rule {name}: {why}" for name, why in broken.items())]
        problems += messages(list(self.plan.entries.values()))
        rules = {name: figures.to_json(overdue) for name, (figures, overdue) in self._figures().items()}
        return {
            "bundle": self._follower.current,
            "errors": [problem for problem in problems if problem][:MAX_ERRORS],
            "rules": {**rules, **{name: {"error": why} for name, why in broken.items()}},
        }
