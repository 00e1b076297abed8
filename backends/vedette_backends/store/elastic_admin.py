"""What only the operator does in Elasticsearch: templates, API keys, and removing what a tenant leaves behind.

Everything is idempotent, resumable, and writes nothing where nothing differs. It needs a user (a key cannot create
keys) with the cluster privileges `manage_index_templates`, `manage_api_key`, `create_snapshot` and `monitor`, and `all`
on the indices `vedette-*`: nobody can give a key more than he has.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.settings import ElasticsearchSettings
from vedette_backends.store import elastic_mapping as mapping
from vedette_backends.store.elastic_bulk import action, bulk
from vedette_backends.store.elastic_http import ADMIN_SECONDS, Api, dumps, found, good, quoted
from vedette_backends.store.elastic_names import (
    EVENTS,
    PREFIX,
    SINGLE,
    Names,
    namespace_of,
    parse_events_index,
)
from vedette_backends.store.elastic_prune import prune
from vedette_backends.store.elastic_query import Dsl, compile_query
from vedette_backends.store.elastic_roles import Role, role_of
from vedette_backends.store.elastic_search import search
from vedette_backends.store.elasticsearch import connect, now_ms
from vedette_backends.store.protocol import TimeRange
from vedette_engine.normalise.document import SOURCE
from vedette_engine.query.tree import Term

_DELETE_AT_ONCE: Final = 5000
_NAMES_AT_ONCE: Final = 50
_MINE: Final = "vedette"
GRACE: Final = 600_000
"""Milliseconds for which an older key goes on counting."""


class ElasticsearchAdmin:
    """One cluster as its administrator. Every method raises UnavailableError and RefusedError.

    Args:
        settings: with a name and a password.
        clock: milliseconds since the epoch, for the age of keys.

    Raises:
        RefusedError: `settings` hold a key, which can create no keys of any use.
    """

    def __init__(self, settings: ElasticsearchSettings, *, clock: Callable[[], int] = now_ms) -> None:
        if not settings.username:
            raise RefusedError("the operator needs a name and a password for Elasticsearch: a key cannot create keys")
        self._clock = clock
        self._connection = connect(settings)
        self._api: Api = self._connection

    def close(self) -> None:
        """Close the connection; further calls fail."""
        self._connection.close()

    # templates ------------------------------------------------------------------------------------------------------
    def ensure_templates(self, namespace: str, classes: Sequence[str]) -> None:
        """Templates of the namespace's indices, of events for these retention classes; indices that exist follow.

        An empty index that was made while a template was missing is removed, so that it is made again, rightly.
        """
        names = Names(namespace)
        for path, body in self._wanted(names, classes):
            if self._hash(path) != body["_meta"]["hash"]:
                good(self._api.call("PUT", path, dumps(body), seconds=ADMIN_SECONDS))
        self._update_indices(names)

    def templates_ready(self, namespace: str, classes: Sequence[str] = ()) -> list[str]:
        """What is missing or differs; empty when all is well. Looks only."""
        wanted = self._wanted(Names(namespace), classes)
        return [path.removeprefix("/") for path, body in wanted if self._hash(path) != body["_meta"]["hash"]]

    def _wanted(self, names: Names, classes: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        """(path, body), what others are composed of first."""
        wanted = [(f"/_component_template/{mapping.COMPONENT}", mapping.component_template())]
        for retention in dict.fromkeys(classes):
            path = f"/_index_template/{quoted(mapping.events_template_name(names, retention))}"
            wanted.append((path, mapping.events_template(names, retention)))
        for kind in SINGLE:
            path = f"/_index_template/{quoted(names.single(kind))}"
            wanted.append((path, mapping.simple_template(names, kind)))
        return wanted

    def _hash(self, path: str) -> str:
        """The hash in a template's `_meta`; empty when there is no template."""
        body = found(self._api.call("GET", path, seconds=ADMIN_SECONDS)) or {}
        kind = path.split("/")[1]
        for entry in body.get(f"{kind.removeprefix('_')}s", []):
            meta = entry.get(kind.removeprefix("_"), {}).get("_meta", {})
            return str(meta.get("hash", ""))
        return ""

    def _update_indices(self, names: Names) -> None:
        path = f"/{names.all()}/_mapping?ignore_unavailable=true&allow_no_indices=true&filter_path=*.mappings._meta"
        kept = good(self._api.call("GET", path, seconds=ADMIN_SECONDS))
        bodies = {kind: mapping.simple_mapping(kind) for kind in SINGLE}
        events = mapping.events_mapping()
        for index in self._indices(names):
            parsed = parse_events_index(index)
            body = events if parsed is not None else bodies[index.removeprefix(PREFIX).partition(".")[0]]
            meta = kept.get(index, {}).get("mappings", {}).get("_meta", {})
            if meta.get("hash") == body["_meta"]["hash"]:
                continue
            if meta.get("managed_by") != _MINE:
                self._remove_if_empty(index)
                continue
            # New fields are added; the type of an old one cannot change, so days that have been stay as they are.
            answer = self._api.call("PUT", f"/{quoted(index)}/_mapping", dumps(body), seconds=ADMIN_SECONDS)
            if parsed is None or answer.status not in {400, 404}:
                good(answer)

    def _remove_if_empty(self, index: str) -> None:
        """Remove an index that no template of ours made. What was written there first stays for a person to see."""
        good(self._api.call("POST", f"/{quoted(index)}/_refresh"))
        hits = search(self._api, quoted(index), {"size": 0, "track_total_hits": True})["hits"]
        if hits["total"]["value"] == 0:
            found(self._api.call("DELETE", f"/{quoted(index)}", seconds=ADMIN_SECONDS))

    def _indices(self, names: Names) -> list[str]:
        path = f"/{names.all()}/_settings/index.uuid?ignore_unavailable=true&allow_no_indices=true&expand_wildcards=all"
        return sorted(good(self._api.call("GET", path, seconds=ADMIN_SECONDS)))

    # keys -----------------------------------------------------------------------------------------------------------
    def create_key(self, name: str, role: Role) -> str:
        """A new API key, as it stands behind `Authorization: ApiKey`. Others of this name stay."""
        body = {"name": name, "role_descriptors": {_MINE: role.descriptor}, "metadata": role.metadata}
        made = good(self._api.call("POST", "/_security/api_key", dumps(body), seconds=ADMIN_SECONDS, once=True))
        return str(made["encoded"])

    def ensure_key(self, name: str, role: str, namespaces: Sequence[str], known: str) -> str:
        """`known` if that key counts and may do what the role may; otherwise a new one.

        The others of this name stop counting a while after the new one was made.

        Args:
            name: of the key.
            role: worker, gateway, librarian or web.
            namespaces: the part's own, then the tenants that it serves.
            known: the key that the part has now; empty for none.
        """
        wanted = role_of(role, namespaces).metadata["hash"]
        keys = self._keys(name)
        for key in keys:
            if key["id"] == _id_of(known) and key.get("metadata", {}).get("hash") == wanted:
                # Whoever has an older key reads its Secret again within a minute, and is rolled out within a few.
                if self._clock() - key["creation"] > GRACE:
                    self._invalidate(other["id"] for other in keys if other is not key)
                return known
        return self.create_key(name, role_of(role, namespaces))

    def invalidate_keys(self, name: str, keep: str = "") -> None:
        """No key of this name counts any more, but `keep`."""
        self._invalidate(key["id"] for key in self._keys(name) if key["id"] != _id_of(keep))

    def _keys(self, name: str) -> list[dict[str, Any]]:
        """The keys of a name that count, or of all names that fit when it ends with a star."""
        path = f"/_security/api_key?name={quoted(name)}&active_only=true"
        keys: list[dict[str, Any]] = (found(self._api.call("GET", path)) or {}).get("api_keys", [])
        return keys

    def _invalidate(self, ids: Iterable[str]) -> None:
        listed = sorted(ids)
        if not listed:
            return
        answer = found(self._api.call("DELETE", "/_security/api_key", dumps({"ids": listed})))
        if answer and answer.get("error_count"):
            raise UnavailableError(f"{answer['error_count']} keys could not be invalidated")

    # removal --------------------------------------------------------------------------------------------------------
    def namespaces(self) -> list[str]:
        """Namespaces that have an index or a template."""
        indices = good(self._api.call("GET", f"/{PREFIX}*/_settings/index.uuid", seconds=ADMIN_SECONDS))
        templates = self._templates(f"{PREFIX}*")
        return sorted({namespace for name in (*indices, *templates) if (namespace := namespace_of(name))})

    def drop_namespace(self, namespace: str) -> None:
        """Remove all indices, templates and keys of the namespace."""
        names = Names(namespace)
        # Keys first: a worker that still writes would make an index again, and without templates by guesses.
        keys = self._keys("*")
        self._invalidate(key["id"] for key in keys if _is_only(key.get("metadata", {}), namespace))
        own = [f"{EVENTS}{namespace}.*", *map(names.single, SINGLE)]
        for pattern in own:
            for template in self._templates(pattern):
                found(self._api.call("DELETE", f"/_index_template/{quoted(template)}", seconds=ADMIN_SECONDS))
        self.drop_indices(namespace)

    def drop_indices(self, namespace: str) -> None:
        """Remove what the namespace has stored; whoever may write goes on."""
        indices = self._indices(Names(namespace))
        for start in range(0, len(indices), _NAMES_AT_ONCE):
            some = ",".join(map(quoted, indices[start : start + _NAMES_AT_ONCE]))
            found(self._api.call("DELETE", f"/{some}?ignore_unavailable=true", seconds=ADMIN_SECONDS))

    def _templates(self, pattern: str) -> list[str]:
        answer = found(self._api.call("GET", f"/_index_template/{quoted(pattern)}", seconds=ADMIN_SECONDS)) or {}
        return [template["name"] for template in answer.get("index_templates", [])]

    def prune(self, namespace: str, before: int, keep: Collection[str] = ()) -> int:
        """Remove heartbeats older than `before` (ms) and blobs of before that no head points at; how many.

        `keep`: digests of blobs that others refer to, as a bundle does to its tables.
        """
        return prune(self._api, Names(namespace), before, keep)

    def delete_source_events(self, namespace: str, source: str) -> None:
        """Remove the stored events and dead letters of a source; what arrives meanwhile may stay for the next call."""
        names = Names(namespace)
        self._delete_found(names.events, compile_query(Term(SOURCE, source), TimeRange()))
        self._delete_found(names.dead_letters, {"term": {"source": {"value": source}}})

    def _delete_found(self, indices: str, query: Dsl) -> None:
        """Delete every document of the indices that a query finds."""
        while True:
            good(self._api.call("POST", f"/{indices}/_refresh?ignore_unavailable=true", seconds=ADMIN_SECONDS))
            body: Dsl = {"query": query, "size": _DELETE_AT_ONCE, "_source": False}
            hits = search(self._api, indices, body)["hits"]["hits"]
            if not hits:
                return
            by_index: dict[str, list[str]] = {}
            for hit in hits:
                by_index.setdefault(hit["_index"], []).append(hit["_id"])
            for index, ids in by_index.items():
                for item in bulk(self._api, index, [action("delete", document) for document in ids]):
                    item.check()


def _id_of(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _is_only(metadata: Any, namespace: str) -> bool:
    """Whether a key is ours and serves this namespace alone."""
    return bool(metadata.get("managed_by") == _MINE and metadata.get("namespaces") == [namespace])
