"""Bringing bundles into force: queues are declared, then the head points at the new bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from vedette_backends.broker.protocol import Binding, Broker
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting import bundle as bundles
from vedette_engine.alerting.bundle import HEAD, Bundle
from vedette_engine.detect.logsource import Logsource
from vedette_engine.wire import QUEUE_PREFIX
from vedette_operator import rules
from vedette_operator.space import Space

log = logging.getLogger(__name__)

SOON = 0.25
REST = 3.0
"""Seconds before the next bundle of a namespace, for each second by which the last one took longer than `SOON`."""
LONGEST_REST = 6.0
"""Seconds; where the store is slow, rules do not wait for the sum of both."""


class Backends:
    """Stores and brokers of the namespaces, each opened once."""

    def __init__(self, store: Callable[[str], Store], broker: Callable[[str], Broker]) -> None:
        self._open_store = store
        self._open_broker = broker
        self._stores: dict[str, Store] = {}
        self._brokers: dict[str, Broker] = {}

    def store(self, namespace: str) -> Store:
        """The namespace's store."""
        if namespace not in self._stores:
            self._stores[namespace] = self._open_store(namespace)
        return self._stores[namespace]

    def broker(self, namespace: str) -> Broker:
        """The namespace's broker."""
        if namespace not in self._brokers:
            self._brokers[namespace] = self._open_broker(namespace)
        return self._brokers[namespace]

    def forget(self, namespace: str) -> None:
        """Close what was opened for a namespace."""
        for opened in (self._stores.pop(namespace, None), self._brokers.pop(namespace, None)):
            if opened is not None:
                opened.close()

    def close(self) -> None:
        """Close everything."""
        for namespace in {*self._stores, *self._brokers}:
            self.forget(namespace)


class Publisher:
    """Publishes bundles. `unpublished`: namespaces whose newest bundle is not in force yet."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._not_before: dict[str, float] = {}
        self.unpublished: set[str] = set()

    def publish(self, space: Space, *, anew: bool = True) -> None:
        """Declare the queues; with `anew`, bring the bundle into force if it differs from the one that is."""
        try:
            self._declare(space)
            if anew:
                self._bring_into_force(space)
        except BackendError as error:
            log.warning("%s: the bundle could not be published: %s", space.namespace, error)
            self.unpublished.add(space.namespace)

    def _declare(self, space: Space) -> None:
        broker = self._backends.broker(space.namespace)
        for name, part in space.parts("LogSource"):
            broker.declare(QUEUE_PREFIX + name, bindings=[Binding(*pair) for pair in part.get("bindings", ())])

    def _bring_into_force(self, space: Space) -> None:
        started = time.monotonic()
        if started < self._not_before.get(space.namespace, 0.0):
            self.unpublished.add(space.namespace)
            return
        bundle = space.bundle()
        space.revision += 1
        store = self._backends.store(space.namespace)
        head = store.put_blob(bundles.encode(bundle))
        if head != store.head(HEAD):
            store.set_head(HEAD, head)
            log.info("%s: bundle %s, %d rules", space.namespace, head[:12], len(bundle.rules))
            # While thousands of rules arrive one by one, the large bundle is not written again for each of them.
            now = time.monotonic()
            self._not_before[space.namespace] = now + min(REST * (now - started - SOON), LONGEST_REST)
        space.in_force(bundle, head)
        self.unpublished.discard(space.namespace)
        _look_for_data(space, bundle)

    def in_force(self, namespace: str) -> tuple[Bundle | None, str]:
        """The bundle that an earlier run published, and its hash."""
        store = self._backends.store(namespace)
        head = store.head(HEAD)
        if head is None:
            return None, ""
        try:
            return bundles.decode(store.get_blob(head)), head
        except (bundles.BundleError, NotFoundError) as error:
            log.warning("%s: the bundle in force cannot be read: %s", namespace, error)
            return None, ""


def _look_for_data(space: Space, bundle: Bundle) -> None:
    claims = [_claim(source) for source in bundle.sources.values()]
    for known in space.objects["AlertRule"].values():
        if known.verdict.part is not None:
            known.set(rules.data_available(known.verdict.part, claims))


def _claim(source: Any) -> Logsource:
    return Logsource(*(source[part].lower() or None for part in Logsource._fields))
