"""Alerts: columns to filter by, the rest as compressed JSON, and a feed of what changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.protocol import Alert, AlertFilter, AlertPage, ItemResult, Outcome
from vedette_backends.store.sqlite import Database, next_change, placeholders, statement
from vedette_engine.query.tree import QueryError
from vedette_engine.query.values import fold, leaves, text_of

_COLUMNS: Final = "id, time, raised, rule, severity, title, summary, workflow, version, body"
_SELECT_ONE: Final = statement("SELECT", _COLUMNS, "FROM alert WHERE id = ?")
_INSERT: Final = statement(
    "INSERT INTO alert (", _COLUMNS, ", status, owner, incident, change) VALUES (", placeholders(range(14)), ")"
)
_MAX_TEXT: Final = 32_768
_COMPRESS_FROM: Final = 1024
_PLAIN, _DEFLATED = b"\0", b"\1"
_GROUPS: Final = frozenset({"severity", "rule", "status", "owner"})
_MAX_BUCKETS: Final = 10_000


class Alerts:
    """The alerts of one namespace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, alerts: Sequence[Alert]) -> list[ItemResult]:
        """Create by id; what exists stays."""
        rows: list[tuple[Any, ...] | str] = []
        for alert in alerts:
            try:
                rows.append(_row(alert))
            except (TypeError, UnicodeError) as error:
                rows.append(f"the alert cannot be encoded: {error}")
        results: list[ItemResult] = []
        with self._database.transaction() as connection:
            for alert, row in zip(alerts, rows, strict=True):
                if isinstance(row, str):
                    results.append(ItemResult(Outcome.REJECTED, row))
                    continue
                if connection.execute("SELECT 1 FROM alert WHERE id = ?", (alert.id,)).fetchone():
                    results.append(ItemResult(Outcome.DUPLICATE))
                    continue
                made = connection.execute(_INSERT, (*row, next_change(connection)))
                connection.execute("INSERT INTO alert_text VALUES (?, ?)", (made.lastrowid, searched_text(alert)))
                results.append(ItemResult(Outcome.CREATED))
        return results

    def get(self, alert_id: str) -> Alert | None:
        """One alert."""
        rows = self._database.rows(_SELECT_ONE, (alert_id,))
        return _alert(rows[0]) if rows else None

    def search(self, where: AlertFilter, size: int, after: str | None) -> AlertPage:
        """One page, newest first."""
        if size < 1:
            raise QueryError("A page has at least one alert")
        condition = _Condition.of(where)
        total = self._database.rows(statement("SELECT count(*) FROM alert", condition.sql), condition.values)[0][0]
        if after is not None:
            cursor = decode(after)
            condition.add("(time, id) < (?, ?)", cursor.time, cursor.id)
        rows = self._database.rows(
            statement("SELECT", _COLUMNS, "FROM alert", condition.sql, "ORDER BY time DESC, id DESC LIMIT ?"),
            (*condition.values, size + 1),
        )
        alerts = [_alert(row) for row in rows[:size]]
        following = Cursor(alerts[-1].time, alerts[-1].id).encode() if len(rows) > size else None
        return AlertPage(alerts=alerts, total=total, next=following)

    def count(self, where: AlertFilter, by: str) -> dict[str, int]:
        """Counts per value of a column; alerts without an owner count under the empty text."""
        if by not in _GROUPS:
            raise QueryError(f"Alerts can be counted by {', '.join(sorted(_GROUPS))}")
        condition = _Condition.of(where)
        rows = self._database.rows(
            statement("SELECT", by, ", count(*) FROM alert", condition.sql, "GROUP BY", by), condition.values
        )
        return dict(rows)

    def histogram(self, where: AlertFilter, interval: int) -> list[tuple[int, int]]:
        """Counts per interval of event time."""
        if interval < 1:
            raise QueryError("The interval of a histogram is at least one millisecond")
        condition = _Condition.of(where)
        # SQLite's division rounds towards zero, its remainder has the sign of the dividend.
        start = "time - ((time % ?) + ?) % ?"
        rows = self._database.rows(
            statement(
                "SELECT", start, "AS start, count(*) FROM alert", condition.sql, "GROUP BY start ORDER BY start LIMIT ?"
            ),
            (interval, interval, interval, *condition.values, _MAX_BUCKETS + 1),
        )
        if len(rows) > _MAX_BUCKETS:
            raise QueryError(f"A histogram has at most {_MAX_BUCKETS} buckets: choose a longer interval")
        return [(row[0], row[1]) for row in rows]

    def update(self, alert_id: str, version: int, changes: Mapping[str, Any]) -> Alert:
        """Merge `changes` into the workflow; None removes a key. Raises ConflictError, NotFoundError."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT version, workflow FROM alert WHERE id = ?", (alert_id,)).fetchone()
            if row is None:
                raise NotFoundError(f"there is no alert {alert_id}")
            if row[0] != version:
                raise ConflictError(f"alert {alert_id} was changed since version {version}; it is at {row[0]}")
            merged = {**orjson.loads(row[1]), **changes}
            workflow = {key: value for key, value in merged.items() if value is not None}
            connection.execute(
                "UPDATE alert SET workflow = ?, status = ?, owner = ?, incident = ?, version = version + 1, change = ? "
                "WHERE id = ?",
                (orjson.dumps(workflow).decode(), *_workflow_columns(workflow), next_change(connection), alert_id),
            )
            changed = connection.execute(_SELECT_ONE, (alert_id,)).fetchone()
        return _alert(changed)

    def changes(self, after: int, limit: int) -> tuple[list[Alert], int]:
        """Each alert that changed after a number, once, in the order of its last change."""
        rows = self._database.rows(
            statement("SELECT", _COLUMNS, ", change FROM alert WHERE change > ? ORDER BY change LIMIT ?"),
            (after, limit),
        )
        return [_alert(row[:-1]) for row in rows], rows[-1][-1] if rows else after

    def latest_change(self) -> int:
        """The newest change number."""
        number: int = self._database.rows("SELECT number FROM counter WHERE name = 'change'")[0][0]
        return number


def searched_text(alert: Alert) -> str:
    """What a text filter looks at: title, summary, rule, and every value of the events, without case, bounded."""
    parts = [alert.title, alert.summary, alert.rule]
    room = _MAX_TEXT - sum(map(len, parts))
    for value in _event_values(alert.body):
        if room <= 0:
            break
        parts.append(value[:room])
        room -= len(value) + 1
    return fold("\n".join(parts))


def _event_values(body: Mapping[str, Any]) -> Iterator[str]:
    events = body.get("events")
    for event in events if isinstance(events, list | tuple) else ():
        document = event.get("document") if isinstance(event, Mapping) else None
        if isinstance(document, Mapping):
            yield from _values(document)


def _values(document: Mapping[str, Any]) -> Iterator[str]:
    for value in document.values():
        if isinstance(value, Mapping):
            yield from _values(value)
        else:
            yield from map(text_of, leaves(value))


def _workflow_columns(workflow: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        str(workflow.get("status") or "new"),
        str(workflow.get("owner") or ""),
        str(workflow.get("incident") or ""),
    )


def _row(alert: Alert) -> tuple[Any, ...]:
    workflow = dict(alert.workflow)
    body = orjson.dumps(dict(alert.body))
    packed = _DEFLATED + zlib.compress(body, 1) if len(body) >= _COMPRESS_FROM else _PLAIN + body
    texts = (alert.id, alert.rule, alert.severity, alert.title, alert.summary)
    "".join(texts).encode()  # lone surrogates cannot be stored: fail here, where it is this alert's fault
    return (
        alert.id,
        alert.time,
        alert.raised,
        alert.rule,
        alert.severity,
        alert.title,
        alert.summary,
        orjson.dumps(workflow).decode(),
        alert.version,
        packed,
        *_workflow_columns(workflow),
    )


def _alert(row: Sequence[Any]) -> Alert:
    alert_id, time, raised, rule, severity, title, summary, workflow, version, packed = row
    body = zlib.decompress(packed[1:]) if packed[:1] == _DEFLATED else packed[1:]
    return Alert(
        id=alert_id,
        time=time,
        raised=raised,
        rule=rule,
        severity=severity,
        title=title,
        summary=summary,
        body=orjson.loads(body),
        workflow=orjson.loads(workflow),
        version=version,
    )


@dataclass(slots=True)
class _Condition:
    """A WHERE clause and its values."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    @property
    def sql(self) -> str:
        return "WHERE " + " AND ".join(self.parts) if self.parts else ""

    def add(self, part: str, *values: object) -> None:
        self.parts.append(part)
        self.values += values

    @classmethod
    def of(cls, where: AlertFilter) -> _Condition:
        made = cls()
        for column, wanted in (("severity", where.severities), ("rule", where.rules), ("status", where.statuses)):
            if wanted:
                made.add(f"{column} IN ({placeholders(wanted)})", *wanted)
        if where.owner is not None:
            made.add("owner = ?", where.owner)
        if where.incident is not None:
            made.add("incident = ?", where.incident)
        if where.time.start is not None:
            made.add("time >= ?", where.time.start)
        if where.time.end is not None:
            made.add("time < ?", where.time.end)
        if where.text:
            # instr is literal: nothing of the text can act as a pattern.
            made.add("number IN (SELECT number FROM alert_text WHERE instr(text, ?) > 0)", fold(where.text))
        return made
