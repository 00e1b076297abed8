"""The operator in a Kubernetes cluster: one control loop, fed by kopf's watches, as long as it holds the Lease."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.cluster.kube_kinds import OURS
from vedette_backends.cluster.kube_manifests import to_object
from vedette_backends.cluster.kubernetes import KubernetesCluster, KubernetesResources
from vedette_backends.cluster.protocol import Change, Key
from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.settings import elasticsearch_settings, rabbitmq_settings
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import connect as connect_store
from vedette_operator import gateway_table, routes
from vedette_operator.accounts import endpoints
from vedette_operator.cache import ContentCache, code_stamp
from vedette_operator.config import OperatorConfig
from vedette_operator.controller import Controller, Pace
from vedette_operator.feed import Feed
from vedette_operator.housekeeping import Housekeeping
from vedette_operator.observe import Observer, Patience
from vedette_operator.owned import Owned
from vedette_operator.publishing import Backends
from vedette_operator.status_writer import Rates, StatusWriter
from vedette_operator.statuses import event_type
from vedette_operator.tables import ClusterTables
from vedette_operator.tenant import Tenants

log = logging.getLogger(__name__)

GROUP: Final = "vedette.dev"
VERSION: Final = "v1alpha1"
LEASE: Final = "operator"
LEASE_SECONDS: Final = 15
STEP: Final = 1.0
RESYNC: Final = 600.0
EMPTIED: Final = 30.0
"""Seconds between two looks for kinds of which nothing is left."""
"""Seconds after which everything is listed again, whatever the watches told."""
FREEZE_EVERY: Final = 500
"""Objects that come or go before memory is tidied."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0


class Vitals(Protocol):
    """What probes ask for."""

    def alive(self) -> None:
        """The control loop goes on."""

    def reached(self, name: str) -> None:
        """It answered, or came about."""

    def failed(self, name: str, why: str) -> None:
        """It did not answer, or is no more."""


class ClusterOperator:
    """All parts of the operator, wired.

    Args:
        config: of the release.
        backends: folder of the administrator's Secret.
        scratch: where verdicts are kept for the next start of this container.
        vitals: what probes ask for.
        api: the connection to the API server.
    """

    def __init__(self, config: OperatorConfig, backends: Path, scratch: Path, vitals: Vitals, api: Any) -> None:
        self._config = config
        self._vitals = vitals
        self._cluster = KubernetesCluster(api)
        self._resources = KubernetesResources(api)
        self.writer = StatusWriter(
            self._cluster.patch_status, self._turned, Rates(steady=config.status_writes_per_second)
        )
        self._feed = Feed(self._cluster, self.writer)
        store_settings, broker_settings = elasticsearch_settings(backends), rabbitmq_settings(backends)
        stores = connect_store(store_settings)
        opened = Backends(stores.store, lambda namespace: open_broker(broker_settings, namespace, name="operator"))
        self._owned = Owned(self._resources)
        store_admin = ElasticsearchAdmin(store_settings)
        self.tenants = Tenants(
            config,
            self._owned,
            RabbitMQAdmin(broker_settings),
            store_admin,
            lambda: endpoints(backends),
            opened.broker,
        )
        self._system = stores.store(config.release_namespace)
        self._observer = Observer(
            patience=Patience(alive=20_000, stats=300_000, starting=60_000, beats=1_500, searches=5_000)
        )
        self._cache = ContentCache(scratch / "verdicts.db", code_stamp() + " cluster")
        self.controller = Controller(
            self._feed,
            opened,
            ClusterTables(self._feed),
            self._cache,
            gateway_table.head_sink(self._system),
            provisioner=self.tenants,
            observer=self._observer,
            pace=Pace(drift=5.0),
        )
        self._housekeeping = Housekeeping(
            config,
            self._resources,
            self.tenants,
            self.controller,
            self._observer,
            opened.store,
            store_admin,
        )
        self._fleet = gateway_table.head_sink(self._system, "fleet")
        self._stop = threading.Event()
        self._held = threading.Event()
        self._let_go = threading.Event()
        self._lost = ""
        self._frozen = 0

    # running --------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises RuntimeError when the Lease is lost."""
        loop = threading.Thread(target=self._loop, name="control-loop", daemon=True)
        lease = threading.Thread(target=self._hold, name="lease", daemon=True)
        self.writer.start()
        lease.start()
        loop.start()
        plurals = [kind.plural for kind in OURS.values()]
        try:
            routes.watch(GROUP, VERSION, plurals, self._seen, self._stop)
        finally:
            self._stop.set()
            loop.join(20)
            self.writer.stop()
            # Not before: whoever gets it begins at once.
            self._let_go.set()
            lease.join(10)
            self.controller.close()
            self._cache.close()
        if self._lost:
            raise RuntimeError(self._lost)

    def _seen(self, kind: str | None, body: Mapping[str, Any]) -> None:
        known = OURS.get(str(body.get("kind")))
        if known is None:
            return
        item = to_object(dict(body), known)
        change = Change.DELETED if kind == "DELETED" else Change.SET
        if kind is None:
            self._feed.relisted()
        if change is Change.DELETED:
            self.writer.forget(item.key)
        self._feed.put(change, item)

    def _hold(self) -> None:
        """Keep the Lease; whoever loses it ends, since another operator may be at work already."""
        holder = f"{os.environ.get('HOSTNAME', 'operator')}-{os.getpid()}"
        lease = self._resources.lease(
            self._config.release_namespace,
            f"{self._config.release_name}-{LEASE}",
            holder=holder,
            seconds=LEASE_SECONDS,
        )
        had = False
        while not self._let_go.wait(LEASE_SECONDS / 4 if had else 1.0):
            try:
                ok = lease.renew() if had else lease.acquire()
            except BackendError as error:
                log.warning("the Lease cannot be renewed: %s", error)
                ok = lease.held
            if ok and not had:
                log.info("holding the Lease as %s", holder)
                had = True
                self._held.set()
            if had and not lease.held:
                self._lost = f"the Lease is lost to {lease.holder or 'nobody'}: another operator may be at work"
                log.critical("%s", self._lost)
                os._exit(75)
            if not had:
                self._vitals.failed("lease", f"{lease.holder} holds the Lease")
        if had:
            lease.release()

    def _loop(self) -> None:
        while not self._held.wait(STEP):
            if self._stop.is_set():
                return
            self._vitals.alive()
        self._retry("the first round", self._begin)
        if self._stop.is_set():
            return
        last = looked = time.monotonic()
        while not self._stop.is_set():
            try:
                if time.monotonic() - looked > EMPTIED:
                    looked = time.monotonic()
                    self._feed.look_for_emptied(self._cluster.has_any)
                if self._feed.must_resync() or time.monotonic() - last > RESYNC:
                    last = time.monotonic()
                    self.controller.resync()
                self.controller.step(STEP)
                self._after()
                self._vitals.reached("backends")
                self._vitals.reached("lease")  # whoever loses it ends
            except (BackendError, OSError) as error:
                log.warning("this round is not finished: %s", error)
                self._vitals.failed("backends", str(error))
            self._vitals.alive()
            self._keep_still()

    def _keep_still(self) -> None:
        """Thousands of objects that stay need not be looked through for garbage again and again."""
        objects = sum(len(held) for space in self.controller.spaces.values() for held in space.objects.values())
        if abs(objects - self._frozen) > FREEZE_EVERY:
            self._frozen = objects
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _begin(self) -> None:
        self._vitals.reached("lease")
        self._housekeeping.prepare()
        self.controller.start()
        self._after()
        self._vitals.reached("backends")
        log.info("the first round is done: %d namespaces", len(self.controller.spaces))

    def _after(self) -> None:
        self._fleet(orjson.dumps({"v": 1, "namespaces": sorted(self.controller.spaces)}))
        self._housekeeping.step()

    def _retry(self, what: str, step: Callable[[], None]) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                step()
            except (BackendError, OSError) as error:
                log.warning("%s is not finished: %s", what, error)
                self._vitals.failed("backends", str(error))
                self._vitals.alive()
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    # events ---------------------------------------------------------------------------------------------------------
    def _turned(self, key: Key, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
        """Tell a transition of Ready as an Event, where it is worth one."""
        kind = event_type(before, now)
        if kind is None:
            return
        try:
            item = self._cluster.get(key)
            if item is not None:
                message = now["message"] or ("it is in force" if kind == "Normal" else now["reason"])
                self._resources.record_event(item.manifest, reason=now["reason"], message=message[:1000], type=kind)
        except (BackendError, NotFoundError) as error:
            log.warning("the Event on %s is left out: %s", key, error)
