"""Reading and writing objects inside a transaction: the rules of generation and version, in one place."""

from __future__ import annotations

import base64
import binascii
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from vedette_backends.cluster.protocol import Change, Event, Key, Object
from vedette_backends.errors import RefusedError

DEFAULT_NAMESPACE = "default"

# What etcd takes for one object; a cluster would refuse more.
MAX_OBJECT_BYTES = 1_500_000

# So many changes are kept one by one; of older ones only the newest of each kind per object.
KEPT_CHANGES = 10_000
_PRUNE_EVERY = 1000

# The cluster's own: never taken from what a user wrote.
_CLUSTER_METADATA = frozenset({"generation", "resourceVersion", "creationTimestamp"})

_COLUMNS = "kind, namespace, name, manifest, status, generation, version, created, file, line"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's row. `file`: the folder's file that holds it, None for what the program made."""

    key: Key
    manifest: dict[str, Any]
    status: dict[str, Any]
    generation: int
    version: int
    created: int
    file: str | None
    line: int | None

    def to_object(self, version: int | None = None) -> Object:
        """As code above sees it; `version` replaces the object's own where a change is told."""
        metadata = {
            **self.manifest["metadata"],
            "generation": self.generation,
            "resourceVersion": str(self.version),
            "creationTimestamp": datetime.fromtimestamp(self.created / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        manifest = {**self.manifest, "metadata": metadata}
        origin = "" if self.file is None else self.file if self.line is None else f"{self.file}:{self.line}"
        return Object(self.key, manifest, self.status, self.generation, version or self.version, origin)


def key_of(manifest: Mapping[str, Any]) -> Key:
    """The key that a manifest names; raises RefusedError when it names none."""
    metadata = manifest.get("metadata")
    kind = manifest.get("kind")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = (metadata.get("namespace") or DEFAULT_NAMESPACE) if isinstance(metadata, Mapping) else None
    if not (isinstance(kind, str) and kind and isinstance(name, str) and name and isinstance(namespace, str)):
        raise RefusedError("a manifest needs kind, metadata.name and, if any, metadata.namespace as text")
    return Key(kind, namespace, name)


def given_version(manifest: Mapping[str, Any]) -> str | None:
    """`metadata.resourceVersion` of what a caller wants to write."""
    version = manifest["metadata"].get("resourceVersion")
    return None if version is None else str(version)


def read(connection: sqlite3.Connection, key: Key) -> Stored | None:
    """One object."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM object WHERE kind = ? AND namespace = ? AND name = ?",  # noqa: S608 # our own columns
        (key.kind, key.namespace, key.name),
    ).fetchone()
    return None if row is None else _stored(row)


def read_all(connection: sqlite3.Connection, kind: str, namespace: str | None) -> Iterator[Stored]:
    """Objects of a kind, by namespace and name."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM object WHERE kind = ? AND (? IS NULL OR namespace = ?) ORDER BY namespace, name",  # noqa: S608 # our own columns
        (kind, namespace, namespace),
    )
    return map(_stored, rows)


def _stored(row: tuple[Any, ...]) -> Stored:
    kind, namespace, name, manifest, status, generation, version, created, file, line = row
    key = Key(kind, namespace, name)
    return Stored(key, orjson.loads(manifest), orjson.loads(status), generation, version, created, file, line)


def write(
    connection: sqlite3.Connection,
    manifest: Mapping[str, Any],
    *,
    manager: str,
    file: str | None = None,
    line: int | None = None,
) -> bool:
    """Create or replace an object; says whether that changed anything but its place.

    The generation grows when anything but metadata changes; the version with every change. `status` is not taken.
    """
    key = key_of(manifest)
    wanted = _without_cluster_parts(manifest, key)
    text = _dump(wanted, key)  # first: what JSON cannot hold is refused before it is compared
    old = read(connection, key)
    if old is not None and _same(old.manifest, wanted):
        if (old.file, old.line) != (file, line):
            connection.execute(
                "UPDATE object SET file = ?, line = ?, manager = ? WHERE kind = ? AND namespace = ? AND name = ?",
                (file, line, manager, *_parts(key)),
            )
        return False
    version = _log(connection, key, Change.SET)
    if old is None:
        connection.execute(
            "INSERT INTO object (kind, namespace, name, manifest, generation, version, created, manager, file, line)"
            " VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?)",
            (*_parts(key), text, version, time.time_ns() // 1_000_000, manager, file, line),
        )
    else:
        generation = old.generation + (not _same(_substance(old.manifest), _substance(wanted)))
        connection.execute(
            "UPDATE object SET manifest = ?, generation = ?, version = ?, manager = ?, file = ?, line = ?"
            " WHERE kind = ? AND namespace = ? AND name = ?",
            (text, generation, version, manager, file, line, *_parts(key)),
        )
    return True


def write_status(connection: sqlite3.Connection, key: Key, status: Mapping[str, Any]) -> None:
    """Replace the status of an object, if it exists and the status is another one."""
    text = _dump(status, key)
    old = read(connection, key)
    if old is None or _same(old.status, status):
        return
    version = _log(connection, key, Change.STATUS)
    connection.execute(
        "UPDATE object SET status = ?, version = ? WHERE kind = ? AND namespace = ? AND name = ?",
        (text, version, *_parts(key)),
    )


def remove(connection: sqlite3.Connection, key: Key) -> None:
    """Delete an object, if it exists."""
    old = read(connection, key)
    if old is None:
        return
    last = orjson.dumps(
        {
            "manifest": old.manifest,
            "status": old.status,
            "generation": old.generation,
            "created": old.created,
            "file": old.file,
            "line": old.line,
        }
    ).decode()
    _log(connection, key, Change.DELETED, last)
    connection.execute("DELETE FROM object WHERE kind = ? AND namespace = ? AND name = ?", _parts(key))


def newest(connection: sqlite3.Connection) -> int:
    """The newest version ever given."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'change'").fetchone()
    return row[0] if row else 0


def changes(connection: sqlite3.Connection, after: int, most: int, *, statuses: bool = True) -> list[Event]:
    """Changes after a version, oldest first, at most so many; with or without those of statuses.

    An event's `object.version` is the version of that change, where a watcher goes on; the rest is the object's last
    known state, so its `metadata.resourceVersion` may be newer.
    """
    rows = connection.execute(
        "SELECT version, kind, namespace, name, change, last FROM change WHERE version > ? AND change <> ? "
        "ORDER BY version LIMIT ?",
        (after, "" if statuses else Change.STATUS.value, most),
    ).fetchall()
    found = []
    for version, kind, namespace, name, change, last in rows:
        key = Key(kind, namespace, name)
        state = _deleted(key, version, last) if last is not None else _last_known(connection, key, version)
        if state is not None:
            found.append(Event(Change(change), state.to_object(version)))
    return found


def _last_known(connection: sqlite3.Connection, key: Key, version: int) -> Stored | None:
    """The state to tell with an older change: up to the object's end, if it was deleted since."""
    end = connection.execute(
        "SELECT version, last FROM change"
        " WHERE kind = ? AND namespace = ? AND name = ? AND version > ? AND last IS NOT NULL ORDER BY version LIMIT 1",
        (*_parts(key), version),
    ).fetchone()
    return read(connection, key) if end is None else _deleted(key, end[0], end[1])


def _deleted(key: Key, version: int, last: str) -> Stored:
    state = orjson.loads(last)
    return Stored(key, state["manifest"], state["status"], state["generation"], version, *_place(state))


def _place(state: Mapping[str, Any]) -> tuple[int, str | None, int | None]:
    return state["created"], state["file"], state["line"]


def _log(connection: sqlite3.Connection, key: Key, change: Change, last: str | None = None) -> int:
    version = connection.execute(
        "INSERT INTO change (kind, namespace, name, change, last) VALUES (?, ?, ?, ?, ?)",
        (*_parts(key), change.value, last),
    ).lastrowid
    assert version is not None
    if version % _PRUNE_EVERY == 0:
        prune(connection, version - KEPT_CHANGES)
    return version


def prune(connection: sqlite3.Connection, before: int) -> None:
    """Drop changes older than a version that a newer one of the same object makes needless to tell."""
    connection.execute(
        "DELETE FROM change AS old WHERE version < ? AND EXISTS ("
        " SELECT 1 FROM change AS new WHERE new.kind = old.kind AND new.namespace = old.namespace"
        " AND new.name = old.name AND new.version > old.version"
        " AND (new.change IN (old.change, 'deleted') OR (old.change = 'deleted' AND new.change = 'set')))",
        (before,),
    )


def _parts(key: Key) -> tuple[str, str, str]:
    return key.kind, key.namespace, key.name


def _without_cluster_parts(manifest: Mapping[str, Any], key: Key) -> dict[str, Any]:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _CLUSTER_METADATA}
    metadata["namespace"] = key.namespace
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _substance(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "metadata"}


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    # As JSON: Python holds 1, 1.0 and True for equal, a manifest does not.
    return left == right and _canonical(left) == _canonical(right)


def _canonical(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _dump(value: Mapping[str, Any], key: Key) -> str:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        raise RefusedError(f"{key} cannot be written as JSON: {error}") from error
    if len(text) > MAX_OBJECT_BYTES:
        raise RefusedError(f"{key} has {len(text)} bytes, more than {MAX_OBJECT_BYTES}")
    return text.decode()


def secret_value(manifest: Mapping[str, Any], name: str) -> bytes | None:
    """One value of a Secret; `stringData` goes before `data`, as in Kubernetes. Raises RefusedError for bad base64."""
    return _value(manifest, name, text="stringData", binary="data")


def config_value(manifest: Mapping[str, Any], name: str) -> bytes | None:
    """One value of a ConfigMap. Raises RefusedError for bad base64."""
    return _value(manifest, name, text="data", binary="binaryData")


def _value(manifest: Mapping[str, Any], name: str, *, text: str, binary: str) -> bytes | None:
    plain = (manifest.get(text) or {}).get(name)
    if isinstance(plain, str):
        return plain.encode("utf-8", "surrogatepass")
    coded = (manifest.get(binary) or {}).get(name)
    if not isinstance(coded, str):
        return None
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        # The value itself stays out of the message.
        raise RefusedError(f"{key_of(manifest)}: {binary}.{name} is not base64") from error
