"""Writing: bulk requests with an account of every item, and single documents under optimistic concurrency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson

from vedette_backends.errors import UnavailableError
from vedette_backends.store.elastic_http import (
    WRITE_SECONDS,
    Api,
    describe,
    dumps,
    error_of,
    good,
    problem,
    problem_of,
    quoted,
)

MAX_BODY: Final = 10_000_000
"""Bytes of one request; Elasticsearch takes 100 MB by default, and holds them in memory."""

_DOCUMENT_FAULTS: Final = frozenset(
    {"document_parsing_exception", "mapper_parsing_exception", "strict_dynamic_mapping_exception", "parsing_exception"}
)
_IMMENSE: Final = "immense term"
_TOO_LARGE: Final = "the document is larger than Elasticsearch takes"


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one item: its HTTP status, and the error's type and words where there is one."""

    status: int
    kind: str = ""
    reason: str = ""

    @property
    def is_rejected(self) -> bool:
        """Whether the document itself is at fault."""
        if self.status == 413 or self.kind in _DOCUMENT_FAULTS:
            return True
        return self.status == 400 and _IMMENSE in self.reason

    def check(self) -> None:
        """Raise what is neither the document's fault nor a conflict nor a miss."""
        if self.status >= 400 and self.status not in {404, 409} and not self.is_rejected:
            raise problem_of(self.status, self.kind, self.reason)


def bulk(
    api: Api, index: str, lines: Sequence[bytes], fresh: Callable[[Sequence[bytes]], Sequence[bytes]] | None = None
) -> list[Item]:
    """Send action lines (with their documents) to one index; an outcome for each, in order.

    Where lines say when they are sent, `fresh` brings them up to date, before every request; then no request goes out
    twice.

    Items that fail because of the server do not raise here, so that the caller sees what became of the others.

    Raises:
        UnavailableError, RefusedError: the request as a whole was not taken; some of it may have been carried out.
    """
    items: list[Item] = []
    for chunk in _chunks(lines):
        items += _send(api, index, chunk, fresh)
    return items


def _chunks(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for at, line in enumerate(lines):
        if size and size + len(line) > MAX_BODY:
            yield lines[start:at]
            start, size = at, 0
        size += len(line)
    if start < len(lines):
        yield lines[start:]


def _send(
    api: Api, index: str, lines: Sequence[bytes], fresh: Callable[[Sequence[bytes]], Sequence[bytes]] | None
) -> list[Item]:
    target = f"/{quoted(index)}/_bulk?filter_path=errors,items.*.status,items.*.error"
    body = b"".join(lines if fresh is None else fresh(lines))
    answer = api.call("POST", target, body, seconds=WRITE_SECONDS, once=fresh is not None)
    if answer.status == 413:
        if len(lines) == 1:
            return [Item(413, "too_large", _TOO_LARGE)]
        half = len(lines) // 2
        return _send(api, index, lines[:half], fresh) + _send(api, index, lines[half:], fresh)
    items = [_item(next(iter(item.values()))) for item in good(answer)["items"]]
    if len(items) != len(lines):
        raise UnavailableError(f"Elasticsearch answered for {len(items)} of {len(lines)} items")
    return items


def _item(told: dict[str, Any]) -> Item:
    error = told.get("error")
    return _without_error(told["status"]) if error is None else Item(told["status"], *describe(error))


@cache
def _without_error(status: int) -> Item:
    return Item(status)


def create(api: Api, index: str, document_id: str, document: Any) -> bool:
    """Create one document; False when the id is taken. Raises what the server cannot or will not do."""
    path = f"/{quoted(index)}/_create/{quoted(document_id)}"
    answer = api.call("PUT", path, dumps(document), seconds=WRITE_SECONDS)
    if answer.status == 409:
        return False
    good(answer)
    return True


def replace(api: Api, index: str, document_id: str, document: Any, seen: tuple[int, int]) -> bool:
    """Replace a document that still has (sequence number, primary term) `seen`; False when it was changed."""
    condition = f"if_seq_no={seen[0]}&if_primary_term={seen[1]}"
    path = f"/{quoted(index)}/_doc/{quoted(document_id)}?{condition}"
    answer = api.call("PUT", path, dumps(document), seconds=WRITE_SECONDS, once=True)
    if answer.status == 409:
        return False
    good(answer)
    return True


def get(api: Api, index: str, document_id: str) -> dict[str, Any] | None:
    """One document as it is now, with `_source`, `_seq_no`, `_primary_term`; None when it does not exist."""
    answer = api.call("GET", f"/{quoted(index)}/_doc/{quoted(document_id)}")
    if answer.status == 404:
        kind, _ = error_of(answer)
        if kind and kind != "index_not_found_exception":
            raise problem(answer)
        return None
    found: dict[str, Any] = good(answer)
    return found


def action(name: str, document_id: str, **more: Any) -> bytes:
    """An action line, with its line break."""
    return orjson.dumps({name: {"_id": document_id, **more}}) + b"\n"
