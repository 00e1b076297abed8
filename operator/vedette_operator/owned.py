"""Applying what the operator owns: nothing is written when nothing differs, and what others change is noticed.

Server-side apply would leave an equal object alone too, but only after a request for each; here an object that is known
to be as it should costs nothing, one that may have changed costs a read, and only a difference costs a write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from itertools import zip_longest
from typing import Any, Protocol

import orjson

from vedette_operator import marks
from vedette_operator.desired.names import MANAGER, Document, Manifest

log = logging.getLogger(__name__)

APPLIED = "vedette.dev/applied"
"""Annotation: hash of what the operator applied."""

LOOK_AGAIN = 60.0
"""Seconds for which an object counts as known; those that no watch covers (Secrets) are read again then."""

_KEYS = ("name", "mountPath", "containerPort", "uid", "key", "port")
"""What tells the entries of a list apart in Kubernetes' own kinds, in this order."""
_SUFFIXES = {"m": "e-3", "k": "e3", "M": "e6", "G": "e9", "T": "e12"}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}


class Resources(Protocol):
    """Objects of any kind, as plain manifests."""

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        """Server-side apply; the object as it is then."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, by labels `a=b,c=d`."""

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """No error when there is none."""

    def patch(self, api_version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JSON merge patch; raises NotFoundError, and ConflictError when the body's resourceVersion is an old one."""


@dataclass(frozen=True, slots=True)
class _Id:
    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> _Id:
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])


@dataclass(slots=True)
class _Known:
    """What was applied, and which version of the object is known to hold it."""

    wanted: Document
    digest: str
    uid: str = ""
    version: str = ""
    checked: float = 0.0
    drifted: bool = False
    held: bool = False


class Owned:
    """The objects that the operator owns. Threads may share it.

    Args:
        resources: where they live.
        manager: field manager.
        clock: seconds that never go back.
    """

    def __init__(
        self, resources: Resources, *, manager: str = MANAGER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resources = resources
        self._manager = manager
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[_Id, _Known] = {}
        self.writes = 0
        """How often an object was applied or deleted."""

    # applying -------------------------------------------------------------------------------------------------------
    def apply(self, manifest: Manifest, *, manager: str = "", force: bool = True) -> dict[str, Any]:
        """Make the object as the manifest says, unless it is so already or carries the pause annotation.

        Returns:
            The object as it is where it was read or written, else the manifest.
        """
        wanted = stamped(manifest)
        digest, key, now = wanted["metadata"]["annotations"][APPLIED], _Id.of(wanted), self._clock()
        with self._lock:
            known = self._known.get(key)
            if known and known.digest == digest and not known.drifted and now - known.checked < LOOK_AGAIN:
                return wanted
        live = self._resources.get(key.api_version, key.kind, key.namespace, key.name)
        held = live is not None and _paused(live)
        if live is None or (not held and not covers(live, wanted)):
            live = self._resources.apply(wanted, manager=manager or self._manager, force=force)
            self.writes += 1
            log.info("applied %s %s/%s", key.kind, key.namespace, key.name)
        metadata = live.get("metadata") or {}
        with self._lock:
            self._known[key] = _Known(
                wanted,
                digest,
                str(metadata.get("uid") or ""),
                str(metadata.get("resourceVersion") or ""),
                now,
                held=held,
            )
        return live

    def drifted(self, item: Manifest, *, deleted: bool = False) -> bool:
        """Whether an object as a watch shows it is not as it was applied; then the next `apply` looks at it.

        Changes of a status, fields of others, and events older than what was applied are no drift.
        """
        with self._lock:
            known = self._known.get(_Id.of(item))
            if known is None:
                return False
            metadata = item["metadata"]
            if not deleted:
                if _not_newer(metadata.get("resourceVersion"), known.version):
                    return False
                same = not known.uid or metadata.get("uid") == known.uid
                if same and _paused(item) == known.held and (known.held or covers(item, known.wanted)):
                    return False
            known.drifted = True
            return True

    def held(self, namespace: str) -> list[str]:
        """Objects that are left alone because they carry the pause annotation, as `Deployment vedette-pipeline`."""
        with self._lock:
            return sorted(
                f"{key.kind} {key.name}"
                for key, known in self._known.items()
                if known.held and key.namespace == namespace
            )

    def forget(self, namespace: str) -> None:
        """Nothing is known of the namespace any more: the next `apply` of each object looks."""
        with self._lock:
            for key in [key for key in self._known if key.namespace == namespace]:
                del self._known[key]

    # the rest goes through ------------------------------------------------------------------------------------------
    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object as it is."""
        return self._resources.get(api_version, kind, namespace, name)

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects as they are."""
        return self._resources.list(api_version, kind, namespace, labels)

    def patch(self, api_version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JSON merge patch."""
        self.writes += 1
        return self._resources.patch(api_version, kind, namespace, name, body)

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete; no error when there is none."""
        with self._lock:
            self._known.pop(_Id(api_version, kind, namespace, name), None)
        self._resources.delete(api_version, kind, namespace, name)
        self.writes += 1


def stamped(manifest: Manifest) -> Document:
    """The manifest with its hash as an annotation."""
    digest = sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
    metadata = {**manifest["metadata"]}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), APPLIED: digest}
    return {**manifest, "metadata": metadata}


def covers(live: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there; what others added does not count.

    Lists whose entries have names are compared entry by entry, others as a whole. Amounts are equal when they mean the
    same (`1` and `1000m`), and what is empty is equal to what is missing, as the API server stores both.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return all(covers(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return _covers_list(live or (), wanted) if isinstance(live, list | tuple | None) else False
    if wanted in (None, "", False) and live in (None, "", False):
        return True
    return bool(live == wanted) or _same_amount(live, wanted)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    key = next((name for name in _KEYS if wanted and all(_has(entry, name) for entry in wanted)), None)
    if key is None:
        missing = object()
        return all(covers(one, other) for one, other in zip_longest(live, wanted, fillvalue=missing))
    return all(any(covers(entry, one) for entry in _keyed(live, key, one[key])) for one in wanted)


def _keyed(entries: Iterable[Any], key: str, value: Any) -> Iterator[Any]:
    return (entry for entry in entries if _has(entry, key) and entry[key] == value)


def _has(entry: Any, name: str) -> bool:
    return isinstance(entry, Mapping) and name in entry


def _same_amount(one: Any, other: Any) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    first = _amount(one)
    return first is not None and first == _amount(other)


def _amount(text: str) -> Decimal | None:
    """A quantity of Kubernetes as a number; None for other text."""
    try:
        if text[-2:] in _BINARY:
            return Decimal(text[:-2]) * (1 << _BINARY[text[-2:]])
        if text[-1:] in _SUFFIXES:
            return Decimal(text[:-1] + _SUFFIXES[text[-1]])
        return Decimal(text)
    except InvalidOperation:
        return None


def _paused(item: Manifest) -> bool:
    annotations = item["metadata"].get("annotations") or {}
    return bool(annotations.get(marks.PAUSE) == "true")


def _not_newer(version: Any, known: str) -> bool:
    """Resource versions are comparable numbers since Kubernetes 1.35; others are always taken for new."""
    texts = str(version or ""), known
    return all(text.isdecimal() for text in texts) and int(texts[0]) <= int(texts[1])
