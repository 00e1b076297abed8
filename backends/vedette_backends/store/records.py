"""People's work (notes, saved searches) and the workers' last words: small JSON documents in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from vedette_backends.errors import ConflictError
from vedette_backends.store.protocol import Heartbeat, Record
from vedette_backends.store.sqlite import Database


class Records:
    """Versioned documents under (collection, parent, id).

    Args:
        database: of the namespace.
        clock: milliseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def put(self, collection: str, parent: str, record_id: str, body: Mapping[str, Any], version: int | None) -> Record:
        """Create, or change what still has `version`; `time` stays that of the creation. Raises ConflictError."""
        key = (collection, parent, record_id)
        encoded = orjson.dumps(dict(body)).decode()
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT version, time FROM record WHERE (collection, parent, id) = (?, ?, ?)", key
            ).fetchone()
            current = None if row is None else row[0]
            if current != version:
                state = "does not exist" if current is None else f"is at version {current}"
                raise ConflictError(f"{collection}/{parent}/{record_id} {state}, not at {version or 'its creation'}")
            if row is None:
                time = self._clock()
                connection.execute(
                    "INSERT INTO record (collection, parent, id, time, body, version) VALUES (?, ?, ?, ?, ?, 1)",
                    (*key, time, encoded),
                )
                return Record(*key, time=time, body=orjson.loads(encoded), version=1)
            connection.execute(
                "UPDATE record SET body = ?, version = version + 1 WHERE (collection, parent, id) = (?, ?, ?)",
                (encoded, *key),
            )
            return Record(*key, time=row[1], body=orjson.loads(encoded), version=row[0] + 1)

    def get(self, collection: str, parent: str, record_id: str) -> Record | None:
        """One record."""
        rows = self._database.rows(
            "SELECT collection, parent, id, time, body, version FROM record WHERE (collection, parent, id) = (?, ?, ?)",
            (collection, parent, record_id),
        )
        return _record(rows[0]) if rows else None

    def list(self, collection: str, parent: str) -> list[Record]:
        """All records of a parent in the order of their creation."""
        rows = self._database.rows(
            "SELECT collection, parent, id, time, body, version FROM record "
            "WHERE (collection, parent) = (?, ?) ORDER BY number",
            (collection, parent),
        )
        return [_record(row) for row in rows]


def _record(row: Any) -> Record:
    collection, parent, record_id, time, body, version = row
    return Record(collection, parent, record_id, time, orjson.loads(body), version)


class Heartbeats:
    """The last one of each worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, beat: Heartbeat) -> None:
        """Replace the worker's last heartbeat."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO heartbeat (worker, incarnation, time, body) VALUES (?, ?, ?, ?) ON CONFLICT (worker) "
                "DO UPDATE SET incarnation = excluded.incarnation, time = excluded.time, body = excluded.body",
                (beat.worker, beat.incarnation, beat.time, orjson.dumps(dict(beat.body)).decode()),
            )

    def list(self) -> list[Heartbeat]:
        """One per worker, by name."""
        rows = self._database.rows("SELECT worker, incarnation, time, body FROM heartbeat ORDER BY worker")
        return [Heartbeat(worker, incarnation, time, orjson.loads(body)) for worker, incarnation, time, body in rows]
