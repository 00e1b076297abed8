"""Dead letters: what could not be processed, whole, until somebody replays or dismisses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.protocol import DeadLetter
from vedette_backends.store.sqlite import Database, placeholders, statement
from vedette_engine.query.tree import QueryError

_COLUMNS: Final = "id, time, source, reason, detail, original, headers, state"
_STATES: Final = frozenset({"waiting", "replayed", "dismissed"})
_IDS_PER_STATEMENT: Final = 500


class DeadLetters:
    """The dead letters of one namespace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Create by id; an existing one stays."""
        rows = [
            (
                letter.id,
                letter.time,
                letter.source,
                letter.reason,
                _storable(letter.detail),
                letter.original,
                orjson.dumps({_storable(k): _storable(v) for k, v in letter.headers.items()}).decode(),
                letter.state,
            )
            for letter in letters
        ]
        with self._database.transaction() as connection:
            connection.executemany(
                statement(
                    "INSERT INTO dead_letter (",
                    _COLUMNS,
                    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                ),
                rows,
            )

    def search(
        self, source: str | None, reason: str | None, state: str | None, size: int, after: str | None
    ) -> tuple[list[DeadLetter], int, str | None]:
        """(newest first, total, next cursor)."""
        if size < 1:
            raise QueryError("A page has at least one dead letter")
        given = [
            (column, value) for column, value in (("source", source), ("reason", reason), ("state", state)) if value
        ]
        parts = [f"{column} = ?" for column, _ in given]
        values: list[Any] = [value for _, value in given]
        total = self._database.rows(statement("SELECT count(*) FROM dead_letter", _where(parts)), values)[0][0]
        if after is not None:
            cursor = decode(after)
            parts.append("(time, id) < (?, ?)")
            values += [cursor.time, cursor.id]
        rows = self._database.rows(
            statement("SELECT", _COLUMNS, "FROM dead_letter", _where(parts), "ORDER BY time DESC, id DESC LIMIT ?"),
            (*values, size + 1),
        )
        letters = [_letter(row) for row in rows[:size]]
        following = Cursor(letters[-1].time, letters[-1].id).encode() if len(rows) > size else None
        return letters, total, following

    def get(self, letter_id: str) -> DeadLetter | None:
        """One dead letter."""
        rows = self._database.rows(statement("SELECT", _COLUMNS, "FROM dead_letter WHERE id = ?"), (letter_id,))
        return _letter(rows[0]) if rows else None

    def mark(self, ids: Sequence[str], state: str) -> int:
        """Set their state; how many exist."""
        if state not in _STATES:
            raise QueryError(f"A dead letter is {', '.join(sorted(_STATES))}")
        distinct = list(dict.fromkeys(ids))
        marked = 0
        with self._database.transaction() as connection:
            for start in range(0, len(distinct), _IDS_PER_STATEMENT):
                some = distinct[start : start + _IDS_PER_STATEMENT]
                marked += connection.execute(
                    statement("UPDATE dead_letter SET state = ? WHERE id IN (", placeholders(some), ")"), (state, *some)
                ).rowcount
        return marked


def _where(parts: Sequence[str]) -> str:
    return "WHERE " + " AND ".join(parts) if parts else ""


def _storable(text: str) -> str:
    """Without lone surrogates, which no encoding has: a letter about a broken text must not break itself."""
    return text.encode(errors="backslashreplace").decode()


def _letter(row: Sequence[Any]) -> DeadLetter:
    letter_id, time, source, reason, detail, original, headers, state = row
    return DeadLetter(letter_id, time, source, reason, detail, original, orjson.loads(headers), state)
