"""`Workloads`: make these workers run. Two implementations: Deployments and child processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Workload:
    """One worker that should run. `args` follow the `vedette` command; `env` is added to the environment."""

    name: str
    args: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """How a workload is. `problem`: why not all replicas run, for people; empty when they do."""

    name: str
    wanted: int
    running: int
    restarts: int
    problem: str = ""


class Workloads(Protocol):
    """The set of running workers."""

    def reconcile(self, wanted: Sequence[Workload]) -> None:
        """Start what is missing, restart what changed, stop what is not wanted. Returns at once; call it again."""

    def status(self) -> list[WorkloadStatus]:
        """State of every wanted workload."""

    def stop(self, grace: float) -> None:
        """Ask all to finish, wait up to `grace` seconds, then end them."""
