"""What the tests of this folder share beside the fixtures that all folders have (fixtures.py)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.cluster.node import Node
from tests.helpers import until

RESTRICTED: dict[str, Any] = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the chart asks for every container of ours."""

StartPod = Callable[..., str]


@pytest.fixture
def start_pod(node: Node, image: str, namespace: str) -> StartPod:
    """Start a pod of our image in the test's namespace; its name.

    `start_pod("--version")` runs `vedette --version`, `start_pod(python="print(1)")` a script with our packages;
    `secrets` maps names of Secrets to the folders where they are mounted.
    """
    numbers = itertools.count(1)

    def start(*arguments: str, python: str = "", secrets: Mapping[str, str] | None = None) -> str:
        name = f"pod-{next(numbers)}"
        mounted = secrets or {}
        container: dict[str, Any] = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "Never",
            "args": ["-c", python] if python else list(arguments),
            "securityContext": RESTRICTED,
            "volumeMounts": [{"name": each, "mountPath": path, "readOnly": True} for each, path in mounted.items()],
        }
        if python:
            container["command"] = ["/usr/bin/python3"]
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": each, "secret": {"secretName": each}} for each in mounted],
        }
        node.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
        )
        return name

    return start


@pytest.fixture
def run_pod(node: Node, namespace: str, start_pod: StartPod) -> Callable[..., str]:
    """Run a pod as `start_pod` does to its end, which has to be a good one; what it printed."""

    def run(*arguments: str, python: str = "", secrets: Mapping[str, str] | None = None) -> str:
        name = start_pod(*arguments, python=python, secrets=secrets)

        def phase() -> str:
            return str(node.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["phase"])

        until(lambda: phase() in {"Succeeded", "Failed"}, seconds=90, what=f"the end of {name}", pause=0.1)
        said = node.kubectl("logs", name, "-n", namespace)
        assert phase() == "Succeeded", said
        return said

    return run


@pytest.fixture
def pod_address(node: Node, namespace: str) -> Callable[[str], str]:
    """The address of a pod of the test's namespace, once it is Ready."""

    def address(name: str) -> str:
        node.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=60s")
        pod = json.loads(node.kubectl("get", "pod", name, "-n", namespace, "-o", "json"))
        return str(pod["status"]["podIP"])

    return address
