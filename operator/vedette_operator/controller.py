"""The control loop: changed objects → verdicts → topology, bundles and workers → status.

Level-triggered: a round looks at what is, whatever led there. Objects that did not change cost nothing. The same loop
runs under `vedette up` and in a cluster; what differs are the backends, and that a cluster has a provisioner.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vedette_backends.cluster.protocol import Change, Event, Key, Object
from vedette_backends.errors import BackendError
from vedette_crds.enrichment import Enrichment
from vedette_crds.problems import Problem
from vedette_operator import enrichments, gateway_table, marks
from vedette_operator.cache import ContentCache
from vedette_operator.incident_keeper import IncidentKeeper
from vedette_operator.judge import judge_all
from vedette_operator.observe import Observer, now_ms
from vedette_operator.provision import NoProvisioner, Provisioner
from vedette_operator.publishing import Backends, Publisher
from vedette_operator.space import KINDS, Known, Space
from vedette_operator.tables import Tables
from vedette_operator.verdict import Verdict, refused

log = logging.getLogger(__name__)

MORE = 0.05
MOST = 2.0
"""Seconds of changes that belong to one round, while thousands of objects are applied."""
INCIDENT = "Incident"


class Objects(Protocol):
    """What the control loop needs of a cluster. Every method may raise UnavailableError."""

    def version(self) -> int:
        """The newest resource version."""

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind."""

    def watch(self, after: int, timeout: float, *, statuses: bool = True) -> Iterator[Event]:
        """Changes since; ends when none came for `timeout` seconds."""

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a Secret."""

    def patch_statuses(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Write many statuses."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between looks at what changes without telling.

    Attributes:
        tables: files and ConfigMaps that enrichments read.
        drift: what the provisioner and the brokers hold.
        secrets: tokens of the sources.
    """

    tables: float = 2.0
    drift: float = 5.0
    secrets: float = 60.0


class Controller:
    """Reconciles all namespaces of one cluster. One thread calls `step`.

    Args:
        cluster: the objects.
        backends: where namespaces are kept.
        files: tables that enrichments read.
        cache: verdicts of earlier runs.
        gateway: takes the gateway's table.
        provisioner: makes backends and workers of namespaces; under `vedette up` there is nothing to make.
        observer: turns heartbeats into conditions.
        pace: how often to look.
        progress: called with (done, all) while many rules are judged.
    """

    def __init__(
        self,
        cluster: Objects,
        backends: Backends,
        files: Tables,
        cache: ContentCache,
        gateway: gateway_table.Sink,
        *,
        provisioner: Provisioner | None = None,
        observer: Observer | None = None,
        pace: Pace | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._backends = backends
        self._files = files
        self._cache = cache
        self._gateway = gateway
        self._provisioner = provisioner or NoProvisioner()
        self._observer = observer or Observer()
        self._pace = pace or Pace()
        self._progress = progress
        self._publisher = Publisher(backends)
        self._incidents = IncidentKeeper(now_ms)
        self.spaces: dict[str, Space] = {}
        self._version = 0
        self._stamps: dict[tuple[str, str], Any] = {}
        self._due: dict[str, float] = {}
        self._changed: dict[Key, Object] = {}
        self._gone: dict[Key, Object] = {}
        self._finishing: dict[Key, Object] = {}

    @property
    def unpublished(self) -> set[str]:
        """Namespaces whose newest bundle is not in force yet."""
        return self._publisher.unpublished

    # rounds ---------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """The first round: everything that is there."""
        self._version = self._cluster.version()
        self._changed = {item.key: item for kind in KINDS for item in self._cluster.list(kind)}
        for item in self._cluster.list(INCIDENT):
            self._incidents.put(item)
        self._round()

    def step(self, timeout: float) -> None:
        """One round: wait up to `timeout` seconds for changes, act on them, write statuses."""
        try:
            for event in self._cluster.watch(self._version, timeout, statuses=False):
                self._notice(event)
                break
            if self._changed or self._gone:
                # Files are saved in bunches: what comes right behind belongs to the same round.
                until = time.monotonic() + MOST
                for event in self._cluster.watch(self._version, MORE, statuses=False):
                    self._notice(event)
                    if time.monotonic() > until:
                        break
            self._round()
        except (BackendError, OSError) as error:
            # What was noticed is kept, and the next round tries again.
            log.warning("this round is not finished: %s", error)

    def resync(self) -> None:
        """Look at everything again: changes may have been missed."""
        there = {item.key: item for kind in KINDS for item in self._cluster.list(kind)}
        incidents = {item.key: item for item in self._cluster.list(INCIDENT)}
        for key in set(self._incidents.keys()) - incidents.keys():
            self._incidents.gone(key)
        for item in incidents.values():
            self._incidents.put(item)
        for space in self.spaces.values():
            for kind, held in space.objects.items():
                for name, known in held.items():
                    key = Key(kind, space.namespace, name)
                    if key not in there:
                        self._gone[key] = known.object
                        self._observer.forget([key])
                    elif marks.same(known.object, there[key]):
                        del there[key]
        self._changed |= there

    def _notice(self, event: Event) -> None:
        item = event.object
        self._version = item.version
        deleted = event.change is Change.DELETED
        if item.key.kind == INCIDENT:
            if deleted:
                self._incidents.gone(item.key)
            else:
                self._incidents.put(item)
            return
        (self._gone if deleted else self._changed)[item.key] = item
        (self._changed if deleted else self._gone).pop(item.key, None)
        if deleted:
            self._observer.forget([item.key])
            self._finishing.pop(item.key, None)

    def _round(self) -> None:
        self._act(self._changed, self._gone)
        self._changed, self._gone = {}, {}
        self._finish()
        self._report()

    def _act(self, changed: Mapping[Key, Object], gone: Mapping[Key, Object]) -> None:
        again = {key.namespace for key in (*changed, *gone) if key.kind in {"Secret", "ConfigMap"}}
        if self._is_due("tables", self._pace.tables):
            again |= self._with_new_tables()
        todo = {key: item for key, item in changed.items() if key.kind in KINDS}
        touched = again | self._publisher.unpublished | {key.namespace for key in todo}
        for key in (*gone, *self._set_apart(todo)):
            if key.kind in KINDS and key.namespace in self.spaces:
                self.spaces[key.namespace].objects[key.kind].pop(key.name, None)
                touched.add(key.namespace)
        for namespace in again & self.spaces.keys():
            for kind in ("LogSource", "Enrichment"):
                for known in self.spaces[namespace].objects[kind].values():
                    todo.setdefault(known.object.key, known.object)
        self._take(list(todo.values()))
        drift = self._is_due("drift", self._pace.drift)
        for namespace in [*self.spaces] if drift else touched & self.spaces.keys():
            self._provisioner.ensure(self.spaces[namespace])
            self._publisher.publish(self.spaces[namespace], anew=namespace in touched)
        if self._is_due("secrets", self._pace.secrets) or touched:
            self._gateway(gateway_table.table(self.spaces.values(), self._cluster.secret))

    def _set_apart(self, todo: dict[Key, Object]) -> list[Key]:
        """Objects that are being deleted, or that the operator is to leave alone, are taken out of `todo`."""
        going = [key for key, item in todo.items() if marks.going(item)]
        for key in going:
            self._finishing[key] = todo.pop(key)
        for key in [key for key, item in todo.items() if marks.paused(item)]:
            item = todo.pop(key)
            held = self._space(key.namespace).objects[key.kind]
            if key.name in held:
                held[key.name].object = item
                held[key.name].set(marks.PAUSED)
            else:
                held[key.name] = Known(item, Verdict((marks.PAUSED,)))
            self._space(key.namespace).revision += 1
        return going

    def _finish(self) -> None:
        for key, item in list(self._finishing.items()):
            others = [
                known.object
                for space in self.spaces.values()
                if space.namespace == key.namespace
                for known in space.objects["LogSource"].values()
            ]
            try:
                if not self._provisioner.finish(item, others, left=self._is_left(key)):
                    continue
            except BackendError as error:
                log.warning("%s cannot be finished yet: %s", key, error)
                continue
            del self._finishing[key]
            self._forget_if_empty(key.namespace)

    def _is_left(self, key: Key) -> bool:
        """Whether every worker that lives is known to have a bundle without the source."""
        space = self.spaces.get(key.namespace)
        if space is None:
            return True
        try:
            beats = self._observer.beats(key.namespace, self._backends.store(key.namespace))
        except BackendError as error:
            log.warning("whether workers have let go of %s is not known: %s", key, error)
            return False
        return space.is_left(key.name, [str(beat.body.get("bundle", "")) for beat in beats])

    def _forget_if_empty(self, namespace: str) -> None:
        space = self.spaces.get(namespace)
        if space is not None and not any(space.objects.values()):
            del self.spaces[namespace]
            self._backends.forget(namespace)

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True

    # judging --------------------------------------------------------------------------------------------------------
    def _take(self, items: Sequence[Object]) -> None:
        plain = [item for item in items if item.key.kind != "Enrichment"]
        manifests = [item.manifest for item in plain]
        verdicts = judge_all(manifests, self._cache, self._progress, cluster=self._files.on_workers)
        for item, verdict in zip(plain, verdicts, strict=True):
            self._space(item.key.namespace).objects[item.key.kind][item.key.name] = Known(item, verdict)
        for item in items:
            if item.key.kind == "Enrichment":
                self._space(item.key.namespace).objects["Enrichment"][item.key.name] = self._enrichment(item)

    def _enrichment(self, item: Object) -> Known:
        spec = item.manifest["spec"]
        try:
            model = Enrichment.model_validate(item.manifest)
            verdict = enrichments.judge(model, spec, self._files, self._backends.store(item.key.namespace).put_blob)
        except ValueError as error:
            verdict = refused("Invalid", [Problem(str(error))])
        for path, reference in enrichments.references(spec):
            self._stamps[str(item.key), path] = self._files.stamp(item.key.namespace, reference)
        return Known(item, verdict)

    def _with_new_tables(self) -> set[str]:
        """Namespaces in which a file that an enrichment reads has changed."""
        return {
            namespace
            for namespace, space in self.spaces.items()
            for known in space.objects["Enrichment"].values()
            for path, reference in enrichments.references(known.object.manifest["spec"])
            if self._stamps.get((str(known.object.key), path)) != self._files.stamp(namespace, reference)
        }

    # status ---------------------------------------------------------------------------------------------------------
    def _report(self) -> None:
        statuses = [
            status
            for namespace, space in self.spaces.items()
            for status in self._observer.observe(space, self._backends.store(namespace))
        ]
        statuses += self._incidents.statuses(self._backends.store)
        if not statuses:
            return
        try:
            self._cluster.patch_statuses(statuses)
        except BackendError:
            self._observer.forget(key for key, _ in statuses if key.kind != INCIDENT)
            for key, _ in statuses:
                if key.kind == INCIDENT:
                    self._incidents.forget(key)
            raise

    def _space(self, namespace: str) -> Space:
        if namespace not in self.spaces:
            self._provisioner.prepare(namespace)
            self.spaces[namespace] = Space(namespace, *self._publisher.in_force(namespace))
        return self.spaces[namespace]

    def close(self) -> None:
        """Release stores and brokers."""
        self._backends.close()
