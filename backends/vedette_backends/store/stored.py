"""`vedette.stored`, when an event was stored: what a query asks of it, and what that means for older events.

Partitions that were written by a version without the stamp hold events that have none; those count as stored at their
`event.ingested`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vedette_engine.query import tree
from vedette_engine.query.fields import INGESTED, TIME
from vedette_engine.query.resolve import resolve
from vedette_engine.query.tree import Query

STORED: Final = "vedette.stored"
STAMPS: Final = frozenset({TIME, INGESTED, STORED})
"""Times that every event has; nearly every event has its own."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks of the stamp.

    Attributes:
        at_all: whether it asks for it.
        since: events stored before do not match, ms; None where that cannot be said.
    """

    at_all: bool = False
    since: int | None = None


def asked_of(query: Query) -> Asked:
    """What the query asks of the stamp. Raises QueryError for a bound that is no time."""
    if not any(getattr(node, "field", None) == STORED for node in _nodes(query)):
        return Asked()
    parts = query.parts if isinstance(query, tree.And) else (query,)
    bounds = [resolve(part) for part in parts if isinstance(part, tree.Range) and part.field == STORED]
    lows = [bound.low for bound in bounds if isinstance(bound, tree.Range) and isinstance(bound.low, int)]
    return Asked(at_all=True, since=max(lows, default=None))


def _nodes(query: Query) -> Iterator[Query]:
    """All nodes; without recursion, because nobody has looked yet how deep it is."""
    waiting = [query]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, tree.And | tree.Or):
            waiting += node.parts
        elif isinstance(node, tree.Not):
            waiting.append(node.part)


def for_unstamped(query: Query) -> Query:
    """The same question to a partition in which some events have no stamp. `query` is not nested too deeply."""
    if isinstance(query, tree.And | tree.Or):
        return type(query)(tuple(for_unstamped(part) for part in query.parts))
    if isinstance(query, tree.Not):
        return tree.Not(for_unstamped(query.part))
    if getattr(query, "field", None) != STORED:
        return query
    if isinstance(query, tree.Exists):
        return tree.MatchAll()
    bounds = resolve(query)
    if not isinstance(bounds, tree.Range):
        return for_unstamped(bounds)
    ingested = tree.Range(INGESTED, _time(bounds.low), _time(bounds.high))
    return tree.Or((query, tree.And((ingested, tree.Not(tree.Exists(STORED))))))


def _time(bound: float | str | None) -> str | None:
    """A resolved bound, so that it reads as milliseconds and never as a year."""
    return None if bound is None else f"{bound:06}"
