"""Alerts: one index of one shard, whose sequence numbers are the feed of changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vedette_backends.errors import ConflictError, NotFoundError, UnavailableError
from vedette_backends.store.alerts import searched_text
from vedette_backends.store.elastic_bulk import action, bulk, get, replace
from vedette_backends.store.elastic_http import Api, dumps, found
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_query import Dsl
from vedette_backends.store.elastic_refresh import Freshness
from vedette_backends.store.elastic_search import MAX_BUCKETS, search, total_of
from vedette_backends.store.paging import Cursor, decode
from vedette_backends.store.protocol import Alert, AlertFilter, AlertPage, ItemResult, Outcome
from vedette_engine.query.tree import QueryError
from vedette_engine.query.values import fold

MAX_PAGE: Final = 10_000
MAX_TEXT: Final = 1000
"""Characters of a text filter: the pieces of a long value overlap by so many."""
_PIECE: Final = 8000
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""An index that was made a moment ago has no shard yet."""
_GROUPS: Final = frozenset({"severity", "rule", "status", "owner"})


class Alerts:
    """The alerts of one namespace."""

    def __init__(self, api: Api, names: Names, indices: Indices) -> None:
        self._api = api
        self._index = names.alerts
        self._indices = indices
        self._fresh = Freshness(api, names.alerts)

    def create(self, alerts: Sequence[Alert]) -> list[ItemResult]:
        """Create by id; what exists stays."""
        results: list[ItemResult] = [ItemResult(Outcome.CREATED)] * len(alerts)
        lines: list[bytes] = []
        sent: list[int] = []
        for at, alert in enumerate(alerts):
            try:
                lines.append(action("create", alert.id) + dumps(_document(alert)) + b"\n")
            except (TypeError, UnicodeError) as error:
                results[at] = ItemResult(Outcome.REJECTED, f"the alert cannot be encoded: {error}")
                continue
            sent.append(at)
        if not sent:
            return results
        self._indices.ensure(self._index)
        for at, item in zip(sent, bulk(self._api, self._index, lines), strict=True):
            if item.status == 409:
                results[at] = ItemResult(Outcome.DUPLICATE)
            elif item.is_rejected:
                results[at] = ItemResult(Outcome.REJECTED, f"{item.kind}: {item.reason}")
            else:
                item.check()
        return results

    def get(self, alert_id: str) -> Alert | None:
        """One alert."""
        document = get(self._api, self._index, alert_id) if alert_id else None
        return None if document is None else _alert(document["_source"])

    def search(self, where: AlertFilter, size: int, after: str | None) -> AlertPage:
        """One page, newest first."""
        if not 1 <= size <= MAX_PAGE:
            raise QueryError(f"A page has 1 to {MAX_PAGE} alerts")
        body: Dsl = {
            "query": _query(where),
            "size": size + 1,
            "sort": [{"time": {"order": "desc"}}, {"id": {"order": "desc"}}],
            "track_total_hits": True,
        }
        if after is not None:
            cursor = decode(after)
            body["search_after"] = [cursor.time, cursor.id]
        answer = self._search(body)
        alerts = [_alert(hit["_source"]) for hit in answer["hits"]["hits"]]
        following = Cursor(alerts[size - 1].time, alerts[size - 1].id).encode() if len(alerts) > size else None
        return AlertPage(alerts=alerts[:size], total=total_of(answer), next=following)

    def count(self, where: AlertFilter, by: str) -> dict[str, int]:
        """Counts per value of a column; alerts without an owner count under the empty text."""
        if by not in _GROUPS:
            raise QueryError(f"Alerts can be counted by {', '.join(sorted(_GROUPS))}")
        terms = {"terms": {"field": by, "size": MAX_BUCKETS}}
        found = self._search({"query": _query(where), "size": 0, "aggs": {"by": terms}}).get("aggregations")
        return {bucket["key"]: bucket["doc_count"] for bucket in found["by"]["buckets"]} if found else {}

    def histogram(self, where: AlertFilter, interval: int) -> list[tuple[int, int]]:
        """Counts per interval of event time."""
        if interval < 1:
            raise QueryError("The interval of a histogram is at least one millisecond")
        over = {"histogram": {"field": "time", "interval": interval, "min_doc_count": 1}}
        found = self._search({"query": _query(where), "size": 0, "aggs": {"over": over}}).get("aggregations")
        buckets = found["over"]["buckets"] if found else []
        if len(buckets) > MAX_BUCKETS:
            raise QueryError(f"A histogram has at most {MAX_BUCKETS} buckets: choose a longer interval")
        return [(int(bucket["key"]), bucket["doc_count"]) for bucket in buckets]

    def update(self, alert_id: str, version: int, changes: Mapping[str, Any]) -> Alert:
        """Merge `changes` into the workflow; None removes a key. Raises ConflictError, NotFoundError."""
        document = get(self._api, self._index, alert_id) if alert_id else None
        if document is None:
            raise NotFoundError(f"there is no alert {alert_id}")
        source = document["_source"]
        if source["version"] != version:
            raise ConflictError(f"alert {alert_id} was changed since version {version}; it is at {source['version']}")
        merged = {**source["workflow"], **changes}
        workflow = {key: value for key, value in merged.items() if value is not None}
        changed = {**source, **_columns(workflow), "workflow": workflow, "version": version + 1}
        if not replace(self._api, self._index, alert_id, changed, (document["_seq_no"], document["_primary_term"])):
            raise ConflictError(f"alert {alert_id} was changed since version {version}")
        return _alert(changed)

    def changes(self, after: int, limit: int) -> tuple[list[Alert], int]:
        """Each alert that changed after a number, once, in the order of its last change.

        A change's number is its sequence number in the shard, plus one. Sequence numbers are taken before operations
        end, so only those up to the checkpoint are safe to step over: every one of them has been carried out on every
        copy, and a refresh that begins later shows it.
        """
        newest = self.latest_change()
        if after > newest:
            after = 0  # another index under the same name: whoever follows has to begin again
        if after == newest:
            return [], newest
        body: Dsl = {
            "query": {"range": {"_seq_no": {"gte": after, "lte": newest - 1}}},
            "size": max(1, min(limit, MAX_PAGE)),
            "sort": [{"_seq_no": {"order": "asc"}}],
            "seq_no_primary_term": True,
        }
        hits = self._search(body)["hits"]["hits"]
        reached = hits[-1]["_seq_no"] + 1 if len(hits) == body["size"] else newest
        return [_alert(hit["_source"]) for hit in hits], reached

    def latest_change(self) -> int:
        """The newest change number."""
        for pause in (*_PAUSES, None):
            points = self._checkpoints()
            if points is None:
                return 0
            if points:
                return min(points) + 1
            if pause is not None:
                time.sleep(pause)
        raise UnavailableError(f"no copy of {self._index} is available")

    def _checkpoints(self) -> list[int] | None:
        """Up to where each copy has carried out everything; empty while there is none, None without an index."""
        wanted = "indices.*.shards.*.seq_no.local_checkpoint"
        answer = found(self._api.call("GET", f"/{self._index}/_stats?level=shards&filter_path={wanted}"))
        if answer is None:
            return None
        copies = answer.get("indices", {}).get(self._index, {}).get("shards", {}).get("0", [])
        return [copy["seq_no"]["local_checkpoint"] for copy in copies]

    def _search(self, body: Dsl) -> Any:
        self._fresh.ensure()
        return search(self._api, self._index, body)


def _document(alert: Alert) -> dict[str, Any]:
    workflow = dict(alert.workflow)
    return {
        "id": alert.id,
        "time": alert.time,
        "raised": alert.raised,
        "rule": alert.rule,
        "severity": alert.severity,
        "title": alert.title,
        "summary": alert.summary,
        **_columns(workflow),
        "workflow": workflow,
        "version": alert.version,
        "body": dict(alert.body),
        "text": _pieces(searched_text(alert)),
    }


def _columns(workflow: Mapping[str, Any]) -> dict[str, str]:
    return {
        "status": str(workflow.get("status") or "new"),
        "owner": str(workflow.get("owner") or ""),
        "incident": str(workflow.get("incident") or ""),
    }


def _pieces(text: str) -> list[str]:
    """The lines of a text, so that equal ones of many alerts are one term; long ones in overlapping pieces."""
    lines = dict.fromkeys(line for line in text.split("\n") if line)
    step = _PIECE - MAX_TEXT
    return [line[start : start + _PIECE] for line in lines for start in range(0, max(1, len(line) - MAX_TEXT), step)]


def _alert(source: Mapping[str, Any]) -> Alert:
    return Alert(
        id=source["id"],
        time=source["time"],
        raised=source["raised"],
        rule=source["rule"],
        severity=source["severity"],
        title=source["title"],
        summary=source["summary"],
        body=source["body"],
        workflow=source["workflow"],
        version=source["version"],
    )


def _query(where: AlertFilter) -> Dsl:
    parts: list[Dsl] = [
        {"terms": {column: list(wanted)}}
        for column, wanted in (("severity", where.severities), ("rule", where.rules), ("status", where.statuses))
        if wanted
    ]
    parts += [
        {"term": {column: {"value": value}}}
        for column, value in (("owner", where.owner), ("incident", where.incident))
        if value is not None
    ]
    if where.time.start is not None:
        parts.append({"range": {"time": {"gte": where.time.start}}})
    if where.time.end is not None:
        parts.append({"range": {"time": {"lt": where.time.end}}})
    if len(where.text) > MAX_TEXT:
        raise QueryError(f"Alerts are searched for texts of at most {MAX_TEXT} characters")
    for line in filter(None, fold(where.text).split("\n")):
        parts.append({"wildcard": {"text": {"value": f"*{_literal(line)}*"}}})
    return {"bool": {"filter": parts}} if parts else {"match_all": {}}


def _literal(text: str) -> str:
    """Nothing of the text can act as a pattern."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
