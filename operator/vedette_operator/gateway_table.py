"""Which token stands for which source: the gateway's table, and what is wrong with sources that are not in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from vedette_backends.cluster.protocol import Key
from vedette_backends.store.protocol import Store
from vedette_crds.problems import Problem
from vedette_operator import sources
from vedette_operator.sources import Secrets
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Finding

HEAD = "gateway"
"""Name of the head that points at the table, in the store of the release's own namespace."""

Sink = Callable[[bytes], None]
"""Takes the table as JSON; the gateway reads it from there."""


def table(spaces: Iterable[Space], secrets: Secrets) -> bytes:
    """The table as JSON, `workers/gateway/sources.py` says its form; sets each source's TopologyReady."""
    entries: list[Mapping[str, Any]] = []
    owners: dict[str, list[Known]] = {}
    for space in spaces:
        for name, part in space.parts("LogSource"):
            known = space.objects["LogSource"][name]
            if part["gateway"] is None:
                known.token = _topology([])
                continue
            entry = sources.gateway_entry(space.namespace, name, part, secrets)
            if isinstance(entry, Problem):
                known.token = Finding("TopologyReady", "False", "ReferenceNotFound", entry.message)
                continue
            entries.append(entry)
            owners.setdefault(entry["tokens"][0], []).append(known)
    for sharing in owners.values():
        for known in sharing:
            known.token = _topology([other.object.key for other in sharing if other is not known])
    shared = {token for token, sharing in owners.items() if len(sharing) > 1}
    usable = [entry for entry in entries if entry["tokens"][0] not in shared]
    return orjson.dumps({"v": 1, "sources": usable})


def file_sink(file: Path) -> Sink:
    """Replaces a file at once: a reader sees the old or the new table. Only its owner may read it."""

    def write(data: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)

    return write


def head_sink(store: Store, head: str = HEAD) -> Sink:
    """Publishes as a blob behind a head, if it differs from what is there."""
    known = ""
    last = b""

    def write(data: bytes) -> None:
        nonlocal known, last
        if data == last:
            return
        digest = store.put_blob(data)
        known = known or store.head(head) or ""
        if digest != known:
            store.set_head(head, digest)
            known = digest
        last = data

    return write


def _topology(others: Sequence[Key]) -> Finding:
    if others:
        names = ", ".join(str(key) for key in others)
        return Finding("TopologyReady", "False", "TokenShared", f"the same token is used by {names}")
    return Finding("TopologyReady", "True", "Declared", "queue and token are in place")
