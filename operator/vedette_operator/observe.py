"""What workers report, turned into conditions and statuses. Writes only what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.protocol import Heartbeat, Store
from vedette_crds.problems import Problem
from vedette_operator.flow import Flow, available
from vedette_operator.schedules import Schedule
from vedette_operator.space import Known, Space, is_search
from vedette_operator.statuses import conditions, ready
from vedette_operator.verdict import Finding


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in ms.

    Attributes:
        alive: after which a worker that says nothing counts as dead.
        stats: between two writes of counters alone; pages and metrics show live ones.
        starting: that workers have for their first heartbeat before their absence is reported.
        beats: for which heartbeats count as read.
        searches: between two looks at what schedulers say of rules.
    """

    alive: int = 5_000
    stats: int = 30_000
    starting: int = 10_000
    beats: int = 0
    searches: int = 0


Status = tuple[Key, Mapping[str, Any]]


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


class Observer:
    """Remembers what was written, so that an idle system writes nothing."""

    def __init__(self, clock: Callable[[], int] = now_ms, patience: Patience | None = None) -> None:
        self._clock = clock
        self._patience = patience or Patience()
        self._started = clock() + self._patience.starting
        self._until: dict[str, int] = {}
        self._beats: dict[str, tuple[int, Sequence[Heartbeat]]] = {}
        self._written: dict[Key, tuple[Any, ...]] = {}
        self._stats: dict[Key, tuple[int, Mapping[str, Any]]] = {}
        self._seen: dict[str, tuple[int, Loading, Loading]] = {}
        self._searches: dict[str, list[Known]] = {}
        self._look_at: dict[str, int] = {}
        self._conditions: dict[Key, Sequence[Mapping[str, Any]]] = {}

    def observe(self, space: Space, store: Store) -> Iterator[Status]:
        """Statuses of the namespace's objects that are not written yet."""
        now = self._clock()
        beats = self.beats(space.namespace, store)
        starting = now < self._until.setdefault(space.namespace, now + self._patience.starting)
        if not beats and now < self._started:
            return  # workers are starting: what an earlier run wrote is still the best that is known
        loading = Loading.of(space, beats)
        yield from self._rules(space, loading, self.beats(space.namespace, store, "scheduler"), now)
        for known in space.objects["Enrichment"].values():
            _tested_by_workers(known, beats)
            yield from self._if_new(known, [*known.findings(), *_force(space, known, loading)])
        for known in space.objects["LogSource"].values():
            flow = Flow.of(beats, known.object.key.name)
            silence = flow.receiving(known.object.manifest["spec"], now)
            found = known.findings()
            types = {finding.type for finding in found}
            serving = available(beats, starting=starting)
            findings = [*found, *(finding for finding in serving if finding.type not in types), silence]
            yield from self._if_new(known, findings, flow.stats(), now)

    def _rules(self, space: Space, loading: Loading, schedulers: Sequence[Heartbeat], now: int) -> Iterator[Status]:
        """Thousands of rules are looked at only when something changed that concerns them; searches have figures."""
        searching = Loading.of(space, schedulers, "scheduler")
        if self._seen.get(space.namespace) != (space.revision, loading, searching):
            self._seen[space.namespace] = (space.revision, loading, searching)
            self._searches[space.namespace] = []
            self._look_at[space.namespace] = now
            for name, known in space.objects["AlertRule"].items():
                if is_search(space.part("AlertRule", name)):
                    self._searches[space.namespace].append(known)
                else:
                    yield from self._if_new(known, [*known.findings(), *_force(space, known, loading)])
        if now < self._look_at[space.namespace]:
            return
        self._look_at[space.namespace] = now + self._patience.searches
        for known in self._searches[space.namespace]:
            schedule = Schedule.of(schedulers, known.object.key.name)
            force = [schedule.loaded(finding) for finding in _force(space, known, searching)]
            yield from self._if_new(known, [*known.findings(), *force], schedule.stats(), now)

    def beats(self, namespace: str, store: Store, role: str = "pipeline") -> Sequence[Heartbeat]:
        """Last heartbeats of the workers of a role that live."""
        now = self._clock()
        read, beats = self._beats.get(namespace, (0, ()))
        if now - read >= self._patience.beats:
            beats = store.heartbeats()
            self._beats[namespace] = (now, beats)
        alive = self._patience.alive
        return [beat for beat in beats if now - beat.time < alive and beat.body["role"] == role]

    def forget(self, keys: Iterable[Key]) -> None:
        """Their statuses were not written after all, or the objects are gone."""
        for key in keys:
            self._written.pop(key, None)
            self._conditions.pop(key, None)
            self._stats.pop(key, None)
            self._seen.pop(key.namespace, None)

    def _if_new(
        self, known: Known, findings: Sequence[Finding], stats: Mapping[str, Any] | None = None, now: int = 0
    ) -> Iterator[Status]:
        item = known.object
        sign = (item.generation, tuple(findings))
        told_at, told = self._stats.get(item.key, (0, None))
        counters_due = stats != told and now - told_at >= self._patience.stats
        if self._written.get(item.key) == sign and not counters_due:
            return
        self._written[item.key] = sign
        every = [*findings, ready(item.key.kind, findings)]
        status: dict[str, Any] = {
            "observedGeneration": item.generation,
            "conditions": conditions(every, self._before(item), item.generation, self._clock()),
        }
        if known.verdict.tests:
            status["tests"] = dict(known.verdict.tests)
        if known.verdict.problems:
            status["problems"] = [_problem(problem) for problem in known.verdict.problems]
        if stats is not None:
            status["stats"] = dict(stats)
            self._stats[item.key] = now, status["stats"]
        if status == item.status and item.key not in self._conditions:
            return  # as an earlier run left it
        self._conditions[item.key] = status["conditions"]
        yield item.key, status

    def _before(self, item: Object) -> Sequence[Mapping[str, Any]]:
        """The conditions that were written last, by this run or an earlier one."""
        return self._conditions.get(item.key) or item.status.get("conditions", ())


def _problem(problem: Problem) -> dict[str, Any]:
    told = {"path": problem.path, "line": problem.line, "message": problem.message, "hint": problem.hint}
    return {name: value for name, value in told.items() if value not in {None, ""}}


@dataclass(frozen=True, slots=True)
class Loading:
    """Which bundle all workers of a role have. `number`: of the oldest among them, None without workers."""

    number: int | None
    error: str
    role: str = "pipeline"

    @classmethod
    def of(cls, space: Space, beats: Sequence[Heartbeat], role: str = "pipeline") -> Loading:
        """As the workers' heartbeats tell it."""
        numbers = [space.number(beat.body.get("bundle", "")) for beat in beats]
        errors = [error for beat in beats for error in beat.body.get("errors", ())]
        return cls(min(numbers, default=None), errors[0] if errors else "", role)

    def finding(self, since: int) -> Finding:
        """The Loaded condition of an object that is in force unchanged since the bundle of this number."""
        if self.number is None:
            return Finding("Loaded", "Unknown", "NoWorkers", f"no {self.role} worker reports")
        if self.number >= since:
            return Finding("Loaded", "True", "Live", "")
        if self.error:
            return Finding("Loaded", "False", "WorkerFailed", self.error)
        return Finding("Loaded", "False", "Waiting", "workers still have an older bundle")


def _tested_by_workers(known: Known, beats: Sequence[Heartbeat]) -> None:
    """Set Tested of an enrichment whose table only workers can read, once all of them tell the same version's."""
    part, name = known.verdict.part, known.object.key.name
    if part is None or not any(isinstance(table, Mapping) for table in part["tables"].values()):
        return
    told = [beat.body.get("tests", {}).get(name) for beat in beats]
    reports = [report for report in told if report is not None and report["hash"] == part["hash"]]
    if not beats or len(reports) < len(beats):
        return
    worst = max(reports, key=lambda report: (bool(report["message"]), report["failed"]))
    if worst["message"]:
        known.set(Finding("Tested", "False", "TestsFailed", worst["message"]))
    elif worst["passed"]:
        known.set(Finding("Tested", "True", "TestsPassed", f"{worst['passed']} tests passed"))
    else:
        known.set(Finding("Tested", "True", "NoTests", "the object has no tests"))


def _force(space: Space, known: Known, loading: Loading) -> list[Finding]:
    key = known.object.key
    if known.verdict.good:
        return [loading.finding(space.since(key.kind, key.name))]
    if space.is_last_good(key.kind, key.name):
        return [Finding("Loaded", "False", "LastGoodVersion", "an older version, the last good one, is in force")]
    return [Finding("Loaded", "False", "NotAccepted", "")]
