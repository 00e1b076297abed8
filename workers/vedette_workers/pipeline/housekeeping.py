"""What a pipeline does for the embedded store besides its work, since it is the one process that may write there."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from vedette_backends.broker.protocol import Broker
from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_workers.librarian.expire import EVERY, drop_expired
from vedette_workers.librarian.letters import drain

log = logging.getLogger(__name__)

DRAIN_EVERY = 30.0
"""Seconds between two looks into the dead-letter queues."""


class Housekeeping:
    """Drops expired days and drains dead-letter queues of one namespace, when it is time to.

    Args:
        namespace: whose.
        store, broker: of the namespace.
        totals: counts what was done, under `expired_days` and `drained`.
        clock: ms since the epoch.
    """

    def __init__(
        self, namespace: str, store: Store, broker: Broker, totals: Counter[str], clock: Callable[[], int]
    ) -> None:
        self._namespace = namespace
        self._store = store
        self._broker = broker
        self._totals = totals
        self._clock = clock
        self._expire_at = self._drain_at = 0.0

    def look(self, sources: Iterable[str]) -> None:
        """Do what is due; `sources`: whose queues there are. What fails waits for the next time."""
        now = time.monotonic()
        try:
            if now >= self._expire_at:
                self._expire_at = now + EVERY
                self._totals["expired_days"] += drop_expired(self._store)
            if now >= self._drain_at:
                self._drain_at = now + DRAIN_EVERY
                self._totals["drained"] += drain(self._namespace, self._store, self._broker, list(sources), self._clock)
        except BackendError as error:
            log.warning("housekeeping waits: %s", error)
