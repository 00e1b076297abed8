"""Removing what nobody needs any more: last words of pods that are long gone, bundles that were replaced."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from vedette_backends.store.elastic_blobs import HEAD
from vedette_backends.store.elastic_bulk import action, bulk
from vedette_backends.store.elastic_http import Api, good, quoted
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_query import Dsl
from vedette_backends.store.elastic_records import HEARTBEAT
from vedette_backends.store.elastic_search import search

_PAGE: Final = 1000


def prune(api: Api, names: Names, before: int, keep: Collection[str] = ()) -> int:
    """Remove heartbeats older than `before` (ms), and blobs written before it that no head points at, but `keep`.

    Returns how many. Whoever sets a head to a blob that is just being removed is told that it does not exist.
    """
    for index in (names.state, names.blobs):
        good(api.call("POST", f"/{quoted(index)}/_refresh?ignore_unavailable=true"))
    keep = frozenset(keep)
    silent = _all(api, names.state, {"bool": {"filter": [{"term": {"kind": HEARTBEAT}}, _older("time", before)]}})
    pointed_at = {hit["_source"]["digest"] for hit in _all(api, names.state, {"term": {"kind": HEAD}})}
    replaced = (hit for hit in _all(api, names.blobs, _older("written", before)) if hit["_id"] not in pointed_at | keep)
    gone = _delete(api, names.state, [hit["_id"] for hit in silent])
    for hit in replaced:
        # First the document that says that the blob is there.
        gone += _delete(api, names.blobs, [hit["_id"]])
        _delete(api, names.blobs, [f"{hit['_id']}.{number}" for number in range(hit["_source"]["pieces"])])
    return gone


def _older(field: str, before: int) -> Dsl:
    return {"range": {field: {"lt": before}}}


def _all(api: Api, index: str, query: Dsl) -> Iterator[dict[str, Any]]:
    body: Dsl = {"query": query, "size": _PAGE, "sort": [{"key": {"order": "asc"}}]}
    while True:
        hits = search(api, quoted(index), body)["hits"]["hits"]
        yield from hits
        if len(hits) < _PAGE:
            return
        body["search_after"] = hits[-1]["sort"]


def _delete(api: Api, index: str, ids: list[str]) -> int:
    if not ids:
        return 0
    items = bulk(api, index, [action("delete", document_id) for document_id in ids])
    for item in items:
        item.check()
    return sum(item.status == 200 for item in items)
