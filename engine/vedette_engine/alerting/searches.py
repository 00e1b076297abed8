"""Scheduled searches, the pure part: when the condition of a moving window is true, and what of that is new.

The events of one group are judged by event time, in milliseconds. At a moment T the window is (T - window, T]; the
moments at which it satisfies the condition form half-open intervals, and each maximal one is one alert. Conditions can
only grow, so events that come late extend and join intervals, and never take one back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import orjson

from vedette_crds.alertrule import Search
from vedette_crds.duration import parse_duration
from vedette_engine.alerting.ids import digest

MAX_EVENTS: Final = 10_000
"""Events of one group that are looked at in one round."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Lower limits of a number; None stands for one that is not given."""

    at_least: float | None = None
    more_than: float | None = None

    def hold(self, number: int) -> bool:
        """Whether the number satisfies all of them."""
        enough = self.at_least is None or number >= self.at_least
        return enough and (self.more_than is None or number > self.more_than)

    def to_json(self) -> dict[str, float]:
        """Under the names that rules use."""
        given = {"gte": self.at_least, "gt": self.more_than}
        return {name: limit for name, limit in given.items() if limit is not None}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Limits:
        """What `to_json` wrote."""
        return cls(raw.get("gte"), raw.get("gt"))


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """One scheduled search.

    Attributes:
        query: in Lucene's syntax.
        every: ms between two rounds.
        window: ms of event time that the condition looks at.
        group_by: fields; the events of each combination of their values are judged by themselves.
        count: limits of the number of events in the window.
        distinct: a field, and limits of the number of its different values in the window.
    """

    query: str
    every: int
    window: int
    group_by: tuple[str, ...] = ()
    count: Limits | None = None
    distinct: tuple[str, Limits] | None = None

    @classmethod
    def of(cls, search: Search) -> SearchSpec:
        """The search of a rule. Limits that do not only grow are for others to refuse."""
        count, distinct = search.condition.count, search.condition.distinct
        return cls(
            query=search.query,
            every=parse_duration(search.every),
            window=parse_duration(search.window),
            group_by=tuple(search.group_by),
            count=None if count is None else Limits(count.gte, count.gt),
            distinct=None if distinct is None else (distinct.field, Limits(distinct.gte, distinct.gt)),
        )

    def to_json(self) -> dict[str, Any]:
        """For the bundle."""
        raw: dict[str, Any] = {
            "query": self.query,
            "every": self.every,
            "window": self.window,
            "groupBy": list(self.group_by),
        }
        if self.count is not None:
            raw["count"] = self.count.to_json()
        if self.distinct is not None:
            field, limits = self.distinct
            raw["distinct"] = {"field": field, **limits.to_json()}
        return raw

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SearchSpec:
        """What `to_json` wrote; raises KeyError, TypeError, AttributeError for anything else."""
        count, distinct = raw.get("count"), raw.get("distinct")
        return cls(
            query=raw["query"],
            every=raw["every"],
            window=raw["window"],
            group_by=tuple(raw["groupBy"]),
            count=None if count is None else Limits.from_json(count),
            distinct=None if distinct is None else (distinct["field"], Limits.from_json(distinct)),
        )

    @property
    def hash(self) -> str:
        """Tells searches apart that may judge the same events differently."""
        raw = {name: value for name, value in self.to_json().items() if name != "every"}
        return digest("search", orjson.dumps(raw, option=orjson.OPT_SORT_KEYS).decode())

    def holds(self, count: int, distinct: int) -> bool:
        """Whether a window with so many events and different values alerts; an empty one never does."""
        return (
            count > 0
            and (self.count is None or self.count.hold(count))
            and (self.distinct is None or self.distinct[1].hold(distinct))
        )


class Seen(NamedTuple):
    """One matching event of a group. `values`: of the field whose different values count, as `groups.values_of`."""

    time: int
    id: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """A maximal stretch [start, end) of moments at which the condition is true.

    Attributes:
        opening: id of the event at which it became true: the smallest of those at `start`.
        count: events in the window at `start`.
        distinct: different values in it; 0 where none are asked for.
    """

    start: int
    end: int
    opening: str
    count: int
    distinct: int


Known = tuple[int, int, str]
"""An interval that was alerted: start, end, id of its alert."""

_Part = tuple[int, int, str, Interval | None]
"""A known interval, or one that was found, without an alert yet."""


def naive_intervals(spec: SearchSpec, events: Sequence[Seen]) -> list[Interval]:
    """The specification of `intervals`: at every moment at which something changes, count the whole window anew."""
    moments = sorted({moment for seen in events for moment in (seen.time, seen.time + spec.window)})
    found: list[Interval] = []
    for moment, following in pairwise(moments):
        inside = [seen for seen in set(events) if moment - spec.window < seen.time <= moment]
        distinct = len({value for seen in inside for value in seen.values})
        if not spec.holds(len(inside), distinct):
            continue
        if found and found[-1].end == moment:
            last = found.pop()
            found.append(Interval(last.start, following, last.opening, last.count, last.distinct))
        else:
            opening = min(seen.id for seen in inside if seen.time == moment)
            found.append(Interval(moment, following, opening, len(inside), distinct))
    return found


def intervals(spec: SearchSpec, events: Sequence[Seen]) -> list[Interval]:
    """The intervals in which the condition is true of these events, by time; events may come in any order, or twice.

    Takes time in proportion to the number of events and their values, once they are sorted.
    """
    ordered = sorted(set(events))
    window = _Window(spec)
    found: list[Interval] = []
    open_since: Interval | None = None
    for moment, leaving, entering in _moments(ordered, spec.window):
        window.change(leaving, entering)
        if open_since is None and window.alerts:
            # What made it true has just entered: a window that only loses events does not become true.
            open_since = Interval(moment, moment, entering[0].id, window.count, window.distinct)
        elif open_since is not None and not window.alerts:
            found.append(_ended(open_since, moment))
            open_since = None
    return found


class _Window:
    """The events in it, as numbers."""

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self._values: Counter[str] = Counter()
        self.count = 0

    def change(self, leaving: Sequence[Seen], entering: Sequence[Seen]) -> None:
        self.count += len(entering) - len(leaving)
        for seen in entering:
            self._values.update(set(seen.values))
        for seen in leaving:
            for value in set(seen.values):
                self._values[value] -= 1
                if not self._values[value]:
                    del self._values[value]

    @property
    def distinct(self) -> int:
        return len(self._values)

    @property
    def alerts(self) -> bool:
        return self._spec.holds(self.count, self.distinct)


def _moments(ordered: Sequence[Seen], window: int) -> Iterator[tuple[int, Sequence[Seen], Sequence[Seen]]]:
    """(moment, events that leave, events that enter) wherever the window changes, by time."""
    first = after = 0
    while first < len(ordered):
        leaves = ordered[first].time + window
        enters = ordered[after].time if after < len(ordered) else leaves
        moment = min(leaves, enters)
        left, entered = first, after
        while first < after and ordered[first].time + window == moment:
            first += 1
        while after < len(ordered) and ordered[after].time == moment:
            after += 1
        yield moment, ordered[left:first], ordered[entered:after]


def _ended(interval: Interval, end: int) -> Interval:
    return Interval(interval.start, end, interval.opening, interval.count, interval.distinct)


def fresh(
    known: Sequence[Known], found: Sequence[Interval], name: Callable[[Interval], str]
) -> tuple[list[Known], list[Interval]]:
    """What is known of a group after a round, and the intervals that need an alert.

    An interval that overlaps or touches one that was alerted is that alert. Where a late event joins several that were
    alerted, the first one's alert stands for all.

    Args:
        known: intervals alerted before, of one group.
        found: of the same group, as `intervals` gives them; not all of its events need have been looked at.
        name: the id of the alert of an interval that is new.

    Returns:
        The intervals now known, by time; and those of `found` whose alert is new, by time.
    """
    merged: list[Known] = []
    new: dict[str, Interval] = {}
    parts: list[_Part] = [(start, end, alert, None) for start, end, alert in known]
    parts += [(one.start, one.end, "", one) for one in found]
    for cluster in _clusters(sorted(parts, key=lambda part: part[:2])):
        alerted = [alert for _, _, alert, interval in cluster if interval is None]
        fresh_one = cluster[0][3]
        if not alerted and fresh_one is not None:
            new[name(fresh_one)] = fresh_one
            alerted = [name(fresh_one)]
        merged.append((cluster[0][0], max(end for _, end, _, _ in cluster), alerted[0]))
    return merged, list(new.values())


def _clusters(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Parts that overlap or touch, directly or by way of others, together; `parts` by start."""
    cluster: list[_Part] = []
    end = 0
    for part in parts:
        if cluster and part[0] > end:
            yield cluster
            cluster = []
        end = max(end, part[1]) if cluster else part[1]
        cluster.append(part)
    if cluster:
        yield cluster
