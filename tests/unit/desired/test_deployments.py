"""`Workloads` by Deployments, on a real API server; the states of pods are written by hand, since no node is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from tests.servers.apiserver import ApiServer

from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.workloads.deployments import NOT_READY, STARTING, DeploymentWorkloads, is_starting, problem
from vedette_backends.workloads.protocol import Workload
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import names, workloads
from vedette_operator.desired.workloads import Plan, Surroundings


@pytest.fixture
def crew(resources: KubernetesResources, config: OperatorConfig, namespace: str) -> DeploymentWorkloads:
    around = Surroundings(config, namespace, "hash")

    def build(workload: Workload) -> list[dict[str, Any]]:
        return workloads.manifests(Plan(workload.name, "pipeline", tuple(workload.args)), around, workload.replicas)

    return DeploymentWorkloads(resources, namespace, build, labels=names.OURS)


def named(resources: KubernetesResources, namespace: str, kind: str = "Deployment") -> list[str]:
    version = {"Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1"}[kind]
    return [one["metadata"]["name"] for one in resources.list(version, kind, namespace)]


def test_what_is_wanted_is_there_and_what_is_not_is_gone(
    crew: DeploymentWorkloads, resources: KubernetesResources, namespace: str
) -> None:
    crew.reconcile([Workload("one", ["a"]), Workload("two", ["b"], replicas=3)])
    assert named(resources, namespace) == ["one", "two"]
    crew.reconcile([Workload("two", ["c"], replicas=2)])
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert named(resources, namespace, kind) == ["two"]
    assert crew.replicas() == {"two": 2}
    live = resources.get("apps/v1", "Deployment", namespace, "two")
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ["c"]


def test_deployments_of_others_stay(crew: DeploymentWorkloads, resources: KubernetesResources, namespace: str) -> None:
    container = {"name": "c", "image": "example.org/theirs"}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "theirs", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
        },
    }
    resources.apply(theirs, manager="somebody")
    crew.reconcile([Workload("ours", [])])
    crew.stop(0)
    assert named(resources, namespace) == ["theirs"]


def test_what_is_kept_is_neither_changed_nor_deleted(
    crew: DeploymentWorkloads, resources: KubernetesResources, namespace: str
) -> None:
    crew.reconcile([Workload("one", ["a"]), Workload("two", ["a"])])
    crew.reconcile([Workload("one", ["b"])], keep=["one", "two"])
    assert named(resources, namespace) == ["one", "two"]
    live = resources.get("apps/v1", "Deployment", namespace, "one")
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ["a"]


def test_a_deployment_runs_when_all_of_its_newest_version_does(
    crew: DeploymentWorkloads, api_server: ApiServer, namespace: str
) -> None:
    crew.reconcile([Workload("one", [], replicas=2)])
    (before,) = crew.status()
    assert (before.wanted, before.running, before.problem) == (2, 0, "its pods are starting")
    assert is_starting(before)
    _set_status(api_server, namespace, "one", updatedReplicas=2, replicas=2, readyReplicas=2, availableReplicas=2)
    (after,) = crew.status()
    assert (after.running, after.problem) == (2, "")
    assert not is_starting(after)
    _set_status(api_server, namespace, "one", updatedReplicas=1, replicas=3, readyReplicas=2, availableReplicas=2)
    (rolling,) = crew.status()
    assert (rolling.running, rolling.problem) == (2, "its pods are starting")


def test_the_problem_of_a_pod_is_the_problem_of_its_workload(
    crew: DeploymentWorkloads, resources: KubernetesResources, api_server: ApiServer, namespace: str
) -> None:
    crew.reconcile([Workload("one", []), Workload("two", [])])
    live = resources.get("apps/v1", "Deployment", namespace, "one")
    assert live is not None
    metadata = {"name": "one-1", "namespace": namespace, "labels": live["spec"]["template"]["metadata"]["labels"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": live["spec"]["template"]["spec"]}
    resources.apply(pod, manager="tests")
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    containers = [{"name": "pipeline", "image": "i", "imageID": "", "ready": False, "restartCount": 3, "state": state}]
    path = f"/api/v1/namespaces/{namespace}/pods/one-1/status"
    api_server.request(
        "PATCH", path, {"status": {"containerStatuses": containers}}, kind="application/merge-patch+json"
    )
    first, second = crew.status()
    assert first.problem == "pod one-1 has no image: ImagePullBackOff, no such image"
    assert first.restarts == 3
    assert second.problem == "its pods are starting"


def test_a_deployment_that_is_not_there_says_so(
    crew: DeploymentWorkloads, resources: KubernetesResources, namespace: str
) -> None:
    crew.reconcile([Workload("one", [])])
    resources.delete("apps/v1", "Deployment", namespace, "one")
    (status,) = crew.status()
    assert status.problem == "its Deployment is not there yet"
    assert is_starting(status)


MINUTE_LATER = dt.datetime(2026, 11, 22, 10, 1, tzinfo=dt.UTC).timestamp()
"""A minute after the pods of these tests were made."""


def pod_of(name: str = "p", created: str = "2026-11-22T10:00:00Z", **status: Any) -> Mapping[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "c", "image": "example.org/i", "ready": False, **state}]


CRASH = container(
    state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 2, "reason": "Error"}}
)
NO_NODE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no memory"}]


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (pod_of(containerStatuses=CRASH), "ended with exit code 2 and is restarted with pauses"),
        (pod_of(conditions=NO_NODE), "cannot be scheduled: 0/3 nodes: no memory"),
        (
            pod_of(containerStatuses=container(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
            "ended with exit code 137 (OOMKilled)",
        ),
        (
            pod_of(containerStatuses=container(state={"waiting": {"reason": "ErrImageNeverPull"}})),
            "has no image: ErrImageNeverPull, example.org/i",
        ),
        (
            pod_of(
                containerStatuses=container(
                    state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}
                )
            ),
            'cannot start: secret "x" not found',
        ),
        (pod_of(reason="Evicted", message="the node was low on memory"), "was evicted: the node was low on memory"),
        (pod_of(containerStatuses=container(state={"waiting": {"reason": "ContainerCreating"}})), "are starting"),
        (pod_of(), "are starting"),
    ],
)
def test_a_person_understands_why_a_pod_does_not_run(pod: Mapping[str, Any], told: str) -> None:
    assert told in problem({"status": {}}, [pod], MINUTE_LATER)


def test_the_newest_pod_that_says_something_counts() -> None:
    old = pod_of("old", "2026-11-22T09:00:00Z", containerStatuses=CRASH)
    new = pod_of("new", "2026-11-22T10:00:00Z", conditions=NO_NODE)
    silent = pod_of("silent", "2026-11-22T11:00:00Z")
    assert problem({}, [old, new, silent]).startswith("pod new")


def test_a_quota_and_a_deadline_are_told_too() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    assert problem({"status": {"conditions": [quota]}}, []) == "pods cannot be created: exceeded quota"
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert problem({"status": {"conditions": [late]}}, [pod_of()], MINUTE_LATER) == NOT_READY


def running(ready_since: str) -> Mapping[str, Any]:
    """A pod whose container began at 10:00:02 and that is not ready since then, or since it was."""
    state = {"running": {"startedAt": "2026-11-22T10:00:02Z"}}
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": ready_since}
    return pod_of(containerStatuses=container(state=state), conditions=[ready])


def deployed() -> Mapping[str, Any]:
    """A Deployment whose pods were all ready once."""
    done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    lost = {"type": "Available", "status": "False", "lastTransitionTime": "2026-11-22T10:00:00Z"}
    metadata = {"name": "one", "creationTimestamp": "2026-11-20T10:00:00Z"}
    return {
        "metadata": metadata,
        "spec": {"progressDeadlineSeconds": 300},
        "status": {"conditions": [done, lost]},
    }


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        ([], STARTING),  # one is about to be made: it was scaled from none, or the last one was evicted
        ([running("2026-11-22T10:00:01Z")], STARTING),
        ([running("2026-11-22T10:00:40Z")], NOT_READY),
    ],
)
def test_pods_that_were_ready_are_not_starting(pods: list[Mapping[str, Any]], told: str) -> None:
    assert problem(deployed(), pods, MINUTE_LATER) == told


@pytest.mark.parametrize("pods", [[], [running("2026-11-22T10:00:01Z")]])
def test_pods_that_had_their_time_to_become_ready_are_not_starting(pods: list[Mapping[str, Any]]) -> None:
    assert problem(deployed(), pods, MINUTE_LATER + 200) == STARTING
    assert problem(deployed(), pods, MINUTE_LATER + 300) == NOT_READY


def test_a_pod_that_ends_does_not_speak_for_the_one_in_its_place() -> None:
    old = running("2026-11-22T10:00:40Z")
    ending = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-11-22T10:00:50Z"}}
    assert problem(deployed(), [ending], MINUTE_LATER) == STARTING


def _set_status(server: ApiServer, namespace: str, name: str, **fields: Any) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    generation = server.request("GET", path)["metadata"]["generation"]
    body = {"status": {"observedGeneration": generation, **fields}}
    server.request("PATCH", f"{path}/status", body, kind="application/merge-patch+json")
