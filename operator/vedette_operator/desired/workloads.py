"""Which workers a namespace needs, and the Deployment, PodDisruptionBudget and ScaledObject of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vedette_backends.workloads.protocol import Workload
from vedette_crds.duration import parse_duration
from vedette_engine.wire import QUEUE_PREFIX
from vedette_operator.config import OperatorConfig, Pods
from vedette_operator.desired import names
from vedette_operator.desired.names import Document
from vedette_operator.desired.pods import BACKENDS_PATH, CLAIMS_PATH, SCRATCH_PATH, STATUS_PORT, PodSpec, template
from vedette_operator.desired.scaling import Scaling
from vedette_operator.desired.source import Source

KEDA_API = "keda.sh/v1alpha1"
KEDA_TLS = "keda-rabbitmq-tls"
"""Key of the backends Secret; KEDA takes this setting from nowhere else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One workload.

    Attributes:
        consumes: sources whose queues it reads; empty for one that reads none.
        owner: the source whose own it is; empty for shared ones.
        scaling: bounds; None for what always runs once.
        held: the operator leaves it as it is.
    """

    name: str
    component: str
    args: tuple[str, ...]
    consumes: tuple[str, ...] = ()
    owner: str = ""
    scaling: Scaling | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all workloads of a namespace share.

    Attributes:
        backends: hash of the backends Secret.
        owners: ownerReferences.
        claims: claims that exist and that Enrichments read.
        autoscaled: workloads whose number of replicas something else decides.
    """

    config: OperatorConfig
    namespace: str
    backends: str
    owners: Sequence[Document] = ()
    claims: Sequence[str] = ()
    autoscaled: Collection[str] = ()


def plans(config: OperatorConfig, namespace: str, sources: Iterable[Source], *, searches: bool = False) -> list[Plan]:
    """The workloads of a namespace, by name; none where there are no sources.

    Args:
        config: the operator's.
        namespace: the tenant's.
        sources: those in force.
        searches: whether some rule in force is a scheduled search.
    """
    known = sorted(sources, key=lambda source: source.name)
    dedicated = [source for source in known if source.dedicated]
    shared = [source for source in known if not source.dedicated]
    found = [_dedicated(namespace, source) for source in dedicated]
    if shared:
        found.append(_shared(config, namespace, shared, dedicated))
    if known:
        single = (names.RESPONDER, names.SCHEDULER) if searches else (names.RESPONDER,)
        found += [Plan(names.component_name(one), one, _args(one, namespace)) for one in single]
    return sorted(found, key=lambda plan: plan.name)


def _dedicated(namespace: str, source: Source) -> Plan:
    return Plan(
        name=names.pipeline_name(source.name),
        component=names.PIPELINE,
        args=(*_args(names.PIPELINE, namespace), "--source", source.name),
        consumes=(source.name,),
        owner=source.name,
        scaling=source.scaling,
        held=source.paused,
    )


def _shared(config: OperatorConfig, namespace: str, shared: list[Source], dedicated: list[Source]) -> Plan:
    scale = config.pipeline.scale
    others = [part for source in dedicated for part in ("--except", source.name)]
    return Plan(
        name=names.pipeline_name(),
        component=names.PIPELINE,
        args=(*_args(names.PIPELINE, namespace), *others),
        consumes=tuple(source.name for source in shared),
        scaling=Scaling(scale.min_replicas, scale.max_replicas, parse_duration(scale.lag_target) / 1000),
    )


def _args(component: str, namespace: str) -> tuple[str, ...]:
    folders = ("--scratch", SCRATCH_PATH, "--claims", CLAIMS_PATH) if component == names.PIPELINE else ()
    return (
        *("worker", component),
        *("--backends", BACKENDS_PATH),
        *("--namespace", namespace),
        *folders,
        *("--status-port", str(STATUS_PORT)),
    )


def as_workload(plan: Plan, replicas: int) -> Workload:
    """The plan as the `Workloads` protocol takes it."""
    return Workload(plan.name, plan.args, replicas=replicas)


def manifests(plan: Plan, around: Surroundings, replicas: int) -> list[Document]:
    """The objects of one workload."""
    found = [_deployment(plan, around, replicas), _disruption_budget(plan, around)]
    if around.config.keda.enabled and plan.scaling is not None and plan.consumes:
        found.append(_scaled_object(plan, around, plan.scaling))
    return found


def _metadata(plan: Plan, around: Surroundings) -> Document:
    labelled = names.labels(plan.component, instance=plan.name, source=plan.owner)
    return names.metadata(around.namespace, plan.name, labelled, around.owners)


def _selector(plan: Plan) -> Mapping[str, str]:
    return {names.INSTANCE: plan.name, names.PART_OF: "vedette"}


def _deployment(plan: Plan, around: Surroundings, replicas: int) -> Document:
    config = around.config
    pod = PodSpec(
        component=plan.component,
        instance=plan.name,
        args=plan.args,
        backends=around.backends,
        claims=around.claims if plan.component == names.PIPELINE else (),
        token=plan.component == names.RESPONDER,
        source=plan.owner,
    )
    spec: Document = {
        "selector": {"matchLabels": dict(_selector(plan))},
        # A new version that cannot start (a claim that cannot be mounted) leaves the old one working.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        "template": template(config, _pods(config, plan.component), pod),
    }
    if plan.name not in around.autoscaled:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(plan, around), "spec": spec}


def _pods(config: OperatorConfig, component: str) -> Pods:
    kinds = {names.PIPELINE: config.pipeline, names.RESPONDER: config.responder, names.SCHEDULER: config.scheduler}
    return kinds[component]


def _disruption_budget(plan: Plan, around: Surroundings) -> Document:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(plan, around),
        "spec": {
            # One at a time, also where there is only one: a node must be drainable, and nothing is lost meanwhile.
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(_selector(plan))},
        },
    }


def _scaled_object(plan: Plan, around: Surroundings, scaling: Scaling) -> Document:
    keda = around.config.keda
    return {
        "apiVersion": KEDA_API,
        "kind": "ScaledObject",
        "metadata": _metadata(plan, around),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name},
            "minReplicaCount": scaling.least,
            "maxReplicaCount": scaling.most,
            "pollingInterval": keda.polling_interval,
            "cooldownPeriod": keda.cooldown_period,
            "triggers": [
                {
                    "type": "rabbitmq",
                    "metadata": {
                        "protocol": "amqp",
                        "mode": "QueueLength",
                        "value": str(keda.queue_length),
                        "queueName": QUEUE_PREFIX + source,
                        "vhostName": names.worker_user(around.namespace),
                    },
                    "authenticationRef": {"name": names.component_name(names.PIPELINE)},
                }
                for source in plan.consumes
            ],
        },
    }
