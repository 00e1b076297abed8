"""People's work (notes, saved searches), and the workers' last words: small documents, one index each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from vedette_backends.errors import ConflictError
from vedette_backends.store.elastic_bulk import create, get, replace
from vedette_backends.store.elastic_http import WRITE_SECONDS, Api, dumps, good, quoted
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_query import Dsl
from vedette_backends.store.elastic_refresh import Freshness
from vedette_backends.store.elastic_search import search
from vedette_backends.store.protocol import Heartbeat, Record

_PAGE: Final = 1000
HEARTBEAT: Final = "heartbeat"


def _key(*parts: str) -> str:
    return hashlib.sha256(dumps(parts)).hexdigest()


class Records:
    """Versioned documents under (collection, parent, id).

    Args:
        api: of the cluster.
        names: of the namespace.
        indices: what is known to exist.
        clock: milliseconds since the epoch.
    """

    def __init__(self, api: Api, names: Names, indices: Indices, clock: Callable[[], int]) -> None:
        self._api = api
        self._index = names.records
        self._indices = indices
        self._clock = clock
        self._fresh = Freshness(api, names.records)

    def put(self, collection: str, parent: str, record_id: str, body: Mapping[str, Any], version: int | None) -> Record:
        """Create, or change what still has `version`; `time` stays that of the creation. Raises ConflictError."""
        name = f"{collection}/{parent}/{record_id}"
        key = _key(collection, parent, record_id)
        self._indices.ensure(self._index)
        if version is None:
            made = {
                "key": key,
                "collection": collection,
                "parent": parent,
                "id": record_id,
                "time": self._clock(),
                "body": dict(body),
                "version": 1,
            }
            if not create(self._api, self._index, key, made):
                raise ConflictError(f"{name} exists already")
            return _record(made)
        document = get(self._api, self._index, key)
        if document is None:
            raise ConflictError(f"{name} does not exist, so it is not at {version}")
        source, seen = document["_source"], (document["_seq_no"], document["_primary_term"])
        if source["version"] != version:
            raise ConflictError(f"{name} is at version {source['version']}, not at {version}")
        # The sequence number of its creation keeps its place among the others.
        changed = {**source, "body": dict(body), "version": version + 1, "made": source.get("made", seen[0])}
        if not replace(self._api, self._index, key, changed, seen):
            raise ConflictError(f"{name} was changed since version {version}")
        return _record(changed)

    def get(self, collection: str, parent: str, record_id: str) -> Record | None:
        """One record."""
        document = get(self._api, self._index, _key(collection, parent, record_id))
        return None if document is None else _record(document["_source"])

    def list(self, collection: str, parent: str) -> list[Record]:
        """All records of a parent in the order of their creation."""
        self._fresh.ensure()
        where = [{"term": {"collection": collection}}, {"term": {"parent": parent}}]
        body: Dsl = {
            "query": {"bool": {"filter": where}},
            "size": _PAGE,
            "sort": [{"key": {"order": "asc"}}],
            "seq_no_primary_term": True,
        }
        made: list[tuple[int, Record]] = []
        while True:
            hits = search(self._api, self._index, body)["hits"]["hits"]
            made += [(hit["_source"].get("made", hit["_seq_no"]), _record(hit["_source"])) for hit in hits]
            if len(hits) < _PAGE:
                return [record for _, record in sorted(made, key=lambda item: item[0])]
            body["search_after"] = hits[-1]["sort"]


def _record(source: Mapping[str, Any]) -> Record:
    return Record(
        collection=source["collection"],
        parent=source["parent"],
        id=source["id"],
        time=source["time"],
        body=source["body"],
        version=source["version"],
    )


class Heartbeats:
    """The last one of each worker."""

    def __init__(self, api: Api, names: Names, indices: Indices) -> None:
        self._api = api
        self._index = names.state
        self._indices = indices
        self._fresh = Freshness(api, names.state)

    def put(self, beat: Heartbeat) -> None:
        """Replace the worker's last heartbeat."""
        self._indices.ensure(self._index)
        key = _key(HEARTBEAT, beat.worker)
        document = {
            "key": key,
            "kind": HEARTBEAT,
            "worker": beat.worker,
            "incarnation": beat.incarnation,
            "time": beat.time,
            "body": dict(beat.body),
        }
        path = f"/{quoted(self._index)}/_doc/{key}"
        good(self._api.call("PUT", path, dumps(document), seconds=WRITE_SECONDS))

    def list(self) -> list[Heartbeat]:
        """One per worker, by name."""
        self._fresh.ensure()
        body: Dsl = {
            "query": {"term": {"kind": HEARTBEAT}},
            "size": _PAGE,
            "sort": [{"worker": {"order": "asc"}}],
        }
        beats: list[Heartbeat] = []
        while True:
            hits = search(self._api, self._index, body)["hits"]["hits"]
            beats += [_heartbeat(hit["_source"]) for hit in hits]
            if len(hits) < _PAGE:
                return beats
            body["search_after"] = hits[-1]["sort"]


def _heartbeat(source: Mapping[str, Any]) -> Heartbeat:
    return Heartbeat(source["worker"], source["incarnation"], source["time"], source["body"])
