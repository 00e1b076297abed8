"""Pod templates as the `restricted` PodSecurity standard asks, with probes, and with one folder that can be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from vedette_operator.config import OperatorConfig, Pods
from vedette_operator.desired import names
from vedette_operator.desired.names import Document

USER = 65_532
STATUS_PORT = 9090
BACKENDS_PATH = "/run/vedette/backends"
SCRATCH_PATH = "/scratch"
CLAIMS_PATH = "/claims"
_READABLE = 0o444


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What tells one pod template from another.

    Attributes:
        component: pipeline, responder or scheduler; also decides the ServiceAccount.
        instance: name of the workload, which its pods are found by.
        args: behind the `vedette` command.
        backends: hash of the Secret with the backends' addresses and credentials.
        claims: PersistentVolumeClaims to mount below `CLAIMS_PATH`, for reading.
        token: whether the pod speaks to the API server.
        source: whose own workers these are; empty for shared ones.
    """

    component: str
    instance: str
    args: Sequence[str]
    backends: str
    claims: Sequence[str] = ()
    token: bool = False
    source: str = ""


def template(config: OperatorConfig, pods: Pods, wanted: PodSpec) -> Document:
    """The pod template."""
    found: Document = {
        "metadata": {
            "labels": names.labels(wanted.component, instance=wanted.instance, source=wanted.source),
            "annotations": {
                names.BACKENDS_HASH: wanted.backends,
                "kubectl.kubernetes.io/default-container": wanted.component,
            },
        },
        "spec": {
            "serviceAccountName": names.component_name(wanted.component),
            "automountServiceAccountToken": wanted.token,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": pods.termination_grace_period_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(config, pods, wanted)],
            "volumes": _volumes(pods, wanted),
            "topologySpreadConstraints": [_spread(wanted)],
        },
    }
    spec = found["spec"]
    if config.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.tolerations:
        spec["tolerations"] = [one.model_dump(by_alias=True, exclude_none=True) for one in pods.tolerations]
    if pods.priority_class_name:
        spec["priorityClassName"] = pods.priority_class_name
    return found


def _container(config: OperatorConfig, pods: Pods, wanted: PodSpec) -> Document:
    found: Document = {
        "name": wanted.component,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "args": list(wanted.args),
        "env": [
            {"name": "VEDETTE_LOG_FORMAT", "value": config.log_format},
            {"name": "VEDETTE_LOG_LEVEL", "value": config.log_level},
            # The root file system cannot be written, and libraries expect some folder that can.
            {"name": "TMPDIR", "value": SCRATCH_PATH},
        ],
        "ports": [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}],
        # Loading thousands of rules takes its time: a start is given two minutes.
        "startupProbe": {**_probe("/livez"), "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2, "failureThreshold": 3},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": [
            {"name": "backends", "mountPath": BACKENDS_PATH, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH_PATH},
            *(
                {"name": _volume_name(claim), "mountPath": f"{CLAIMS_PATH}/{claim}", "readOnly": True}
                for claim in wanted.claims
            ),
        ],
    }
    resources = pods.resources.model_dump(by_alias=True, exclude_none=True)
    if amounts := {name: amount for name, amount in resources.items() if amount}:
        found["resources"] = amounts
    return found


def _probe(path: str) -> Document:
    return {"httpGet": {"path": path, "port": "status", "scheme": "HTTP"}, "timeoutSeconds": 3}


def _volumes(pods: Pods, wanted: PodSpec) -> list[Document]:
    secret = {"secretName": names.BACKENDS_SECRET, "defaultMode": _READABLE}
    return [
        {"name": "backends", "secret": secret},
        {"name": "scratch", "emptyDir": {"sizeLimit": pods.scratch_size}},
        *(
            {"name": _volume_name(claim), "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            for claim in wanted.claims
        ),
    ]


def _volume_name(claim: str) -> str:
    """Claims may be called what volumes may not: longer, and with dots."""
    return f"claim-{sha256(claim.encode()).hexdigest()[:16]}"


def _spread(wanted: PodSpec) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {names.INSTANCE: wanted.instance, names.PART_OF: "vedette"}},
    }
