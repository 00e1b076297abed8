"""`Workloads` in a cluster: Deployments, and whatever else the caller makes of a workload.

What a Deployment looks like is the caller's: `build` turns a workload into manifests. This module brings them into
being, takes away what is not wanted any more, and says in words why pods do not run.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from vedette_backends.errors import NotFoundError
from vedette_backends.workloads.protocol import Workload, WorkloadStatus

Manifest = Mapping[str, Any]

DEPLOYMENT: Final = ("apps/v1", "Deployment")
COMPANIONS: Final = (("policy/v1", "PodDisruptionBudget"),)
MAX_PROBLEM: Final = 500
_POLL_SECONDS: Final = 0.5
_IMAGE_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
STARTING: Final = "its pods are starting"
MISSING: Final = "its Deployment is not there yet"
NOT_READY: Final = "its pods are not ready; their logs say why"
DEADLINE: Final = 600.0
"""Seconds that pods have to become ready where the Deployment does not say it, as in Kubernetes."""
_CONFIG_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


class Objects(Protocol):
    """Objects of any kind, as plain manifests; a part of `Resources`."""

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        """Server-side apply."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, by labels `a=b,c=d`."""

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """No error when there is none."""


class DeploymentWorkloads:
    """The workers of one namespace. Every method may raise UnavailableError and RefusedError.

    Args:
        objects: of the cluster.
        namespace: where they live.
        build: the manifests of a workload; the Deployment bears the workload's name, and its pods are found by the
            Deployment's `selector.matchLabels`.
        labels: of everything that `build` makes and of nothing else, so that what is not wanted can be found.
        companions: (apiVersion, kind) of what `build` makes beside Deployments under the same name.
        manager: field manager.
    """

    def __init__(
        self,
        objects: Objects,
        namespace: str,
        build: Callable[[Workload], Iterable[Manifest]],
        *,
        labels: Mapping[str, str],
        companions: Sequence[tuple[str, str]] = COMPANIONS,
        manager: str = "vedette-operator",
    ) -> None:
        self._objects = objects
        self._namespace = namespace
        self._build = build
        self._labels = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        self._companions = companions
        self._manager = manager
        self._wanted: tuple[Workload, ...] = ()

    def reconcile(self, wanted: Sequence[Workload], keep: Iterable[str] = ()) -> None:
        """Apply what is wanted and delete what is not; what is named in `keep` is neither applied nor deleted."""
        kept = set(keep)
        for workload in wanted:
            if workload.name not in kept:
                for manifest in self._build(workload):
                    self._objects.apply(manifest, manager=self._manager)
        self._wanted = tuple(wanted)
        names = kept | {workload.name for workload in wanted}
        for api_version, kind in (DEPLOYMENT, *self._companions):
            for item in self._list(api_version, kind):
                if item["metadata"]["name"] not in names:
                    self._objects.delete(api_version, kind, self._namespace, item["metadata"]["name"])

    def status(self) -> list[WorkloadStatus]:
        """State of every wanted workload, in the order wanted. `restarts` counts where something is wrong only."""
        there = {item["metadata"]["name"]: item for item in self._list(*DEPLOYMENT)}
        return [self._status(workload, there.get(workload.name)) for workload in self._wanted]

    def replicas(self) -> dict[str, int]:
        """How many replicas the Deployments ask for now, whoever decided that."""
        return {item["metadata"]["name"]: int(_spec(item).get("replicas", 1)) for item in self._list(*DEPLOYMENT)}

    def stop(self, grace: float) -> None:
        """Delete all and wait up to `grace` seconds for the pods' end; how long a pod may take is in its template."""
        self.reconcile([])
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and self._objects.list("v1", "Pod", self._namespace, self._labels):
            time.sleep(_POLL_SECONDS)

    def _list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        try:
            return self._objects.list(api_version, kind, self._namespace, self._labels)
        except NotFoundError:
            return []  # the cluster does not know the kind, so there is none of it

    def _status(self, workload: Workload, item: Manifest | None) -> WorkloadStatus:
        if item is None:
            return WorkloadStatus(workload.name, workload.replicas, 0, 0, MISSING)
        wanted = int(_spec(item).get("replicas", 1))
        state = item.get("status") or {}
        running = int(state.get("availableReplicas") or 0)
        seen = int(state.get("observedGeneration") or 0) >= int(item["metadata"].get("generation") or 0)
        if seen and running >= wanted and int(state.get("updatedReplicas") or 0) >= wanted:
            return WorkloadStatus(workload.name, wanted, running, 0)
        match = _spec(item).get("selector", {}).get("matchLabels", {})
        selector = ",".join(f"{name}={value}" for name, value in sorted(match.items()))
        pods = self._objects.list("v1", "Pod", self._namespace, selector)
        restarts = sum(int(one.get("restartCount") or 0) for pod in pods for one in _containers(pod))
        return WorkloadStatus(workload.name, wanted, running, restarts, problem(item, pods)[:MAX_PROBLEM])


def is_starting(status: WorkloadStatus) -> bool:
    """Whether nothing is wrong with a workload but that its pods need some more time."""
    return status.problem in {STARTING, MISSING}


def problem(deployment: Manifest, pods: Iterable[Manifest], now: float | None = None) -> str:
    """Why not all replicas run, in a sentence; the newest pod that tells something counts.

    Args:
        deployment: of the workload.
        pods: its pods.
        now: seconds since the epoch, by default the wall clock's.
    """
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), reverse=True)
    if told := next((text for pod in newest for text in _pod_problems(pod)), ""):
        return told
    conditions = _conditions(deployment)
    failure = conditions.get("ReplicaFailure") or {}
    if failure.get("status") == "True":
        return f"pods cannot be created: {failure.get('message') or failure.get('reason')}"
    late = (conditions.get("Progressing") or {}).get("reason") == "ProgressDeadlineExceeded"
    living = next((pod for pod in newest if "deletionTimestamp" not in pod["metadata"]), None)
    if late or _is_late(deployment, living, time.time() if now is None else now):
        return NOT_READY
    return STARTING


def _is_late(deployment: Manifest, pod: Manifest | None, now: float) -> bool:
    """Whether the newest pod was ready once, or had its time to become so."""
    if pod is not None and _was_ready(pod):
        return True
    # Without a pod, one is about to be made: for a new Deployment, or since the last one went.
    unavailable = (_conditions(deployment).get("Available") or {}).get("lastTransitionTime")
    metadata = deployment.get("metadata") or {}
    since = pod["metadata"].get("creationTimestamp") if pod else unavailable or metadata.get("creationTimestamp")
    allowed = float(_spec(deployment).get("progressDeadlineSeconds") or DEADLINE)
    return since is not None and now - _seconds(since) > allowed


def _was_ready(pod: Manifest) -> bool:
    """Whether a pod that is not ready was so before: a pod's Ready is False from before its containers start."""
    ready = _conditions(pod).get("Ready") or {}
    runs = [((one.get("state") or {}).get("running") or {}).get("startedAt") for one in _containers(pod)]
    since = ready.get("lastTransitionTime")
    return ready.get("status") == "False" and any(
        began and since and _seconds(since) > _seconds(began) for began in runs
    )


def _seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()


def _conditions(item: Manifest) -> dict[str, Manifest]:
    return {one.get("type"): one for one in (item.get("status") or {}).get("conditions") or ()}


def _pod_problems(pod: Manifest) -> Iterator[str]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if status.get("reason") == "Evicted":
        yield f"pod {name} was evicted: {status.get('message', '')}"
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False" and one.get("message"):
            yield f"pod {name} cannot be scheduled: {one['message']}"
    for container in _containers(pod):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        reason, message = waiting.get("reason") or "", waiting.get("message") or ""
        if reason in _IMAGE_REASONS:
            yield f"pod {name} has no image: {reason}, {message or container.get('image', '')}"
        elif reason in _CONFIG_REASONS:
            yield f"pod {name} cannot start: {message or reason}"
        elif (ended := _ended(container)) and not container.get("ready"):
            again = "is restarted with pauses" if reason == "CrashLoopBackOff" else "was restarted"
            yield f"pod {name} ended with {ended} and {again}; its log says more"


def _ended(container: Manifest) -> str:
    """How a container ended last, as `exit code 1` or `exit code 137 (OOMKilled)`."""
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        if (end := state.get("terminated")) is not None:
            reason = end.get("reason") or ""
            known = f" ({reason})" if reason not in {"", "Error", "Completed"} else ""
            return f"exit code {end.get('exitCode', 'unknown')}{known}"
    return ""


def _containers(pod: Manifest) -> list[Manifest]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _spec(item: Manifest) -> Manifest:
    found = item.get("spec")
    return found if isinstance(found, Mapping) else {}
