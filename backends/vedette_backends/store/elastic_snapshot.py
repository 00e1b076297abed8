"""A consistent copy of a namespace's indices, by Elasticsearch's snapshots."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any, Final

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.store.elastic_http import ADMIN_SECONDS, Api, dumps, found, good, quoted
from vedette_backends.store.elastic_names import Names

_LONGEST: Final = 6 * 3600.0
_PAUSE: Final = 0.5


def write_snapshot(api: Api, names: Names, target: str, now: int) -> None:
    """Copy all indices of the namespace, and return when that is done.

    Args:
        api: of the cluster, as a user who may take snapshots.
        names: of the namespace.
        target: name of a repository that is registered, or an absolute path, below `path.repo` of the servers.
        now: milliseconds, for the snapshot's name.

    Raises:
        RefusedError: there is no such repository, it holds a snapshot of this name, or it cannot be written.
        UnavailableError: some shard could not be copied.
    """
    repository = _register(api, target) if target.startswith("/") else target
    stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%d-%H%M%S")
    path = f"/_snapshot/{quoted(repository)}/{names.namespace}-{stamp}"
    body = {"indices": names.all(), "ignore_unavailable": True, "include_global_state": False}
    good(api.call("PUT", path, dumps(body), seconds=ADMIN_SECONDS, once=True))
    deadline = time.monotonic() + _LONGEST
    while True:
        state, failures = _state(api, path)
        if state == "SUCCESS":
            return
        if state != "IN_PROGRESS":
            raise UnavailableError(f"the snapshot {repository}/{names.namespace}-{stamp} is {state}: {failures[:300]}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"the snapshot {repository}/{names.namespace}-{stamp} takes more than six hours")
        time.sleep(_PAUSE)


def _register(api: Api, path: str) -> str:
    name = "vedette-" + hashlib.sha256(path.encode()).hexdigest()[:16]
    if found(api.call("GET", f"/_snapshot/{name}")) is None:
        body = {"type": "fs", "settings": {"location": path}}
        good(api.call("PUT", f"/_snapshot/{name}", dumps(body), seconds=ADMIN_SECONDS))
    return name


def _state(api: Api, path: str) -> tuple[str, str]:
    snapshots: list[dict[str, Any]] = good(api.call("GET", path))["snapshots"]
    if not snapshots:
        raise RefusedError(f"the snapshot {path} is gone")
    return str(snapshots[0]["state"]), str(snapshots[0].get("failures", ""))
