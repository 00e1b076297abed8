"""Mappings, settings and templates: everything explicit, nothing dynamic.

The fields of ECS are mapped by their type. What a search needs besides, the client computes (`elastic_documents`) and
puts beside the document under names that no document has:

| field | holds |
|---|---|
| `vedette.time`, `vedette.ingested` | milliseconds; what ranges over the two stamps and sorting go by |
| `vedette.high`, `vedette.low` | the id's halves, so that equal times have an order |
| `vedette.hash` | `event.hash`; read to tell a repeat from a collision |
| `vedette.stored` | when it was written |
| `vedette.words`, `vedette.words.<field>` | the words of all values, and those of each field of words |
| `vedette.kv` | `name NUL value` of what is below `vedette.other` |
| `vedette.long` | digests of long values: equality, and that there is a value at all |

`vedette.other` itself is flattened and not indexed: Elasticsearch has no wildcard and no regular expression over the
keys of a flattened field, `vedette.kv` has both and costs the same.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from vedette_backends.store.elastic_names import EVENTS, Names, check_retention
from vedette_backends.store.stored import STORED
from vedette_engine.ecs.catalogue import CATALOGUE, FLOAT_TYPES, INTEGER_TYPES, FieldType
from vedette_engine.query.fields import OTHER, SEARCHABLE_CHARACTERS, Kind, kind_of

TIME_FIELD: Final = "vedette.time"
INGESTED_FIELD: Final = "vedette.ingested"
HIGH_FIELD: Final = "vedette.high"
LOW_FIELD: Final = "vedette.low"
HASH_FIELD: Final = "vedette.hash"
STORED_FIELD: Final = STORED
WORDS_FIELD: Final = "vedette.words"
KV_FIELD: Final = "vedette.kv"
LONG_FIELD: Final = "vedette.long"

WORDS_FIELDS: Final[dict[str, str]] = {
    name: f"{WORDS_FIELD}.{name}" for name in CATALOGUE if kind_of(name) is Kind.WORDS
}
"""Field of words → where its words are."""

MAX_RESULTS: Final = 10_001
MAX_REGEX: Final = 10_000
COMPONENT: Final = "vedette-events"
_PRIORITY: Final = 700
_REFRESH: Final = "30s"
"""Vedette's readers refresh before they search; this is for readers who do not, and bounds what a refresh has to do."""

_KEYWORD: Final = {"type": "keyword"}
_LONG: Final = {"type": "long"}
_COLUMN: Final = {"type": "long", "index": False}
_KEPT: Final = {"type": "keyword", "index": False, "doc_values": False}
_WORDS: Final = {"type": "text", "analyzer": "whitespace", "norms": False}
_DATE: Final = {"type": "date", "format": "strict_date_optional_time||epoch_millis"}

_SIMPLE: Final[dict[str, dict[str, Any]]] = {
    "alerts": {
        "id": _KEYWORD,
        "time": _LONG,
        "raised": _LONG,
        "rule": _KEYWORD,
        "severity": _KEYWORD,
        "status": _KEYWORD,
        "owner": _KEYWORD,
        "incident": _KEYWORD,
        "text": _KEYWORD,
    },
    "deadletters": {"id": _KEYWORD, "time": _LONG, "source": _KEYWORD, "reason": _KEYWORD, "state": _KEYWORD},
    "records": {"key": _KEYWORD, "collection": _KEYWORD, "parent": _KEYWORD},
    "blobs": {"key": _KEYWORD, "written": _LONG},
    "state": {"key": _KEYWORD, "kind": _KEYWORD, "worker": _KEYWORD, "time": _LONG},
}


def _ecs(known: FieldType) -> dict[str, Any]:
    if known.type in FLOAT_TYPES:
        return {"type": "double"}
    if known.type in INTEGER_TYPES:
        return {"type": "long"}
    if known.type in {"boolean", "ip"}:
        return {"type": known.type}
    if known.type == "date":
        # Whatever the normaliser takes for a date is kept; what Elasticsearch cannot read cannot be found by range.
        return {**_DATE, "ignore_malformed": True}
    # Places, too, are compared as the texts they are.
    return {"type": "keyword", "ignore_above": SEARCHABLE_CHARACTERS}


def events_mapping() -> dict[str, Any]:
    """The mapping of events."""
    fields = {name: _ecs(known) for name, known in CATALOGUE.items()}
    fields |= {
        TIME_FIELD: _LONG,
        INGESTED_FIELD: _LONG,
        HIGH_FIELD: _COLUMN,
        LOW_FIELD: _COLUMN,
        HASH_FIELD: _KEPT,
        STORED_FIELD: _DATE,
        WORDS_FIELD: _WORDS,
        **dict.fromkeys(WORDS_FIELDS.values(), _WORDS),
        KV_FIELD: _KEYWORD,
        LONG_FIELD: {"type": "keyword", "doc_values": False},
        OTHER: {"type": "flattened", "index": False, "doc_values": False},
    }
    return _mapping(fields)


def simple_mapping(kind: str) -> dict[str, Any]:
    """The mapping of an index that a namespace has one of."""
    return _mapping(_SIMPLE[kind])


def _mapping(fields: dict[str, Any]) -> dict[str, Any]:
    mapping = {"dynamic": False, "subobjects": False, "properties": fields}
    return {**mapping, "_meta": {"managed_by": "vedette", "hash": fingerprint(mapping)}}


def fingerprint(value: Any) -> str:
    """A short hash that says whether two bodies are the same."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _settings(**more: Any) -> dict[str, Any]:
    return {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": _REFRESH, **more}}


def component_template() -> dict[str, Any]:
    """What all indices of events share, in every namespace."""
    settings = _settings(
        codec="best_compression",
        max_result_window=MAX_RESULTS,
        max_regex_length=MAX_REGEX,
        mapping={"total_fields": {"limit": 5000}},
        query={"default_field": [WORDS_FIELD, *WORDS_FIELDS.values()]},
    )
    return _marked({"template": {"settings": settings, "mappings": events_mapping()}})


def events_template(names: Names, retention: str) -> dict[str, Any]:
    """The index template of one retention class of a namespace."""
    pattern = f"{EVENTS}{names.namespace}.{check_retention(retention)}.*"
    return _marked({"index_patterns": [pattern], "composed_of": [COMPONENT], "priority": _PRIORITY})


def events_template_name(names: Names, retention: str) -> str:
    """Its name."""
    return f"{EVENTS}{names.namespace}.{check_retention(retention)}"


def simple_template(names: Names, kind: str) -> dict[str, Any]:
    """The index template of an index that a namespace has one of."""
    more: dict[str, Any] = {"max_result_window": MAX_RESULTS} if kind != "blobs" else {"codec": "best_compression"}
    body = {"settings": _settings(**more), "mappings": simple_mapping(kind)}
    return _marked({"index_patterns": [names.single(kind)], "priority": _PRIORITY, "template": body})


def _marked(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "_meta": {"managed_by": "vedette", "hash": fingerprint(body)}}
