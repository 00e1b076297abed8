"""`Cluster`: where custom resources live. Implementations: the Kubernetes API, and a folder with SQLite beside it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Key:
    """Names one object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Object:
    """One object as it is now.

    Attributes:
        manifest: apiVersion, kind, metadata, spec (or data), as the user wrote it. `metadata.generation` and
            `metadata.resourceVersion` are the cluster's.
        status: the `status` part, {} when none was written.
        origin: file and line where a person finds it, `rules/ssh.yaml:12`; empty for what no file holds.
    """

    key: Key
    manifest: Mapping[str, Any]
    status: Mapping[str, Any]
    generation: int
    version: int
    origin: str = ""


class Change(enum.Enum):
    """What happened to an object."""

    SET = "set"
    STATUS = "status"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `object` is the last known state."""

    change: Change
    object: Object


class Cluster(Protocol):
    """Objects of all namespaces. Every method may raise UnavailableError."""

    def get(self, key: Key) -> Object | None:
        """One object."""

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind, by namespace and name."""

    def watch(self, after: int, timeout: float, *, statuses: bool = True) -> Iterator[Event]:
        """Changes after the resource version `after`, oldest first; ends when none came for `timeout` seconds.

        Without `statuses`, changes of a status alone are passed over: whoever writes statuses need not read them.
        """

    def version(self) -> int:
        """The newest resource version."""

    def apply(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create or replace an object that the program itself owns (an Incident); raises ConflictError.

        With `metadata.resourceVersion` given, only if that is still the current one.
        """

    def create(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create; raises ConflictError when it exists."""

    def delete(self, key: Key) -> None:
        """Remove an object that the program itself owns; no error when there is none."""

    def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """Replace the status; no error when the object is gone. Does not raise the generation."""

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a Secret."""

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a ConfigMap."""

    def close(self) -> None:
        """Release files and connections."""
