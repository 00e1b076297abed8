"""Dead letters: what could not be processed, whole, until somebody replays or dismisses it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vedette_backends.errors import RefusedError
from vedette_backends.store.elastic_bulk import action, bulk, get
from vedette_backends.store.elastic_http import Api, dumps
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_query import Dsl
from vedette_backends.store.elastic_refresh import Freshness
from vedette_backends.store.elastic_search import search, total_of
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.protocol import DeadLetter
from vedette_engine.query.tree import QueryError

MAX_PAGE: Final = 1000
_STATES: Final = frozenset({"waiting", "replayed", "dismissed"})
_ATTEMPTS: Final = 3


class DeadLetters:
    """The dead letters of one namespace."""

    def __init__(self, api: Api, names: Names, indices: Indices) -> None:
        self._api = api
        self._index = names.dead_letters
        self._indices = indices
        self._fresh = Freshness(api, names.dead_letters)

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Create by id; an existing one stays. Raises RefusedError for one that cannot be kept."""
        if not letters:
            return
        self._indices.ensure(self._index)
        lines = [action("create", letter.id) + dumps(_document(letter)) + b"\n" for letter in letters]
        for letter, item in zip(letters, bulk(self._api, self._index, lines), strict=True):
            if item.is_rejected:
                raise RefusedError(f"the dead letter {letter.id} cannot be kept: {item.kind}: {item.reason}")
            item.check()

    def search(
        self, source: str | None, reason: str | None, state: str | None, size: int, after: str | None
    ) -> tuple[list[DeadLetter], int, str | None]:
        """(newest first, total, next cursor)."""
        if not 1 <= size <= MAX_PAGE:
            raise QueryError(f"A page has 1 to {MAX_PAGE} dead letters")
        given = (("source", source), ("reason", reason), ("state", state))
        parts: list[Dsl] = [{"term": {column: {"value": value}}} for column, value in given if value]
        body: Dsl = {
            "query": {"bool": {"filter": parts}} if parts else {"match_all": {}},
            "size": size + 1,
            "sort": [{"time": {"order": "desc"}}, {"id": {"order": "desc"}}],
            "track_total_hits": True,
        }
        if after is not None:
            cursor = decode(after)
            body["search_after"] = [cursor.time, cursor.id]
        self._fresh.ensure()
        found = search(self._api, self._index, body)
        letters = [_letter(hit["_source"]) for hit in found["hits"]["hits"]]
        following = Cursor(letters[size - 1].time, letters[size - 1].id).encode() if len(letters) > size else None
        return letters[:size], total_of(found), following

    def get(self, letter_id: str) -> DeadLetter | None:
        """One dead letter."""
        document = get(self._api, self._index, letter_id) if letter_id else None
        return None if document is None else _letter(document["_source"])

    def mark(self, ids: Sequence[str], state: str) -> int:
        """Set their state; how many exist."""
        if state not in _STATES:
            raise QueryError(f"A dead letter is {', '.join(sorted(_STATES))}")
        distinct = [letter_id for letter_id in dict.fromkeys(ids) if letter_id]
        if not distinct:
            return 0
        self._indices.ensure(self._index)
        change = dumps({"doc": {"state": state}}) + b"\n"
        lines = [action("update", letter_id, retry_on_conflict=_ATTEMPTS) + change for letter_id in distinct]
        items = bulk(self._api, self._index, lines)
        for item in items:
            item.check()
        return sum(item.status == 200 for item in items)


def _storable(text: str) -> str:
    """Without lone surrogates, which no encoding has: a letter about a broken text must not break itself."""
    return text.encode(errors="backslashreplace").decode()


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "time": letter.time,
        "source": letter.source,
        "reason": letter.reason,
        "detail": _storable(letter.detail),
        "original": base64.b64encode(letter.original).decode(),
        "headers": {_storable(name): _storable(value) for name, value in letter.headers.items()},
        "state": letter.state,
    }


def _letter(source: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=source["id"],
        time=source["time"],
        source=source["source"],
        reason=source["reason"],
        detail=source["detail"],
        original=base64.b64decode(source["original"]),
        headers=source["headers"],
        state=source["state"],
    )
