"""One namespace with its real store and broker, a clock that tests set, and schedulers on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.broker.embedded import open_broker
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import Alert, AlertFilter, NewEvent
from vedette_engine.alerting import notices
from vedette_engine.alerting.bundle import HEAD, Bundle, BundledRule, encode
from vedette_engine.alerting.notices import Notice
from vedette_engine.alerting.searches import Limits, SearchSpec
from vedette_engine.normalise.document import to_document
from vedette_engine.query.lucene import parse
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.scheduler.figures import Figures
from vedette_workers.scheduler.round import Rounds, Scheduled
from vedette_workers.scheduler.state import COLLECTION, PARENT, RuleState
from vedette_workers.scheduler.worker import SchedulerWorker, Settings

NAMESPACE = "shop"
START = 1_795_000_000_000
SETTLE = 2_000
MINUTE = 60_000


class CrashError(Exception):
    """The process is gone: nothing that it would have done afterwards is done."""


class Fragile:
    """Store and broker that are the real ones, and crash before or after the n-th call of all."""

    def __init__(self, at: int = -1, *, late: bool = False) -> None:
        self.calls: list[str] = []
        self._at = at
        self._late = late

    def around(self, real: Any) -> Any:
        """The real one, watched."""
        return _Watched(self, real)

    def call(self, name: str, method: Any, arguments: Any, options: Any) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if number == self._at and not self._late:
            raise CrashError(name)
        result = method(*arguments, **options)
        if number == self._at:
            raise CrashError(name)
        return result


class _Watched:
    def __init__(self, fragile: Fragile, real: Any) -> None:
        self._fragile = fragile
        self._real = real

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        return lambda *arguments, **options: self._fragile.call(name, method, arguments, options)


class Desk:
    """What a scheduler works with. Times of events are in minutes after the start."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.writer = open_store(folder / "ns", writer=True, clock=lambda: self.now)
        self.store = open_store(folder / "ns", writer=False, clock=lambda: self.now)
        self.broker = open_broker(folder / "ns")
        self._events = 0
        self._workers: list[tuple[SchedulerWorker, threading.Thread]] = []

    # events ---------------------------------------------------------------------------------------------------------
    def send(self, *minutes: float, ip: str = "192.0.2.7", **fields: Any) -> list[str]:
        """Events of these times, stored now; their ids."""
        made = []
        for at in minutes:
            self._events += 1
            time = START + round(at * MINUTE)
            event = {"event.action": "tried", "source.ip": ip, "user.name": "root", **fields}
            made.append(
                NewEvent(
                    id=f"{self._events:032x}",
                    ingested=self.now,
                    time=time,
                    hash=f"h{self._events}",
                    document=to_document(event),
                    maybe_repeat=False,
                )
            )
        self.writer.create_events("7d", made)
        return [event.id for event in made]

    def passes(self, minutes: float) -> None:
        """Time goes on."""
        self.now += round(minutes * MINUTE)

    # rules ----------------------------------------------------------------------------------------------------------
    def rule(
        self,
        name: str = "guesses",
        *,
        query: str = "event.action:tried",
        window: float = 20,
        every: float = 1,
        by: tuple[str, ...] = ("source.ip",),
        least: int | None = 1,
        distinct: tuple[str, int] | None = None,
        version: str = "1",
        **fields: Any,
    ) -> BundledRule:
        """A rule as the operator puts it into the bundle."""
        spec = SearchSpec(
            query=query,
            every=round(every * MINUTE),
            window=round(window * MINUTE),
            group_by=by,
            count=None if least is None else Limits(at_least=least),
            distinct=None if distinct is None else (distinct[0], Limits(at_least=distinct[1])),
        )
        return BundledRule(
            name=name, hash=f"{name}-{version}", sigma=(), severity="high", search=spec.to_json(), **fields
        )

    def scheduled(self, rule: BundledRule) -> Scheduled:
        """The rule as a scheduler holds it."""
        spec = SearchSpec.from_json(rule.search)
        return Scheduled(rule, spec, parse(spec.query))

    def publish(self, *rules: BundledRule) -> str:
        """Bring a bundle of these rules into force."""
        head = self.store.put_blob(encode(Bundle(NAMESPACE, rules=rules)))
        self.store.set_head(HEAD, head)
        return head

    # schedulers -----------------------------------------------------------------------------------------------------
    def rounds(self, fragile: Fragile | None = None, breathe: Any = None, store: Any = None) -> Rounds:
        """A scheduler that has just begun."""
        watch = (fragile or Fragile()).around
        return Rounds(
            NAMESPACE,
            watch(store or self.store),
            watch(self.broker),
            lambda: self.now,
            SETTLE,
            breathe or (lambda: None),
        )

    def look(self, rule: BundledRule, rounds: Rounds | None = None, figures: Figures | None = None) -> Figures:
        """Rounds until there is no more to look at, once what was stored has settled."""
        self.now += SETTLE
        figures = figures or Figures()
        rounds = rounds or self.rounds()
        while rounds.run(self.scheduled(rule), figures):
            pass
        return figures

    def worker(self, *, store: Any = None, broker: Any = None, **settings: Any) -> SchedulerWorker:
        """A worker that runs in a thread until the test ends."""
        told = {"settle": SETTLE, "bundle_interval": 0.02, "beat_interval": 0.05, **settings}
        made = SchedulerWorker(
            Settings(NAMESPACE, **told), store or self.store, broker or self.broker, clock=lambda: self.now
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        self._workers.append((made, thread))
        return made

    # what is seen ---------------------------------------------------------------------------------------------------
    def alerts(self, rule: str = "guesses") -> list[Alert]:
        """By time."""
        page = self.store.search_alerts(AlertFilter(rules=(rule,)), size=1000)
        return sorted(page.alerts, key=lambda alert: (alert.time, alert.id))

    def minutes(self, rule: str = "guesses") -> list[float]:
        """When alerts were opened, after the start."""
        return [(alert.time - START) / MINUTE for alert in self.alerts(rule)]

    def notices(self) -> list[Notice]:
        """What the responder was told; taken from the queue."""
        self.broker.declare(ALERT_QUEUE, single_active_consumer=True)
        consumer = self.broker.consume([ALERT_QUEUE], prefetch=1000)
        found = [
            notice
            for delivery in consumer.fetch(1000, 0.0)
            for notice in notices.decode(delivery.body, delivery.headers)
        ]
        consumer.close()
        return found

    def state(self, rule: str = "guesses") -> RuleState:
        """What is remembered of a rule."""
        record = self.store.get_record(COLLECTION, PARENT, rule)
        assert record is not None
        return RuleState.read(record.body)

    def beat(self) -> dict[str, Any]:
        """The scheduler's last heartbeat; {} while there is none."""
        return dict(next((beat.body for beat in self.store.heartbeats() if beat.worker == "scheduler"), {}))

    def stop(self) -> None:
        """Stop the workers; they must end by themselves."""
        for worker, thread in self._workers:
            worker.stop()
            thread.join(20)
            assert not thread.is_alive(), "the scheduler does not end"
        self._workers.clear()

    def close(self) -> None:
        self.stop()
        self.broker.close()
        self.store.close()
        self.writer.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fragile() -> type[Fragile]:
    return Fragile


@pytest.fixture
def crash() -> type[Exception]:
    return CrashError
