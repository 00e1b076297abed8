"""What the operator looks after besides objects: accounts, the certificate, drift, how many workers."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_operator import certificates
from vedette_operator.config import OperatorConfig
from vedette_operator.controller import Controller
from vedette_operator.desired import names
from vedette_operator.desired.scaling import Load
from vedette_operator.flow import Flow
from vedette_operator.observe import Observer, now_ms
from vedette_operator.tenant import Tenants
from vedette_operator.uninstall import KINDS

log = logging.getLogger(__name__)

RELEASE_EVERY = 60.0
CERTIFICATE_EVERY = 60.0
DRIFT_EVERY = 4.0
SCALE_EVERY = 5.0
PRUNE_EVERY = 3600.0
KEPT = 24 * 3_600_000
"""ms for which heartbeats and replaced bundles are kept."""
WEBHOOKS = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")


class Resources(Protocol):
    """What is asked of Kubernetes."""

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        """Server-side apply."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""


class Pruner(Protocol):
    """Elasticsearch's management."""

    def prune(self, namespace: str, before: int, keep: Collection[str] = ()) -> int:
        """Remove old heartbeats and blobs, but those to keep; how many."""


class Housekeeping:
    """Called by the control loop's thread after each round; each chore at its own pace."""

    def __init__(
        self,
        config: OperatorConfig,
        resources: Resources,
        tenants: Tenants,
        controller: Controller,
        observer: Observer,
        stores: Callable[[str], Store],
        pruner: Pruner,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._resources = resources
        self._tenants = tenants
        self._controller = controller
        self._observer = observer
        self._stores = stores
        self._pruner = pruner
        self._clock = clock
        self._due: dict[str, float] = {}
        self._served: frozenset[str] = frozenset()
        self._live: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}

    def prepare(self) -> None:
        """What must be there before the first round; raises BackendError."""
        self._certificate()
        problems = self._tenants.release(self._config.tenants)
        for problem in problems:
            log.warning("%s", problem)

    def step(self) -> None:
        """Every chore whose time has come. A chore that fails is told and waits for its next time."""
        # The release's own parts get their rights in a virtual host as soon as there is one.
        declared = self._tenants.declared()
        self._served &= declared
        if declared != self._served:
            self._due.pop("release", None)
        self._chore("release", RELEASE_EVERY, lambda: self._release(declared))
        self._chore("certificate", CERTIFICATE_EVERY, self._certificate)
        self._chore("drift", max(DRIFT_EVERY, 0.2 * len(self._controller.spaces)), self._look_for_drift)
        self._chore("scale", SCALE_EVERY, self._scale)
        self._chore("prune", PRUNE_EVERY, self._prune)

    def _chore(self, name: str, every: float, chore: Callable[[], None]) -> None:
        if self._clock() < self._due.get(name, 0.0):
            return
        self._due[name] = self._clock() + every
        try:
            chore()
        except BackendError as error:
            log.warning("%s: %s", name, error)

    def _release(self, declared: frozenset[str]) -> None:
        # For all tenants from the beginning: a key that changed with each new one would end every connection.
        problems = self._tenants.release(self._config.tenants)
        for problem in problems:
            log.warning("%s", problem)
        if not problems:
            self._served = declared

    def _look_for_drift(self) -> None:
        """Show what is there, and what is no more, to the provisioner."""
        labels = names.selector({names.MANAGED_BY: names.OURS[names.MANAGED_BY]})
        for namespace in filter(self._config.is_tenant, list(self._controller.spaces)):
            for api_version, kind in KINDS:
                try:
                    listed = self._resources.list(api_version, kind, namespace, labels)
                except BackendError as error:
                    log.warning("%s: drift of %ss cannot be seen: %s", namespace, kind, error)
                    continue
                self._compare(
                    (namespace, api_version, kind),
                    {item["metadata"]["name"]: {"apiVersion": api_version, "kind": kind, **item} for item in listed},
                )

    def _compare(self, place: tuple[str, str, str], found: dict[str, dict[str, Any]]) -> None:
        known = self._live.get(place, {})
        for name, item in known.items():
            if name not in found:
                self._tenants.noticed(item, deleted=True)
        for name, item in found.items():
            if name not in known or known[name]["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._tenants.noticed(item)
        self._live[place] = found

    def _scale(self) -> None:
        for namespace, space in self._controller.spaces.items():
            beats = self._observer.beats(namespace, self._stores(namespace))
            if not beats:
                continue
            loads = {}
            for name in space.objects["LogSource"]:
                flow = Flow.of(beats, name)
                loads[name] = Load(flow.lag / 1000, flow.rate)
            self._tenants.scale(namespace, loads)

    def _prune(self) -> None:
        """Heartbeats of pods that are gone, and bundles that were replaced a while ago."""
        before = now_ms() - KEPT
        gone = self._pruner.prune(self._config.release_namespace, before)
        for namespace, space in self._controller.spaces.items():
            enrichments = space.bundle().enrichments
            keep = {table for item in enrichments for table in item.tables.values() if isinstance(table, str)}
            gone += self._pruner.prune(namespace, before, keep)
        if gone:
            log.info("%d old heartbeats and bundles removed", gone)

    def _certificate(self) -> None:
        """The webhook's certificate is fresh, and the API server trusts it."""
        config = self._config
        if not config.webhook.enabled:
            return
        namespace, name = config.release_namespace, config.webhook_secret
        hosts = certificates.service_hosts(config.webhook_service, namespace)
        now = dt.datetime.now(dt.UTC)
        there = self._resources.get("v1", "Secret", namespace, name)
        configuration = self._resources.get(*WEBHOOKS, "", config.webhook_configuration)
        data: Mapping[str, bytes] | None = None if there is None else certificates.decoded(there)
        why = certificates.needs_renewal(data, now, hosts)
        if data is None or why:
            log.info("a new certificate for the webhook: %s", why)
            data = certificates.make(hosts, now, data, certificates.trusted(configuration or {}))
        # It is trusted before pods can serve what it signed, and the ones before it still are.
        if configuration is None:
            log.warning("there is no ValidatingWebhookConfiguration %s", config.webhook_configuration)
        elif (patch := certificates.ca_bundle_patch(configuration, data[certificates.BUNDLE])) is not None:
            self._resources.apply(patch, manager=names.MANAGER)
        if why:
            manifest = certificates.secret_manifest(name, namespace, data, names.labels("webhook"))
            self._resources.apply(manifest, manager=names.MANAGER)
