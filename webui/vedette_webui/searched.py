"""What rules and alerts say of scheduled searches, read defensively: people wrote it, and engines of any version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vedette_crds.alertrule import Search
from vedette_engine.alerting.search_rules import describe
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.query.lucene import parse
from vedette_engine.query.text import with_filter, write_name
from vedette_engine.query.tree import MatchAll, QueryError
from vedette_webui import show, timespan

KIND = "search"
GROUPS = 10


@dataclass(frozen=True, slots=True)
class Searched:
    """How a search came to an alert.

    Attributes:
        query: the search's text.
        count: events in the window; None when unknown.
        field, different: whose different values were counted, and how many there were; empty and None without.
        start, end: of the window, which begins after `start` and holds `end`; ms since the epoch, None when unknown.
        group: fields that the search groups by with the group's values, None where the events lack the field.
        text: the query of the search page that finds the events; empty where it cannot be written.
    """

    query: str
    count: int | None
    field: str
    different: int | None
    start: int | None
    end: int | None
    group: list[tuple[str, str | None]]
    text: str

    @property
    def span(self) -> dict[str, str]:
        """The window as parameters of the search page."""
        bounds = {"from_": self.start, "to": self.end}
        return {name: timespan.iso(time + 1) for name, time in bounds.items() if time is not None}

    @property
    def length(self) -> str:
        """How long the window is, for people."""
        return "" if self.start is None or self.end is None else timespan.ago(self.end - self.start)


def read(detection: Mapping[str, Any]) -> Searched | None:
    """What an alert's body tells; None where no search raised it."""
    if detection.get("kind") != KIND:
        return None
    distinct, window, group = (_mapping(detection.get(name)) for name in ("distinct", "window", "group"))
    query = show.scalar(detection.get("query") or "")
    grouped = list(group.items())[:GROUPS]
    values = [(str(name), None if value is None else show.scalar(value)) for name, value in grouped]
    return Searched(
        query=query,
        count=_number(detection.get("count")),
        field=show.scalar(distinct.get("field") or ""),
        different=_number(distinct.get("count")),
        start=_number(window.get("start")),
        end=_number(window.get("end")),
        group=values,
        text=narrowed(query, values),
    )


def narrowed(query: str, group: list[tuple[str, str | None]]) -> str:
    """The query with the values of a group; empty where it cannot be written."""
    try:
        for name, value in group:
            if value is not None:
                query = with_filter(query, name, value)
            else:
                absent = f"NOT {write_name(name)}:*"
                query = absent if isinstance(parse(query), MatchAll) else f"({query}) AND {absent}"
        parse(query)
    except QueryError:
        return ""
    return query


@dataclass(frozen=True, slots=True)
class Searching:
    """The search of a rule. `words`: its condition for people, empty where it cannot be read."""

    query: str
    every: str
    words: str


def of_rule(spec: Mapping[str, Any]) -> Searching | None:
    """The search in a rule's spec; None where it has none."""
    raw = spec.get("search")
    if not isinstance(raw, Mapping):
        return None
    try:
        search = Search.model_validate(raw)
        return Searching(search.query, search.every, describe(SearchSpec.of(search)))
    except (ValidationError, ValueError):
        return Searching(show.scalar(raw.get("query") or ""), show.scalar(raw.get("every") or ""), "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
