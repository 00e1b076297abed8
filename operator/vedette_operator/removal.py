"""How what a LogSource has outside Kubernetes goes: users, keys, queues, stored events.

With the policy `Delete` nothing of a source is to be left, and its workers may hold deliveries while its queue goes. So
stored events are deleted twice: at once, and when nobody can write them any more. That is a moment after every worker
that lives has a bundle without the source, or after the last source took the workers' key with it; whatever happens,
the object waits no longer than `GRACE`. A worker that slept all that time is cleaned up after later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol

from vedette_backends.broker.names import DEAD_SUFFIX
from vedette_backends.errors import BackendError, RefusedError
from vedette_engine.wire import QUEUE_PREFIX
from vedette_operator.accounts import Accounts, BrokerAdmin, StoreAdmin
from vedette_operator.desired import names
from vedette_operator.owned import Owned

log = logging.getLogger(__name__)

SETTLE = 3.0
"""Seconds that a worker needs to be done with what it holds, once it consumes the source no more."""
GRACE = 30.0
"""Seconds after which a source goes though some worker has not let go of it."""
LATER = 300.0
"""Seconds after which the events of a source are looked for once more: its queue would not wait longer for an ack."""


class Queues(Protocol):
    """The queues of one namespace, as far as they are removed; a part of `Broker`."""

    def delete(self, queue: str) -> None:
        """Remove the queue with what is in it; no error when there is none."""

    def queues(self) -> list[str]:
        """Names of the queues."""


@dataclass(slots=True)
class _End:
    """How far it is. `last`: the workers' key is gone; `since`, `calm`: when it was cleaned up, and nobody wrote."""

    last: bool
    since: float
    calm: float | None = None


class Removal:
    """Cleans up in the backends. One thread calls it.

    Args:
        owned: objects of the cluster.
        accounts: who may write.
        broker: RabbitMQ's management.
        store: Elasticsearch's management.
        queues: opens the queues of a namespace whose virtual host exists.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        owned: Owned,
        accounts: Accounts,
        broker: BrokerAdmin,
        store: StoreAdmin,
        queues: Callable[[str], Queues],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owned = owned
        self._accounts = accounts
        self._broker = broker
        self._store = store
        self._queues = queues
        self._clock = clock
        self._ends: dict[tuple[str, str], _End] = {}
        self._later: dict[tuple[str, str], float] = {}

    def finish(self, namespace: str, name: str, policy: str, *, last: bool, left: bool) -> bool:
        """Go on with cleaning up for a source; whether that is done. Called again until it is.

        Args:
            namespace: of the source.
            name: of the source.
            policy: Retain or Delete.
            last: whether the namespace has no other source.
            left: whether every worker that lives has let go of it.

        Raises:
            BackendError: a backend is down, or refuses; nothing is forgotten.
        """
        key = (namespace, name)
        end = self._ends.get(key)
        if end is None or (last and not end.last):
            self.remove_source(namespace, name, policy, last=last)
            if policy != "Delete":
                return True
            end = self._ends[key] = _End(last, self._clock())
        now = self._clock()
        if end.calm is None and (last or left):
            end.calm = now
        settled = end.calm is not None and now - end.calm >= SETTLE
        if not settled and now - end.since < GRACE:
            return False
        self.remove_source(namespace, name, policy, last=last)
        del self._ends[key]
        if not last:
            self._later[key] = now + LATER
        return True

    def sweep(self, namespace: str, there: Container[str]) -> None:
        """Delete what was stored behind a deletion of late; `there`: the namespace's sources, which are left alone."""
        now = self._clock()
        due = [(key, when) for key, when in self._later.items() if key[0] == namespace]
        for key, when in due:
            if key[1] in there:
                del self._later[key]
            elif now >= when:
                try:
                    self._store.delete_source_events(*key)
                except BackendError as error:
                    log.warning("%s/%s: whether events were stored late is not known yet: %s", *key, error)
                else:
                    del self._later[key]

    def remove_source(self, namespace: str, name: str, policy: str, *, last: bool = False) -> None:
        """Clean up in the backends for a source. Idempotent.

        Users and keys always go. With the policy `Delete`, so do the queue, its dead letters and the stored events, and
        with the last source the virtual host; where the whole namespace is being deleted, all of its indices and
        templates too, with alerts and notes. What an earlier source left behind by `Retain`, told by its queue, keeps
        the virtual host and the indices.

        Raises:
            BackendError: a backend is down, or refuses.
        """
        self._accounts.remove_publisher(namespace, name)
        there = names.worker_user(namespace) in self._broker.vhosts()
        remaining: list[str] = []
        if policy == "Delete" and there:
            queues = self._queues(namespace)
            for queue in (QUEUE_PREFIX + name, QUEUE_PREFIX + name + DEAD_SUFFIX):
                queues.delete(queue)
            remaining = [queue for queue in queues.queues() if queue.startswith(QUEUE_PREFIX)]
        if last:
            # Before the events: whoever has the key could write some behind them.
            self._accounts.remove_worker(namespace)
        if policy == "Delete":
            self._delete_events(namespace, name, everything=last and not remaining)
            if last and not remaining:
                self._broker.delete_vhost(namespace)
        log.info("%s/%s: cleaned up outside Kubernetes, deletionPolicy %s", namespace, name, policy)

    def _delete_events(self, namespace: str, name: str, *, everything: bool) -> None:
        if everything and is_going(self._owned, namespace):
            self._store.drop_namespace(namespace)
        else:
            self._store.delete_source_events(namespace, name)


def is_going(owned: Owned, namespace: str) -> bool:
    """Whether the whole namespace is being deleted, or gone; raises UnavailableError."""
    try:
        found = owned.get("v1", "Namespace", "", namespace)
    except RefusedError as error:
        log.warning("whether the namespace %s is being deleted cannot be seen: %s", namespace, error)
        return False
    return found is None or "deletionTimestamp" in found["metadata"]
