"""What a tenant's namespace needs in a cluster: users, keys, templates, Secrets, workers; and how all of it goes again.

The control loop's provisioner. Every step is idempotent, is told by a condition of its own, and is repeated until it
succeeds: TopologyReady speaks of RabbitMQ, TemplateReady of Elasticsearch, Available of what runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from vedette_backends.cluster.protocol import Object
from vedette_backends.errors import BackendError, NotFoundError, RefusedError, UnavailableError
from vedette_engine.alerting.bundle import BundledEnrichment
from vedette_engine.wire import ALERT_QUEUE
from vedette_operator import marks
from vedette_operator.accounts import PARTS, Accounts, BrokerAdmin, StoreAdmin
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import names, source
from vedette_operator.desired.credentials import Account, Endpoints
from vedette_operator.desired.decide import Action, decide
from vedette_operator.desired.scaling import Load
from vedette_operator.desired.source import Source
from vedette_operator.owned import Owned
from vedette_operator.removal import Removal, is_going
from vedette_operator.space import Space
from vedette_operator.verdict import Finding
from vedette_operator.workers import Workers

log = logging.getLogger(__name__)

API_VERSION = "vedette.dev/v1alpha1"
CHECK_EVERY = 10.0
CHECK_SHARE = 0.5
"""Seconds between two full checks of a namespace: at least the first, and this times the number of namespaces."""
WATCH_EVERY = 2.0
"""Seconds between two looks at workers that are not all well."""

_CONDITIONS = ("TopologyReady", "TemplateReady", "Available")


class Queues(Protocol):
    """The queues of one namespace, as the operator itself may use them; a part of `Broker`."""

    def declare(self, queue: str, *, single_active_consumer: bool = False) -> None:
        """Create the queue and its dead-letter queue if they are missing."""

    def delete(self, queue: str) -> None:
        """Remove the queue with what is in it; no error when there is none."""

    def queues(self) -> list[str]:
        """Names of the queues."""


@dataclass(slots=True)
class _State:
    """What is known of one namespace. `findings`: of all its sources; `own`: TopologyReady of single ones."""

    inputs: object = None
    due: float = 0.0
    look: float = 0.0
    well: bool = False
    findings: dict[str, Finding] = field(default_factory=dict)
    own: dict[str, Finding] = field(default_factory=dict)


class _Steps:
    """Steps to one condition: what follows a failure is left out. `result`: of the last step that was done."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.failed: Finding | None = None
        self.result: Any = None

    def do(self, system: str, step: Callable[..., Any], *args: Any, **options: Any) -> _Steps:
        """Do a step that may fail because of `system`."""
        if self.failed is None:
            try:
                self.result = step(*args, **options)
            except BackendError as error:
                self.failed = _failed(self._kind, system, error)
                log.warning("%s: %s", self._kind, self.failed.message)
        return self

    def finding(self) -> Finding:
        """The condition."""
        return self.failed or Finding(self._kind, "True", "Declared")


class Tenants:
    """The provisioner in a cluster. The control loop's thread calls it; `touch` may be called by others.

    Args:
        config: the operator's.
        owned: objects of the cluster.
        broker, store: management of the backends.
        where: gives the backends' addresses.
        queues: opens the queues of a namespace whose virtual host exists.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        config: OperatorConfig,
        owned: Owned,
        broker: BrokerAdmin,
        store: StoreAdmin,
        where: Callable[[], Endpoints],
        queues: Callable[[str], Queues],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._owned = owned
        self._broker = broker
        self._store = store
        self._where = where
        self._queues = queues
        self._clock = clock
        self._accounts = Accounts(config, owned, broker, store, where)
        self._workers = Workers(config, owned, clock=clock)
        self._removal = Removal(owned, self._accounts, broker, store, queues, clock=clock)
        self._states: dict[str, _State] = {}
        self._before_pause: dict[tuple[str, str], Source] = {}

    # the control loop's side ----------------------------------------------------------------------------------------
    def refusal(self, namespace: str) -> str:
        """Why nothing is done for a namespace: the release does not serve it. Empty when it does."""
        if self._config.is_tenant(namespace):
            return ""
        return f"this release does not serve the namespace {namespace}: add it to `tenants` in the chart's values"

    def prepare(self, namespace: str) -> None:
        """The namespace's store can be written; raises BackendError."""
        if not self.refusal(namespace) and not is_going(self._owned, namespace):
            self._store.ensure_templates(namespace, ())

    def ensure(self, space: Space) -> None:
        """Make what is missing or differs, and set TopologyReady, TemplateReady and Available of the sources."""
        namespace, now = space.namespace, self._clock()
        state = self._states.setdefault(namespace, _State())
        if refused := self.refusal(namespace):
            for known in space.objects["LogSource"].values():
                for kind in _CONDITIONS:
                    known.set(Finding(kind, "False", "NotATenant", refused))
            return
        sources, claims = self._sources(space), source.claims(_specs(space))
        inputs = (tuple(sources), tuple(claims), space.searches)
        if inputs != state.inputs or now >= state.due:
            state.inputs = inputs
            state.due = now + max(CHECK_EVERY, CHECK_SHARE * len(self._states))
            state.look = now + WATCH_EVERY
            self._check(space, sources, claims, state)
        elif not state.well and now >= state.look:
            state.look = now + WATCH_EVERY
            self._look(namespace, state)
        self._removal.sweep(namespace, space.objects["LogSource"])
        for one in sources:
            known = space.objects["LogSource"][one.name]
            for finding in self._findings(namespace, one, state):
                known.set(finding)

    def finish(self, item: Object, others: Sequence[Object], *, left: bool) -> bool:
        """Clean up for a LogSource that is being deleted and let it go; whether that is done. Raises BackendError."""
        if decide(item) is not Action.FINISH:
            return True
        namespace, name = item.key.namespace, item.key.name
        policy = item.manifest["spec"].get("deletionPolicy", "Retain")
        if not self._removal.finish(namespace, name, policy, last=not others, left=left):
            return False
        self._release(namespace, name)
        self._before_pause.pop((namespace, name), None)
        if others:
            self.touch(namespace)
        else:
            self._workers.forget(namespace)
            self._states.pop(namespace, None)
        return True

    def declared(self) -> frozenset[str]:
        """Namespaces whose virtual host and workers' user are there."""
        topology = {name: state.findings.get("TopologyReady") for name, state in self._states.items()}
        return frozenset(name for name, found in topology.items() if found is not None and found.status == "True")

    def touch(self, namespace: str) -> None:
        """Something in the namespace may have changed: the next `ensure` checks everything."""
        if (state := self._states.get(namespace)) is not None:
            state.due = 0.0

    def noticed(self, item: Mapping[str, Any], *, deleted: bool = False) -> bool:
        """An object as a watch shows it; whether it is one of ours that is not as it should be, or tells of workers."""
        namespace = item["metadata"].get("namespace") or ""
        drifted = self._owned.drifted(item, deleted=deleted)
        if drifted:
            self.touch(namespace)
        state = self._states.get(namespace)
        if state is not None and item.get("kind") == "Deployment":
            state.well, state.look = False, 0.0
            return True
        return drifted

    def scale(self, namespace: str, loads: Mapping[str, Load]) -> list[str]:
        """Adapt the number of workers to each source's load; what changed, as sentences. Raises BackendError."""
        changes = self._workers.scale(namespace, loads)
        for change in changes:
            log.info("%s: %s", namespace, change)
        return changes

    def release(self, namespaces: Sequence[str]) -> list[str]:
        """Users, keys and Secrets of the release's own parts, for these tenants; what could not be done, and why."""
        tenants = sorted(name for name in namespaces if self._config.is_tenant(name))
        steps: dict[str, Callable[[], object]] = {
            "templates": partial(self._store.ensure_templates, self._config.release_namespace, ()),
            **{part: partial(self._accounts.part, part, tenants) for part in PARTS},
        }
        problems = []
        for what, step in steps.items():
            try:
                step()
            except BackendError as error:
                problems.append(f"{what}: {error}")
        return problems

    # making ---------------------------------------------------------------------------------------------------------
    def _check(self, space: Space, sources: Sequence[Source], claims: Sequence[str], state: _State) -> None:
        """Every step once; what fails is told and tried again at the next check."""
        namespace = space.namespace
        state.findings, state.own, state.well = {}, {}, False
        try:
            if is_going(self._owned, namespace):
                return
            if not sources:
                self._workers.ensure(namespace, (), (), "")
                return
            for one in sources:
                self._guard(namespace, one)
            account = self._accounts.worker(namespace)
        except BackendError as error:
            state.findings = {kind: _failed(kind, "Kubernetes", error) for kind in _CONDITIONS}
            return
        self._check_broker(namespace, sources, account, state)
        classes = source.retention_classes(sources)
        templates = _Steps("TemplateReady").do("Elasticsearch", self._store.ensure_templates, namespace, classes)
        state.findings["TemplateReady"] = templates.finding()
        self._check_workers(space, sources, claims, account, state)

    def _check_broker(self, namespace: str, sources: Sequence[Source], account: Account, state: _State) -> None:
        steps = _Steps("TopologyReady").do("RabbitMQ", self._accounts.worker_user, namespace, account)
        steps.do("RabbitMQ", self._declare_alerts, namespace)
        state.findings["TopologyReady"] = steps.finding()
        for one in sources if steps.failed is None else ():
            if one.paused:
                continue
            owner = names.owners([(one.name, one.uid)])
            own = _Steps("TopologyReady").do("Kubernetes", self._accounts.publisher_secret, namespace, one, owner)
            if own.result:
                own.do("RabbitMQ", self._accounts.publisher_user, namespace, one, own.result)
            state.own[one.name] = own.finding()

    def _check_workers(
        self, space: Space, sources: Sequence[Source], claims: Sequence[str], account: Account, state: _State
    ) -> None:
        namespace = space.namespace
        owners = names.owners((one.name, one.uid) for one in sources)
        steps = _Steps("Available").do("Elasticsearch", self._accounts.worker_key, namespace, account)
        steps.do("Kubernetes", self._accounts.worker_secret, namespace, steps.result, owners)
        ca = bool(self._where().rabbitmq_ca)
        needs = {"ca": ca, "searches": space.searches}
        steps.do("Kubernetes", self._workers.ensure, namespace, sources, claims, steps.result, **needs)
        if steps.failed is None:
            state.well = bool(steps.result)
        else:
            state.findings["Available"] = steps.failed

    def _look(self, namespace: str, state: _State) -> None:
        try:
            state.well = self._workers.look(namespace)
        except BackendError as error:
            state.findings["Available"] = _failed("Available", "Kubernetes", error)

    def _findings(self, namespace: str, one: Source, state: _State) -> list[Finding]:
        if not state.findings:
            return []  # the namespace is being deleted
        found = dict(state.findings)
        if one.name in state.own:
            found["TopologyReady"] = state.own[one.name]
        if "Available" not in found:
            found["Available"] = self._workers.available(namespace, one)
        return [found[kind] for kind in _CONDITIONS]

    def _declare_alerts(self, namespace: str) -> None:
        self._queues(namespace).declare(ALERT_QUEUE, single_active_consumer=True)

    def _sources(self, space: Space) -> list[Source]:
        found = []
        for name, part in space.parts("LogSource"):
            item = space.objects["LogSource"][name].object
            key = (space.namespace, name)
            if marks.paused(item):
                # What it was before counts; an operator that began meanwhile knows nothing else than what it is now.
                now = self._before_pause.get(key) or Source.of(item.manifest, part)
                found.append(replace(now, paused=True))
            else:
                self._before_pause[key] = Source.of(item.manifest, part)
                found.append(self._before_pause[key])
        return found

    # finalizers -----------------------------------------------------------------------------------------------------
    def _guard(self, namespace: str, one: Source) -> None:
        """Set the finalizer before anything is made outside Kubernetes."""
        if one.guarded or one.paused:
            return
        live = self._owned.get(API_VERSION, "LogSource", namespace, one.name)
        metadata = (live or {}).get("metadata") or {"deletionTimestamp": ""}
        finalizers = list(metadata.get("finalizers") or ())
        if "deletionTimestamp" in metadata or marks.FINALIZER in finalizers:
            return
        finalizers.append(marks.FINALIZER)
        body = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        self._owned.patch(API_VERSION, "LogSource", namespace, one.name, body)

    def _release(self, namespace: str, name: str) -> None:
        """Remove the finalizer, and nobody else's."""
        live = self._owned.get(API_VERSION, "LogSource", namespace, name)
        if live is None or marks.FINALIZER not in (live["metadata"].get("finalizers") or ()):
            return
        metadata = live["metadata"]
        left = [one for one in metadata["finalizers"] if one != marks.FINALIZER]
        body = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
        try:
            self._owned.patch(API_VERSION, "LogSource", namespace, name, body)
        except NotFoundError:
            return


def _specs(space: Space) -> list[Mapping[str, Any]]:
    """Specs of the Enrichments in force."""
    return [part.spec if isinstance(part, BundledEnrichment) else part["spec"] for _, part in space.parts("Enrichment")]


def _failed(kind: str, system: str, error: BackendError) -> Finding:
    if isinstance(error, UnavailableError):
        return Finding(kind, "False", "BackendUnavailable", f"{system} cannot be reached, this is tried again: {error}")
    if isinstance(error, RefusedError) and system == "Kubernetes":
        hint = "the operator's rights in the namespace come from the chart's list `tenants`"
        return Finding(kind, "False", "Forbidden", f"the API server refuses: {error}; {hint}")
    told = f"{system} refuses: {error}"
    if any(code in told for code in ("401", "403")):
        told += "; the operator's credentials come from the Secret that the chart's values name"
    return Finding(kind, "False", "BackendRefused", told)
