"""The control loop of the embedded mode: changed objects → verdicts → bundles and queues → status.

Level-triggered: a round looks at what is, whatever led there. Objects that did not change cost nothing.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vedette_backends.broker.protocol import Broker
from vedette_backends.cluster.protocol import Change, Cluster, Event, Key, Object
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.store.protocol import Store
from vedette_crds.enrichment import Enrichment
from vedette_crds.problems import Problem
from vedette_engine.alerting import bundle as bundles
from vedette_engine.alerting.bundle import HEAD
from vedette_engine.detect.logsource import Logsource
from vedette_engine.wire import QUEUE_PREFIX
from vedette_operator import enrichments, rules, sources
from vedette_operator.cache import ContentCache
from vedette_operator.judge import judge_all
from vedette_operator.observe import Observer
from vedette_operator.space import KINDS, Known, Space
from vedette_operator.tables import Tables
from vedette_operator.verdict import Finding, refused

log = logging.getLogger(__name__)

MORE = 0.05
TABLES_EVERY = 2.0


class LocalCluster(Cluster, Protocol):
    """The embedded cluster writes many statuses at once."""

    def patch_statuses(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """`patch_status` of many objects in one transaction."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Where namespaces are kept; both are called once per namespace."""

    store: Callable[[str], Store]
    broker: Callable[[str], Broker]


class Controller:
    """Reconciles all namespaces of one cluster. One thread calls `step`.

    Args:
        gateway_file: where the gateway reads which token stands for which source.
        progress: called with (done, all) while many rules are judged.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        backends: Backends,
        files: Tables,
        cache: ContentCache,
        gateway_file: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._backends = backends
        self._files = files
        self._cache = cache
        self._gateway_file = gateway_file
        self._progress = progress
        self.spaces: dict[str, Space] = {}
        self._stores: dict[str, Store] = {}
        self._brokers: dict[str, Broker] = {}
        self._version = 0
        self._stamps: dict[tuple[str, str], Any] = {}
        self._next_tables = 0.0
        self._observer = Observer()
        self._changed: dict[Key, Object] = {}
        self._gone: dict[Key, Object] = {}
        self._unpublished: set[str] = set()

    # rounds ---------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """The first round: everything that is there."""
        self._version = self._cluster.version()
        self._take([item for kind in KINDS for item in self._cluster.list(kind)])
        for namespace in list(self.spaces):
            self._publish(namespace)
        self._write_gateway()
        self._report()

    def step(self, timeout: float) -> None:
        """One round: wait up to `timeout` seconds for changes, act on them, write statuses."""
        try:
            for event in self._cluster.watch(self._version, timeout, statuses=False):
                self._notice(event)
                break
            if self._changed or self._gone:
                # Files are saved in bunches: what comes right behind belongs to the same round.
                for event in self._cluster.watch(self._version, MORE, statuses=False):
                    self._notice(event)
            self._act(self._changed, self._gone)
            self._changed, self._gone = {}, {}
            self._report()
        except (BackendError, OSError) as error:
            # What was noticed is kept, and the next round tries again.
            log.warning("this round is not finished: %s", error)

    def _notice(self, event: Event) -> None:
        item = event.object
        self._version = item.version
        deleted = event.change is Change.DELETED
        (self._gone if deleted else self._changed)[item.key] = item
        (self._changed if deleted else self._gone).pop(item.key, None)
        if deleted:
            self._observer.forget([item.key])

    def _act(self, changed: Mapping[Key, Object], gone: Mapping[Key, Object]) -> None:
        again = {key.namespace for key in (*changed, *gone) if key.kind in {"Secret", "ConfigMap"}}
        touched = again | self._unpublished
        for key in gone:
            if key.kind in KINDS and key.namespace in self.spaces:
                self.spaces[key.namespace].objects[key.kind].pop(key.name, None)
                touched.add(key.namespace)
        todo = {key: item for key, item in changed.items() if key.kind in KINDS}
        for namespace in again | self._with_new_tables():
            if namespace in self.spaces:
                for kind in ("LogSource", "Enrichment"):
                    for known in self.spaces[namespace].objects[kind].values():
                        todo.setdefault(known.object.key, known.object)
        self._take(list(todo.values()))
        touched |= {key.namespace for key in todo}
        for namespace in touched:
            self._publish(namespace)
        if touched:
            self._write_gateway()

    # judging --------------------------------------------------------------------------------------------------------
    def _take(self, items: Sequence[Object]) -> None:
        plain = [item for item in items if item.key.kind != "Enrichment"]
        verdicts = judge_all([item.manifest for item in plain], self._cache, self._progress)
        for item, verdict in zip(plain, verdicts, strict=True):
            self._space(item.key.namespace).objects[item.key.kind][item.key.name] = Known(item, verdict)
        for item in items:
            if item.key.kind == "Enrichment":
                self._space(item.key.namespace).objects["Enrichment"][item.key.name] = self._enrichment(item)

    def _enrichment(self, item: Object) -> Known:
        spec = item.manifest["spec"]
        try:
            model = Enrichment.model_validate(item.manifest)
            verdict = enrichments.judge(model, spec, self._files, self._store(item.key.namespace).put_blob)
        except ValueError as error:
            verdict = refused("Invalid", [Problem(str(error))])
        for path, reference in enrichments.references(spec):
            self._stamps[str(item.key), path] = self._files.stamp(reference)
        return Known(item, verdict)

    def _with_new_tables(self) -> set[str]:
        """Namespaces in which a file that an enrichment reads has changed."""
        if time.monotonic() < self._next_tables:
            return set()
        self._next_tables = time.monotonic() + TABLES_EVERY
        return {
            namespace
            for namespace, space in self.spaces.items()
            for known in space.objects["Enrichment"].values()
            for path, reference in enrichments.references(known.object.manifest["spec"])
            if self._stamps.get((str(known.object.key), path)) != self._files.stamp(reference)
        }

    # effects --------------------------------------------------------------------------------------------------------
    def _publish(self, namespace: str) -> None:
        """Declare queues, then publish the bundle if it differs from the one in force."""
        space = self._space(namespace)
        space.revision += 1
        bundle = space.bundle()
        try:
            for name in bundle.sources:
                self._broker(namespace).declare(QUEUE_PREFIX + name)
            head = self._store(namespace).put_blob(bundles.encode(bundle))
            if head != self._store(namespace).head(HEAD):
                self._store(namespace).set_head(HEAD, head)
                log.info("%s: bundle %s, %d rules", namespace, head[:12], len(bundle.rules))
        except BackendError as error:
            log.warning("%s: the bundle could not be published: %s", namespace, error)
            self._unpublished.add(namespace)
            return
        self._unpublished.discard(namespace)
        space.in_force(bundle, head)
        claims = [
            Logsource(*(source[part].lower() or None for part in Logsource._fields))
            for source in bundle.sources.values()
        ]
        for known in space.objects["AlertRule"].values():
            if known.verdict.part is not None:
                known.extra = [rules.data_available(known.verdict.part, claims)]

    def _write_gateway(self) -> None:
        entries: list[Mapping[str, Any]] = []
        owners: dict[str, list[Known]] = {}
        for space in self.spaces.values():
            for known in space.objects["LogSource"].values():
                known.extra = [finding for finding in known.extra if finding.type != "TopologyReady"]
            for name, part in space.parts("LogSource"):
                known = space.objects["LogSource"][name]
                entry = sources.gateway_entry(space.namespace, name, part, self._cluster.secret)
                if isinstance(entry, Problem):
                    known.extra.append(Finding("TopologyReady", "False", "ReferenceNotFound", entry.message))
                    continue
                entries.append(entry)
                owners.setdefault(entry["tokens"][0], []).append(known)
        for sharing in owners.values():
            for known in sharing:
                known.extra.append(_topology([other.object.key for other in sharing if other is not known]))
        shared = {token for token, sharing in owners.items() if len(sharing) > 1}
        usable = [entry for entry in entries if entry["tokens"][0] not in shared]
        _write(self._gateway_file, json.dumps({"v": 1, "sources": usable}))

    def _report(self) -> None:
        statuses = [
            status
            for namespace, space in self.spaces.items()
            for status in self._observer.observe(space, self._store(namespace))
        ]
        if not statuses:
            return
        try:
            self._cluster.patch_statuses(statuses)
        except BackendError:
            self._observer.forget(key for key, _ in statuses)
            raise

    # namespaces -----------------------------------------------------------------------------------------------------
    def _space(self, namespace: str) -> Space:
        if namespace not in self.spaces:
            self.spaces[namespace] = Space(namespace, self._in_force(namespace))
        return self.spaces[namespace]

    def _in_force(self, namespace: str) -> bundles.Bundle | None:
        store = self._store(namespace)
        head = store.head(HEAD)
        if head is None:
            return None
        try:
            return bundles.decode(store.get_blob(head))
        except (bundles.BundleError, NotFoundError) as error:
            log.warning("%s: the bundle in force cannot be read: %s", namespace, error)
            return None

    def _store(self, namespace: str) -> Store:
        if namespace not in self._stores:
            self._stores[namespace] = self._backends.store(namespace)
        return self._stores[namespace]

    def _broker(self, namespace: str) -> Broker:
        if namespace not in self._brokers:
            self._brokers[namespace] = self._backends.broker(namespace)
        return self._brokers[namespace]

    def close(self) -> None:
        """Release stores and brokers."""
        for store in self._stores.values():
            store.close()
        for broker in self._brokers.values():
            broker.close()


def _topology(others: Sequence[Key]) -> Finding:
    if others:
        names = ", ".join(str(key) for key in others)
        return Finding("TopologyReady", "False", "TokenShared", f"the same token is used by {names}")
    return Finding("TopologyReady", "True", "Declared", "queue and token are in place")


def _write(file: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old or the new one. Only its owner may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
