"""`Cluster` on one machine: objects in SQLite, shared by all processes of `vedette up`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vedette_backends.cluster import objects, problems, schema
from vedette_backends.cluster.protocol import Event, Key, Object
from vedette_backends.database import Changes, Connection, connect, transaction, translated
from vedette_backends.errors import ConflictError, UnavailableError
from vedette_crds.problems import Problem

_POLL_SECONDS = 0.02
_EVENTS_AT_ONCE = 500


class LocalCluster:
    """Objects of all namespaces in one database file, which only its owner may read: Secrets are in it.

    Threads may share it; processes, forked ones too, open their own.

    Args:
        path: the file, `DATA/cluster.db`; made when it is missing.

    Raises:
        RefusedError: the file is damaged, not writable, or made by a newer program.
        UnavailableError: another process holds it for too long, or the disk cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        with translated(path):
            schema.prepare(path)
            self._connection = connect(path, durable=True, cache_bytes=schema.CACHE_BYTES)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection, for one thread at a time."""
        if os.getpid() != self._pid:
            raise UnavailableError(f"{self._path}: a cluster does not outlive a fork; open it in the new process")
        with self._lock, translated(self._path):
            if self._closed.is_set():
                raise UnavailableError(f"{self._path}: the cluster is closed")
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The connection inside a transaction: all or nothing."""
        with self.reading() as connection, transaction(connection):
            yield connection

    def get(self, key: Key) -> Object | None:
        """One object."""
        with self.reading() as connection:
            stored = objects.read(connection, key)
        return None if stored is None else stored.to_object()

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind, by namespace and name."""
        with self.reading() as connection:
            return [stored.to_object() for stored in objects.read_all(connection, kind, namespace)]

    def watch(self, after: int, timeout: float, *, statuses: bool = True) -> Iterator[Event]:
        """Changes after the resource version `after`, oldest first; ends when none came for `timeout` seconds.

        Without `statuses`, changes of a status alone are passed over.

        `event.object.version` is the version of the change: the `after` to go on with.
        """
        with translated(self._path):
            connection = connect(self._path, durable=False, cache_bytes=schema.CACHE_BYTES)
        try:
            looks = Changes(connection)
            deadline = time.monotonic() + timeout
            while True:
                with translated(self._path):
                    found = (
                        objects.changes(connection, after, _EVENTS_AT_ONCE, statuses=statuses) if looks.any() else []
                    )
                while found:
                    yield from found
                    after = found[-1].object.version
                    deadline = time.monotonic() + timeout
                    with translated(self._path):
                        found = objects.changes(connection, after, _EVENTS_AT_ONCE, statuses=statuses)
                left = deadline - time.monotonic()
                if left <= 0 or self._closed.wait(min(left, _POLL_SECONDS)):
                    return
        finally:
            connection.close()

    def version(self) -> int:
        """The newest resource version."""
        with self.reading() as connection:
            return objects.newest(connection)

    def apply(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create or replace an object that the program itself owns.

        Raises:
            ConflictError: `metadata.resourceVersion` is given and not the current one, or a file holds the object.
            RefusedError: the manifest names no object, or is too large.
        """
        key = objects.key_of(manifest)
        with self.writing() as connection:
            current = objects.read(connection, key)
            wanted = objects.given_version(manifest)
            if wanted is not None and (current is None or wanted != str(current.version)):
                is_now = "it does not exist" if current is None else f"it is at {current.version}"
                raise ConflictError(f"{key} was read at version {wanted}, but {is_now}")
            _refuse_if_in_file(current)
            objects.write(connection, manifest, manager=manager)
            return _just_written(connection, key)

    def create(self, manifest: Mapping[str, Any], *, manager: str) -> Object:
        """Create; raises ConflictError when it exists."""
        key = objects.key_of(manifest)
        with self.writing() as connection:
            if objects.read(connection, key) is not None:
                raise ConflictError(f"{key} exists")
            objects.write(connection, manifest, manager=manager)
            return _just_written(connection, key)

    def delete(self, key: Key) -> None:
        """Remove an object that the program itself owns. Raises ConflictError for one that a file holds."""
        with self.writing() as connection:
            _refuse_if_in_file(objects.read(connection, key))
            objects.remove(connection, key)

    def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """Replace the status; no error when the object is gone. Does not raise the generation."""
        with self.writing() as connection:
            objects.write_status(connection, key, status)

    def patch_statuses(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """`patch_status` of many objects in one transaction: thousands of rules at a start."""
        with self.writing() as connection:
            for key, status in statuses:
                objects.write_status(connection, key, status)

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a Secret."""
        found = self.get(Key("Secret", namespace, name))
        return None if found is None else objects.secret_value(found.manifest, key)

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a ConfigMap."""
        found = self.get(Key("ConfigMap", namespace, name))
        return None if found is None else objects.config_value(found.manifest, key)

    def namespaces(self) -> Sequence[str]:
        """Namespaces that hold an object, sorted."""
        with self.reading() as connection:
            return [row[0] for row in connection.execute("SELECT DISTINCT namespace FROM object ORDER BY namespace")]

    def problems(self) -> Sequence[Problem]:
        """What is wrong in the folder's files now, by file and line."""
        with self.reading() as connection:
            return problems.read(connection)

    def close(self) -> None:
        """Release the file; watches end."""
        with self._lock:
            self._closed.set()
            self._connection.close()


def _just_written(connection: Connection, key: Key) -> Object:
    stored = objects.read(connection, key)
    assert stored is not None
    return stored.to_object()


def _refuse_if_in_file(current: objects.Stored | None) -> None:
    if current is not None and current.file is not None:
        raise ConflictError(f"{current.key} is kept in {current.to_object().origin}: change it there")
