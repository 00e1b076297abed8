"""The operator's settings: one YAML file, which the chart's ConfigMap holds under `operator.yaml`.

Every field has a default but `image`, `releaseName` and `releaseNamespace`. Unknown fields are refused, so that a slip
in the chart's values is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds import manifest_yaml
from vedette_crds.common import Duration, Label, Namespace, ObjectName
from vedette_crds.load import validate
from vedette_crds.model import Checked, Fault, Model, Opt
from vedette_crds.problems import Problem, ProblemsError

MAX_BYTES = 1 << 20

Quantity = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
]
Image = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[a-z0-9][-._:/@a-zA-Z0-9]*$")]
LabelKey = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=317, pattern=r"^([-.a-z0-9]+/)?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Cidr = Annotated[str, StringConstraints(min_length=1, max_length=50)]


class Amounts(Model):
    """How much of what a node has."""

    cpu: Opt[Quantity] = Field(None, description="Cores, `500m`.")
    memory: Opt[Quantity] = Field(None, description="Memory, `512Mi`.")
    ephemeral_storage: Opt[Quantity] = Field(None, alias="ephemeral-storage", description="Space on the node's disk.")


class ContainerResources(Model):
    """What a container asks for and what it may take."""

    requests: Amounts = Field(default_factory=Amounts, description="What the scheduler keeps free.")
    limits: Amounts = Field(default_factory=Amounts, description="What it may not exceed.")


class Toleration(Model):
    """A taint that pods put up with, as in a pod's `tolerations`."""

    key: Opt[LabelKey] = Field(None, description="Key of the taint; none stands for all.")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="How the value is compared.")
    value: Opt[LabelValue] = Field(None, description="Value of the taint, for `Equal`.")
    effect: Opt[Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]] = Field(
        None, description="Effect of the taint; none stands for all."
    )
    toleration_seconds: Opt[Annotated[int, Field(ge=0, le=10**9)]] = Field(
        None, description="How long pods stay, for `NoExecute`."
    )


class Pods(Model):
    """How the pods of one component run."""

    resources: ContainerResources = Field(
        default_factory=ContainerResources, description="Requests and limits of the container."
    )
    node_selector: Labels = Field(default_factory=dict, description="Labels that the node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list, description="Taints that the pods put up with."
    )
    priority_class_name: Annotated[str, StringConstraints(max_length=253)] = Field(
        "", description="The pods' PriorityClass; empty for the cluster's default."
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        60, description="Seconds between the request to end and the end."
    )
    scratch_size: Quantity = Field("1Gi", description="Most that a pod may write into its scratch folder.")


class Scale(Checked):
    """How many shared pipelines a namespace has; a dedicated source says it in `spec.workers`."""

    min_replicas: Annotated[int, Field(ge=1, le=100)] = Field(1, description="At least so many pods.")
    max_replicas: Annotated[int, Field(ge=1, le=100)] = Field(4, description="At most so many pods.")
    lag_target: Duration = Field("10s", description="Add pods while events wait longer than this.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """The smallest number is not above the largest."""
        least, most = data.get("minReplicas", 1), data.get("maxReplicas", 4)
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield Fault(f"minReplicas {least} exceeds maxReplicas {most}", hint="swap or equal them")


class PipelinePods(Pods):
    """How pipelines run."""

    scale: Scale = Field(default_factory=Scale, description="How many pods the shared pipeline of a namespace has.")


class Keda(Model):
    """Scaling by KEDA instead of by the operator."""

    enabled: bool = Field(
        False,
        description="Make a ScaledObject for each pipeline and leave the number of replicas to it. "
        "Before you switch it off, delete the ScaledObjects: the operator has no right to do so then.",
    )
    polling_interval: Annotated[int, Field(ge=5, le=3600)] = Field(15, description="Seconds between two looks.")
    cooldown_period: Annotated[int, Field(ge=0, le=86_400)] = Field(
        300, description="Seconds without events before the last pod ends, where `minReplicas` is 0."
    )
    queue_length: Annotated[int, Field(ge=1, le=10**6)] = Field(
        200, description="Messages in the queues (of up to 500 events each) that one pod is expected to clear."
    )


class Reach(Checked):
    """Where pods may connect to: any of the networks, or the pods with the labels; every address where neither is.

    Labels of namespaces alone stand for all pods in them, labels of pods alone for those pods in every namespace.
    """

    cidrs: Annotated[list[Cidr], Field(max_length=64)] = Field(
        default_factory=list, description="Networks, `10.0.0.0/8`."
    )
    namespace_labels: Labels = Field(
        default_factory=dict, description="Labels of the namespaces of the pods; none stands for all."
    )
    pod_labels: Labels = Field(default_factory=dict, description="Labels of the pods; none stands for all.")
    ports: Annotated[list[Port], Field(max_length=32)] = Field(
        default_factory=list, description="Ports; none stands for all."
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Networks are networks."""
        cidrs = data.get("cidrs")
        for index, text in enumerate(cidrs if isinstance(cidrs, list) else ()):
            try:
                ip_network(text if isinstance(text, str) else "")
            except ValueError:
                yield Fault(f"{str(text)[:60]!r} is not a network", hint="for example 10.0.0.0/8", at=("cidrs", index))


def _dns() -> list[Reach]:
    return [Reach(namespaceLabels={"kubernetes.io/metadata.name": "kube-system"}, ports=[53])]


class NetworkPolicies(Model):
    """NetworkPolicies of the tenants' pods. Whether they are enforced is up to the cluster's network."""

    enabled: bool = Field(True, description="Make them.")
    backends: Annotated[list[Reach], Field(max_length=32)] = Field(
        default_factory=lambda: [Reach(ports=[5671, 9200])], description="Where RabbitMQ and Elasticsearch are."
    )
    api_server: Annotated[list[Reach], Field(max_length=32)] = Field(
        default_factory=lambda: [Reach(ports=[443, 6443])], description="Where the API server is, for responders."
    )
    dns: Annotated[list[Reach], Field(max_length=32)] = Field(
        default_factory=_dns, description="Where names are resolved, by UDP and TCP."
    )
    metrics_from: Annotated[list[Reach], Field(max_length=32)] = Field(
        default_factory=list, description="Who may read metrics; none stands for everybody in the cluster."
    )


class Webhook(Model):
    """Names of the admission webhook's objects. Empty ones: `<releaseName>-webhook`, the Secret with `-tls` behind."""

    enabled: bool = Field(True, description="Make its certificate and keep it fresh.")
    configuration: Annotated[str, StringConstraints(max_length=253)] = Field(
        "", description="The ValidatingWebhookConfiguration, whose `caBundle` the operator sets."
    )
    service: Annotated[str, StringConstraints(max_length=63)] = Field("", description="The Service in front of it.")
    secret: Annotated[str, StringConstraints(max_length=253)] = Field("", description="The Secret of its certificate.")


class OperatorConfig(Model):
    """What the operator is told by who installs it."""

    image: Image = Field(description="Image of every Vedette pod that the operator makes.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field("IfNotPresent", description="When to pull.")
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=16)] = Field(
        default_factory=list, description="Names of Secrets in the tenants' namespaces that open the registry."
    )
    release_name: Label = Field(description="What the names of the release's own objects begin with.")
    release_namespace: Namespace = Field(description="Where the release's own pods run.")
    tenants: Annotated[list[Namespace], Field(max_length=5_000)] = Field(
        default_factory=list, description="Namespaces that the operator serves."
    )
    pipeline: PipelinePods = Field(default_factory=PipelinePods, description="Pods that process events.")
    responder: Pods = Field(default_factory=Pods, description="Pods that open incidents.")
    scheduler: Pods = Field(default_factory=Pods, description="Pods that run scheduled searches.")
    keda: Keda = Field(default_factory=Keda, description="Scaling by KEDA.")
    network_policy: NetworkPolicies = Field(
        default_factory=NetworkPolicies, description="NetworkPolicies of the tenants' pods."
    )
    webhook: Webhook = Field(default_factory=Webhook, description="The admission webhook.")
    status_writes_per_second: Annotated[float, Field(gt=0, le=1000)] = Field(
        15.0, description="Most statuses written per second for counters alone; changed conditions are written at once."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["json", "text"] = Field("json", description="How pods write their logs.")

    @property
    def webhook_configuration(self) -> str:
        """Name of the ValidatingWebhookConfiguration."""
        return self.webhook.configuration or f"{self.release_name}-webhook"

    @property
    def webhook_service(self) -> str:
        """Name of the webhook's Service."""
        return self.webhook.service or f"{self.release_name}-webhook"

    @property
    def webhook_secret(self) -> str:
        """Name of the Secret with the webhook's certificate."""
        return self.webhook.secret or f"{self.release_name}-webhook-tls"

    @property
    def responder_role(self) -> str:
        """Name of the chart's ClusterRole for responders."""
        return f"{self.release_name}-responder"

    def is_tenant(self, namespace: str) -> bool:
        """Whether the namespace is served; the release's own, where the store keeps what is everybody's, never is."""
        return namespace in self.tenants and namespace != self.release_namespace


def parse_config(text: str, file: str = "operator.yaml") -> OperatorConfig:
    """The settings in a text.

    Raises:
        ProblemsError: everything that is wrong with it, with lines.
    """
    trees = list(manifest_yaml.read(text)) if len(text) <= MAX_BYTES else []
    if len(trees) != 1:
        found = f"{len(trees)} documents" if trees or len(text) <= MAX_BYTES else f"{len(text):,} characters"
        raise ProblemsError([Problem(f"one YAML document with settings is needed, not {found}", file=file)])
    (tree,) = trees
    model, problems = validate(tree.value, OperatorConfig, tree.spot) if not tree.problems else (None, tree.problems)
    if problems or not isinstance(model, OperatorConfig):
        raise ProblemsError([replace(problem, file=file) for problem in problems])
    return model


def load_config(path: Path) -> OperatorConfig:
    """The settings in a file.

    Raises:
        ProblemsError: it cannot be read, or is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemsError([Problem(f"the settings cannot be read: {error}", file=str(path))]) from error
    return parse_config(text, str(path))
