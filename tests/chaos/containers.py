"""Containers of a release as processes of this machine, which sees all of the node's."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.release import Release

NEW_SETTINGS = "starting again with the new ones"


def pods(release: Release, namespace: str, component: str) -> list[dict[str, Any]]:
    """Pods of a component that are not on their way out."""
    found = release.pods(namespace, f"vedette.dev/component={component}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def ready(release: Release, namespace: str, component: str) -> list[str]:
    """Names of the Ready ones."""
    return [
        pod["metadata"]["name"]
        for pod in pods(release, namespace, component)
        if {"type": "Ready", "status": "True"}.items()
        <= next((one for one in pod["status"].get("conditions", ()) if one["type"] == "Ready"), {}).items()
    ]


def restarts(release: Release, namespace: str) -> dict[str, int]:
    """How often the container of each pod of ours was started again."""
    return {
        pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))
        for pod in release.pods(namespace, "app.kubernetes.io/part-of=vedette")
        if "deletionTimestamp" not in pod["metadata"]
    }


def started_again(release: Release, namespace: str, before: dict[str, int]) -> list[str]:
    """Pods whose container ended since `restarts` was asked; new ones, which come while events wait, count as well.

    Those that ended to read new settings do not count: kubelet shows them up to a minute after an earlier test changed
    them.
    """
    again = [name for name, count in restarts(release, namespace).items() if count > before.get(name, 0)]
    logs = {name: release.node.kubectl("logs", name, "-n", namespace, "--previous") for name in again}
    return [name for name, log in logs.items() if NEW_SETTINGS not in log]


def kill(release: Release, namespace: str, component: str) -> int:
    """kill -9 the first process of each container of a component; how many there were."""
    killed = 0
    for pod in pods(release, namespace, component):
        for process in _first_processes(pod["metadata"]["uid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                killed += 1
    return killed


def _first_processes(uid: str) -> Iterator[int]:
    """Process 1 of each container of a pod but the one that only holds its network."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if uid not in (folder / "cgroup").read_text().replace("_", "-"):
                continue
            numbers = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("NSpid:"))
            if numbers.split()[-1] == "1" and b"pause" not in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                yield int(folder.name)
