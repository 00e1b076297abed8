"""Elasticsearch's `_bulk`: pairs of an action line and a document line in, an answer per item out. Pure.

`create` and `index` are accepted and mean the same, because events are only ever added. `update` and `delete` are
refused item by item. Index names are echoed and otherwise ignored: the token decides where an event belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from vedette_engine.wire import ALONE, Run
from vedette_workers.gateway.errors import BadRequest, TooLarge
from vedette_workers.gateway.filter_path import filtered
from vedette_workers.gateway.records import Key, Parsed, object_fault, split_lines
from vedette_workers.gateway.settings import Settings

MAX_ID: Final = 512
_WITH_DOCUMENT: Final = frozenset({"create", "index", "update"})
_ACTIONS: Final = _WITH_DOCUMENT | {"delete"}
_WHITE: Final = b" \t\r"
_MAX_PLAIN: Final = 100
_MAX_ACTION: Final = 16 << 10
_SHARDS: Final = {"total": 1, "successful": 1, "failed": 0}


@dataclass(slots=True)
class Item:
    """One item of a bulk request and what becomes of it. `id` is the client's, empty where it gave none."""

    action: str
    index: str
    id: str
    status: int = 201
    kind: str = ""
    reason: str = ""

    def refuse(self, status: int, kind: str, reason: str) -> None:
        """This item is not taken; the others are not touched."""
        self.status, self.kind, self.reason = status, kind, reason


def parse_bulk(
    body: bytes, key: Key, *, default_index: str, max_event_bytes: int, settings: Settings
) -> tuple[Parsed, list[Item]]:
    """The documents to publish, and every item in order.

    Raises:
        BadRequest: naming the line, when an action line is broken, for then nobody knows where items begin.
        TooLarge: too many items.
    """
    records: list[bytes] = []
    runs: list[Run] = []
    items: list[Item] = []
    actions = _Actions(default_index)
    lines = enumerate(split_lines(body, 2 * settings.max_events + 1000), 1)
    for number, line in lines:
        if not line or not line.strip(_WHITE):
            continue
        item = actions.read(line, number)
        position = len(items)
        items.append(item)
        if item.action not in _WITH_DOCUMENT:
            item.refuse(400, "illegal_argument_exception", "events are never deleted by those who send them")
            continue
        where, document = next(lines, (number, None))
        if document is None:
            raise BadRequest(f"line {number}: the last action has no document after it")
        _check(item, document, where, max_event_bytes, settings)
        if item.status == 201:
            records.append(document)
            _extend(runs, item, key, position)
    if not items:
        raise BadRequest("request body is required")
    if len(items) > settings.max_events:
        raise TooLarge(f"a request may have {settings.max_events} events, this one has {len(items)}")
    return Parsed("json", records, runs), items


def _check(item: Item, document: bytes, number: int, max_event_bytes: int, settings: Settings) -> None:
    """Refuse the item when its document cannot be taken."""
    if item.status != 201:
        return
    if item.action == "update":
        item.refuse(400, "illegal_argument_exception", "events are never changed by those who send them")
    elif len(document) > max_event_bytes:
        text = f"line {number}: an event of this source may have {max_event_bytes} bytes, not {len(document)}"
        item.refuse(413, "content_too_long_exception", text)
    elif fault := object_fault(document, settings.max_depth):
        item.refuse(400, "document_parsing_exception", f"line {number}: {fault}")


def _extend(runs: list[Run], item: Item, key: Key, position: int) -> None:
    """An `_id` identifies its event wherever it stands; without one it is the request's key and the item's place."""
    if item.id:
        runs.append(Run(1, item.id, ALONE, keyed=True))
        return
    last = runs[-1] if runs else None
    if last is not None and last.key == key.text and last.first + last.length == position and last.first != ALONE:
        runs[-1] = Run(last.length + 1, last.key, last.first, last.keyed)
    else:
        runs.append(Run(1, key.text, position, key.given))


class _Actions:
    """Reads action lines; most requests repeat one without an `_id`, which is then remembered."""

    def __init__(self, default_index: str) -> None:
        self._default_index = default_index
        self._plain: dict[bytes, tuple[str, str]] = {}

    def read(self, line: bytes, number: int) -> Item:
        """The item that this line begins."""
        known = self._plain.get(line)
        if known is not None:
            return Item(*known, "")
        item = _action(line, number, self._default_index)
        if not item.id and item.status == 201 and len(self._plain) < _MAX_PLAIN:
            self._plain[line] = item.action, item.index
        return item


def _action(line: bytes, number: int, default_index: str) -> Item:
    if len(line) > _MAX_ACTION:
        raise BadRequest(f"line {number}: an action line may have {_MAX_ACTION} bytes")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"line {number}: not a bulk action: {error.msg} at column {error.pos + 1}") from error
    if type(value) is not dict or len(value) != 1:
        raise BadRequest(f"line {number}: a bulk action is an object with one of create, index, update, delete")
    ((action, meta),) = value.items()
    if action not in _ACTIONS or type(meta) is not dict:
        raise BadRequest(f"line {number}: {action[:40]!r} is not a bulk action of create, index, update, delete")
    given = meta.get("_id")
    name = given if type(given) is str else _scalar(given)
    index = meta.get("_index")
    item = Item(action, index if type(index) is str and index else default_index, name or "")
    if name is None:
        item.refuse(400, "illegal_argument_exception", f"line {number}: `_id` must be a string")
    elif given == "":
        item.refuse(400, "illegal_argument_exception", f"line {number}: `_id` must not be empty")
    elif len(item.id) > MAX_ID // 4 and len(item.id.encode()) > MAX_ID:
        item.refuse(400, "illegal_argument_exception", f"line {number}: `_id` may have {MAX_ID} bytes")
        item.id = ""
    return item


def _scalar(value: Any) -> str | None:
    """A number or boolean as Elasticsearch would read it as an id; "" for null and None for what is no id at all."""
    if value is None:
        return ""
    return orjson.dumps(value).decode() if isinstance(value, (int, float)) else None


def written(index: str, name: str) -> dict[str, Any]:
    """What Elasticsearch answers about a document that it took."""
    return {
        "_index": index,
        "_id": name,
        "_version": 1,
        "result": "created",
        "_shards": _SHARDS,
        "_seq_no": 0,
        "_primary_term": 1,
        "status": 201,
    }


def answer(items: Sequence[Item], ids: Iterator[str], took: int, filter_path: str = "") -> dict[str, Any]:
    """The body of the answer.

    Args:
        items: of the request.
        ids: for the items that were taken and have no `_id` of their own, in order.
        took: milliseconds.
        filter_path: what of it the client wants; shippers ask for errors and statuses only, and then no id is made.
    """
    errors = any(item.status != 201 for item in items)
    if not filter_path:
        return {"errors": errors, "took": took, "items": [_told(item, ids) for item in items]}
    same = _without_identity(items, filter_path)
    told = []
    for item in items:
        if same is None or item.status != 201:
            told += filtered({"items": [_told(item, ids)]}, filter_path).get("items", [])
        else:
            told += same[item.action]
    body = filtered({"errors": errors, "took": took}, filter_path)
    return body | ({"items": told} if told else {})


def _told(item: Item, ids: Iterator[str]) -> dict[str, Any]:
    if item.status == 201:
        return {item.action: written(item.index, item.id or next(ids))}
    fault = {"type": item.kind, "reason": item.reason}
    return {item.action: {"_index": item.index, "_id": item.id or None, "status": item.status, "error": fault}}


def _without_identity(items: Sequence[Item], filter_path: str) -> dict[str, list[Any]] | None:
    """Per action the filtered answer about every item that was taken; None when they differ."""
    same: dict[str, list[Any]] = {}
    for action in {item.action for item in items}:
        same[action] = filtered({"items": [{action: written("", "")}]}, filter_path).get("items", [])
    differ = any("_id" in kept or "_index" in kept for told in same.values() for item in told for kept in item.values())
    return None if differ else same
