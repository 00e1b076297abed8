"""Gathering groups of events: what belongs together, however a store came to know of it, and no more than asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from vedette_backends.store.protocol import Group
from vedette_engine.alerting.groups import GROUPABLE, groups_of
from vedette_engine.query.fields import kind_of
from vedette_engine.query.tree import QueryError

MAX_FIELDS: Final = 10
MAX_LIMIT: Final = 100_000

Values = tuple[str | None, ...]


def check_fields(fields: Sequence[str]) -> None:
    """Raises QueryError for what events cannot be grouped by."""
    if len(fields) > MAX_FIELDS:
        raise QueryError(f"Events are grouped by at most {MAX_FIELDS} fields")
    for field in fields:
        if kind_of(field) not in GROUPABLE:
            raise QueryError(f"{field} measures something: events are grouped by what names something")


class Grouping:
    """Groups by their values.

    Args:
        limit: so many at most; raises QueryError when it is out of reach.
    """

    def __init__(self, limit: int) -> None:
        if not 1 <= limit <= MAX_LIMIT:
            raise QueryError(f"Ask for 1 to {MAX_LIMIT} groups")
        self._limit = limit
        self._groups: dict[Values, Group] = {}
        self.more = False
        """Whether some group found no room."""

    def add(self, group: Group) -> bool:
        """Take up a group, or a part of one; returns whether some of it was known already."""
        known = self._groups.get(group.values)
        if known is not None:
            group = Group(
                group.values, known.count + group.count, min(known.first, group.first), max(known.last, group.last)
            )
        elif len(self._groups) >= self._limit:
            self.more = True
            return False
        self._groups[group.values] = group
        return known is not None

    def recounted(self, counts: Mapping[Values, int]) -> None:
        """Correct the counts of some groups."""
        for values, count in counts.items():
            self._groups[values] = replace(self._groups[values], count=count)

    def add_event(self, document: Mapping[str, Any], time: int, fields: Sequence[str]) -> None:
        """Count one event in each of its groups."""
        for values in groups_of(document, fields):
            self.add(Group(values, 1, time, time))

    def result(self) -> tuple[list[Group], bool]:
        """The groups by their values, None first; and whether there are more."""
        ordered = sorted(
            self._groups.values(), key=lambda group: [(value is not None, value) for value in group.values]
        )
        return ordered, self.more
