"""Leases of coordination.k8s.io: one process of several works, and all agree on which."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from vedette_backends.cluster.kube_api import Api
from vedette_backends.cluster.kube_kinds import WELL_KNOWN
from vedette_backends.errors import ConflictError

_LEASE = WELL_KNOWN["coordination.k8s.io/v1", "Lease"]


class KubernetesLease:
    """`Lease` by optimistic concurrency. One thread uses it.

    The times in the object are for people. A rival measures by its own steady clock how long the object stays as it is,
    and the holder measures from before its last successful write, so neither needs to trust the other's clock.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        seconds: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._seen: dict[str, Any] | None = None
        self._seen_at = 0.0

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else holds it now."""
        return self._clock() < self._until

    @property
    def holder(self) -> str:
        """Who held it when it was looked at last."""
        return "" if self._seen is None else _spec(self._seen).get("holderIdentity") or ""

    def acquire(self) -> bool:
        """Try once to become or stay the holder."""
        begun = self._clock()
        found = self._api.find(_LEASE.path(self._namespace, self._name))
        if found is None:
            return self._write(begun, None)
        self._look(found, begun)
        if self.holder in {"", self._identity} or self._expired(begun):
            return self._write(begun, found)
        self._until = 0.0
        return False

    def renew(self) -> bool:
        """Stay the holder: one request, as long as nobody touched the object meanwhile."""
        if self._seen is None or self.holder != self._identity:
            return False
        return self._write(self._clock(), self._seen) or self._still_ours()

    def release(self) -> None:
        """Let others have it at once."""
        found, self._until = self._seen, 0.0
        if found is None or self.holder != self._identity:
            return
        self._seen = None
        spec = {**_spec(found), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            self._send("PUT", {**found, "spec": spec})
        except ConflictError:
            return  # somebody else has it already

    def _still_ours(self) -> bool:
        """After a conflict: a person may have put a label on it."""
        found = self._api.find(_LEASE.path(self._namespace, self._name))
        if found is None or _spec(found).get("holderIdentity") != self._identity:
            self._until = 0.0
            if found is not None:
                self._look(found, self._clock())
            return False
        return self._write(self._clock(), found)

    def _look(self, found: dict[str, Any], now: float) -> None:
        if self._seen is None or _version(self._seen) != _version(found):
            self._seen, self._seen_at = found, now

    def _expired(self, now: float) -> bool:
        assert self._seen is not None
        seconds = _spec(self._seen).get("leaseDurationSeconds") or self._seconds
        return now - self._seen_at > seconds

    def _write(self, begun: float, found: Mapping[str, Any] | None) -> bool:
        now = _now()
        before = {} if found is None else _spec(found)
        ours = before.get("holderIdentity") == self._identity
        spec = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._seconds,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if ours else now,
            "leaseTransitions": before.get("leaseTransitions", -1) + (not ours),
        }
        body = found or {
            "apiVersion": _LEASE.api_version,
            "kind": _LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
        }
        try:
            written = self._send("POST" if found is None else "PUT", {**body, "spec": spec})
        except ConflictError:
            return False
        self._seen, self._seen_at = written, begun
        self._until = begun + self._seconds
        return True

    def _send(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        path = _LEASE.path(self._namespace, "" if method == "POST" else self._name)
        # A second try of what succeeded would meet its own conflict.
        return self._api.request(method, path, body, repeatable=False)


def _spec(lease: Mapping[str, Any]) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = lease.get("spec") or {}
    return spec


def _version(lease: Mapping[str, Any]) -> str:
    return str(lease["metadata"]["resourceVersion"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
