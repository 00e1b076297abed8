"""The workers of tenants' namespaces: which there are, how many, and how they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.workloads.deployments import COMPANIONS, DeploymentWorkloads, is_starting
from vedette_backends.workloads.protocol import Workload, WorkloadStatus
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import access, names, scaling, workloads
from vedette_operator.desired.names import Document
from vedette_operator.desired.scaling import Load, Pace
from vedette_operator.desired.source import Source
from vedette_operator.desired.workloads import KEDA_API, Plan, Surroundings
from vedette_operator.owned import Owned
from vedette_operator.verdict import Finding

KEDA_KINDS = ((KEDA_API, "ScaledObject"),)


@dataclass(slots=True)
class _Crew:
    """What is known of one namespace's workers."""

    deployments: DeploymentWorkloads
    plans: dict[str, Plan] = field(default_factory=dict)
    scheduled: bool = True
    """A scheduler may be there; so it is looked for once where none is wanted."""
    around: Surroundings | None = None
    paces: dict[str, Pace] = field(default_factory=dict)
    statuses: Mapping[str, WorkloadStatus] = field(default_factory=dict)


class Workers:
    """Makes Deployments and what belongs to them. One thread calls it.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, config: OperatorConfig, owned: Owned, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._owned = owned
        self._clock = clock
        self._crews: dict[str, _Crew] = {}

    def ensure(
        self,
        namespace: str,
        sources: Sequence[Source],
        claims: Iterable[str],
        backends: str,
        *,
        ca: bool = False,
        searches: bool = False,
    ) -> bool:
        """Everything in the namespace is as it should be; whether all workers are well.

        Args:
            namespace: the tenant's.
            sources: those in force.
            claims: that Enrichments read.
            backends: hash of the backends Secret.
            ca: whether it holds RabbitMQ's own authority.
            searches: whether some rule in force is a scheduled search.

        Raises:
            BackendError: the API server cannot, or will not.
        """
        crew = self._crew(namespace)
        plans = workloads.plans(self._config, namespace, sources, searches=searches)
        components = {plan.component for plan in plans}
        owners = names.owners((source.name, source.uid) for source in sources)
        around = Surroundings(
            self._config,
            namespace,
            backends,
            owners,
            self._existing(namespace, claims),
            self._autoscaled(namespace, plans),
        )
        if plans:
            for manifest in self._common(around, components, ca=ca):
                self._owned.apply(manifest)
        crew.plans, crew.around = {plan.name: plan for plan in plans}, around
        self._reconcile(crew, plans)
        if crew.scheduled and names.SCHEDULER not in components:
            self._remove(namespace, names.component_name(names.SCHEDULER))
        crew.scheduled = names.SCHEDULER in components
        return self.look(namespace)

    def scale(self, namespace: str, loads: Mapping[str, Load]) -> list[str]:
        """Decide anew how many workers there should be, by each source's load; what changed, as sentences.

        Raises UnavailableError and RefusedError.
        """
        crew = self._crews.get(namespace)
        if crew is None or crew.around is None:
            return []
        changes = []
        for plan in crew.plans.values():
            if plan.scaling is None or plan.name in crew.around.autoscaled or plan.held or plan.name not in crew.paces:
                continue
            before = crew.paces[plan.name]
            after = scaling.step(before, total(loads.get(name) for name in plan.consumes), plan.scaling, self._clock())
            crew.paces[plan.name] = after
            if after.replicas != before.replicas:
                changes.append(f"{plan.name}: {before.replicas} → {after.replicas} replicas")
        if changes:
            self._reconcile(crew, list(crew.plans.values()))
        return changes

    def look(self, namespace: str) -> bool:
        """Read how the workers are; whether all are well. Raises UnavailableError and RefusedError."""
        crew = self._crew(namespace)
        crew.statuses = {status.name: status for status in crew.deployments.status()}
        return not any(status.problem or status.running < status.wanted for status in crew.statuses.values())

    def available(self, namespace: str, source: Source) -> Finding:
        """The Available condition of a source, as it was at the last look."""
        crew = self._crew(namespace)
        name = names.pipeline_name(source.name if source.dedicated else "")
        status = crew.statuses.get(name)
        if status is None:
            return Finding("Available", "Unknown", "Waiting", f"the Deployment {name} is not there yet")
        where = f"Deployment {name}"
        note = f"; {', '.join(held)} is left alone: it is paused" if (held := self._owned.held(namespace)) else ""
        if status.wanted == 0:
            return Finding("Available", "True", "ScaledToZero", f"{where} starts a worker when events wait{note}")
        if status.running:
            progress = "" if status.running >= status.wanted and not status.problem else f": {status.problem}"
            count = f"{status.running} of {status.wanted} replicas run"
            return Finding("Available", "True", "Consuming", f"{where}: {count}{progress}{note}")
        if is_starting(status):
            return Finding("Available", "False", "Starting", f"{where}: workers are starting{note}")
        return Finding("Available", "False", "NoWorkers", f"{where}: {status.problem or 'no replica runs'}{note}")

    def forget(self, namespace: str) -> None:
        """Nothing is known of the namespace any more."""
        self._crews.pop(namespace, None)
        self._owned.forget(namespace)

    # pieces ---------------------------------------------------------------------------------------------------------
    def _crew(self, namespace: str) -> _Crew:
        if namespace not in self._crews:
            self._crews[namespace] = _Crew(
                DeploymentWorkloads(
                    self._owned,
                    namespace,
                    lambda workload: self._manifests(namespace, workload),
                    labels=names.OURS,
                    companions=(*COMPANIONS, *(KEDA_KINDS if self._config.keda.enabled else ())),
                    manager=names.MANAGER,
                )
            )
        return self._crews[namespace]

    def _manifests(self, namespace: str, workload: Workload) -> list[Document]:
        crew = self._crews[namespace]
        assert crew.around is not None
        return workloads.manifests(crew.plans[workload.name], crew.around, workload.replicas)

    def _reconcile(self, crew: _Crew, plans: Sequence[Plan]) -> None:
        missing = [plan for plan in plans if plan.name not in crew.paces]
        there = crew.deployments.replicas() if missing else {}
        for plan in missing:
            least = plan.scaling.least if plan.scaling else 1
            crew.paces[plan.name] = Pace(there.get(plan.name, max(least, 1)), changed=self._clock())
        wanted = [workloads.as_workload(plan, self._replicas(crew, plan)) for plan in plans]
        crew.deployments.reconcile(wanted, keep=[plan.name for plan in plans if plan.held])
        crew.paces = {plan.name: crew.paces[plan.name] for plan in plans}

    @staticmethod
    def _replicas(crew: _Crew, plan: Plan) -> int:
        if plan.scaling is None:
            return 1
        return min(max(crew.paces[plan.name].replicas, plan.scaling.least), plan.scaling.most)

    def _common(self, around: Surroundings, components: Collection[str], *, ca: bool) -> list[Document]:
        found = [
            *access.accounts(self._config, around.namespace, around.owners, components),
            *access.network_policies(self._config, around.namespace, around.owners, components),
        ]
        if self._config.keda.enabled:
            found.append(access.keda_authentication(around.namespace, around.owners, ca=ca))
        return found

    def _remove(self, namespace: str, name: str) -> None:
        """Delete what a component had beside its Deployment, if it is ours."""
        for api_version, kind in access.KINDS:
            found = self._owned.get(api_version, kind, namespace, name)
            labels = (found or {}).get("metadata", {}).get("labels") or {}
            if names.OURS.items() <= labels.items():
                self._owned.delete(api_version, kind, namespace, name)

    def _existing(self, namespace: str, claims: Iterable[str]) -> list[str]:
        """Claims that can be mounted: one that does not exist would keep every pod from starting."""
        return [claim for claim in claims if self._exists(namespace, claim)]

    def _exists(self, namespace: str, claim: str) -> bool:
        return self._owned.get("v1", "PersistentVolumeClaim", namespace, claim) is not None

    def _autoscaled(self, namespace: str, plans: Iterable[Plan]) -> frozenset[str]:
        """Workloads whose replicas KEDA or a HorizontalPodAutoscaler decides."""
        if self._config.keda.enabled:
            return frozenset(plan.name for plan in plans if plan.scaling is not None and plan.consumes)
        try:
            scalers = self._owned.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace)
        except (NotFoundError, RefusedError):
            return frozenset()  # then there is none, or none that we may know of
        targets: list[Mapping[str, Any]] = [one.get("spec", {}).get("scaleTargetRef") or {} for one in scalers]
        return frozenset(str(one.get("name")) for one in targets if one.get("kind") == "Deployment")


def total(loads: Iterable[Load | None]) -> Load:
    """The load of workers that consume several sources: the longest wait, the sum of rates."""
    known = [load for load in loads if load is not None]
    lags = [load.lag for load in known if load.lag is not None]
    return Load(max(lags) if lags else None, sum(load.rate for load in known))
