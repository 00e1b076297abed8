"""Events of events.k8s.io/v1: what `kubectl describe` shows below an object."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vedette_backends.cluster.kube_api import MERGE, Api
from vedette_backends.cluster.kube_kinds import WELL_KNOWN
from vedette_backends.errors import ConflictError, NotFoundError

_EVENT = WELL_KNOWN["events.k8s.io/v1", "Event"]

# The API's limits: a note in bytes, the other texts in characters.
_NOTE_BYTES = 1024
_TEXT_CHARACTERS = 128
_NAME_CHARACTERS = 200
_TRIES = 3


class EventRecorder:
    """Writes Events. Threads may share it.

    An event's name is made of what it says, so one that repeats itself is counted up in its series instead of being
    written again, after a restart too. The server forgets events after an hour.
    """

    def __init__(self, api: Api, instance: str) -> None:
        self._api = api
        self._instance = (instance or socket.gethostname())[:_TEXT_CHARACTERS]

    def record(
        self, regarding: Mapping[str, Any], reason: str, message: str, kind: str, action: str, reporter: str
    ) -> None:
        """Write an event, or count up the one that says the same."""
        metadata = regarding["metadata"]
        namespace = metadata.get("namespace") or "default"
        note = _cut(message)
        said = (str(metadata.get("uid", "")), regarding["kind"], reason, note, kind, action, reporter)
        digest = hashlib.blake2b("\0".join(said).encode(errors="replace"), digest_size=8).hexdigest()
        name = f"{metadata['name'][:_NAME_CHARACTERS]}.{digest}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        event = {
            "apiVersion": _EVENT.api_version,
            "kind": _EVENT.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": now,
            "reportingController": reporter[:_TEXT_CHARACTERS],
            "reportingInstance": self._instance,
            "action": action[:_TEXT_CHARACTERS],
            "reason": reason[:_TEXT_CHARACTERS],
            "note": note,
            "type": kind,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata.get("namespace", ""),
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
        }
        self._write(event, namespace, name, now)

    def _write(self, event: Mapping[str, Any], namespace: str, name: str, now: str) -> None:
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                self._api.request("POST", _EVENT.path(namespace), event)
            except ConflictError:
                try:
                    self._count_up(namespace, name, now)
                except (ConflictError, NotFoundError):
                    # Counted by somebody else at the same time, or forgotten in between.
                    if not tries_left:
                        raise
                    continue
            return

    def _count_up(self, namespace: str, name: str, now: str) -> None:
        path = _EVENT.path(namespace, name)
        found = self._api.get(path)
        count = (found.get("series") or {}).get("count", 1) + 1
        patch = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "series": {"count": count, "lastObservedTime": now},
        }
        self._api.request("PATCH", path, patch, content=MERGE)


def _cut(message: str) -> str:
    text = message.encode(errors="replace")
    if len(text) <= _NOTE_BYTES:
        return text.decode()
    return text[: _NOTE_BYTES - len("…".encode())].decode(errors="ignore") + "…"
