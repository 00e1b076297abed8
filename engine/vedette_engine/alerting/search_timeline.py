"""What a search makes of a timeline of events, in rounds as the worker does: the tests of rules run on this."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from vedette_engine.alerting.groups import Group, groups_of, values_of
from vedette_engine.alerting.searches import Known, SearchSpec, Seen, fresh, intervals
from vedette_engine.normalise.document import to_document
from vedette_engine.query import lucene
from vedette_engine.query.naive import matcher

MAX_STEPS: Final = 500_000
"""Looks at an event that all tests of a rule may take together; about two seconds."""
ZERO: Final = 1_767_225_600_000
"""The zero of timelines: some day or other, ms since the epoch."""

Event = dict[str, Any]


class TooLongError(Exception):
    """The tests of a rule take more than `MAX_STEPS`."""


class Occurrence(NamedTuple):
    """The same event once or several times. Times are ms from the timeline's zero."""

    event: Mapping[str, Any]
    at: int
    arrives: int
    times: int = 1
    every: int = 0


@dataclass(slots=True)
class _Group:
    stored: list[Seen] = field(default_factory=list)
    """By time, as `new`."""
    new: list[Seen] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    opened: list[tuple[int, str]] = field(default_factory=list)
    """Start and opening event of each alert."""


class Timelines:
    """Plays timelines for the tests of one rule.

    Args:
        search: the rule's search, without problems.
        steps: looks at events that are left to all of them.
    """

    def __init__(self, search: SearchSpec, steps: int = MAX_STEPS) -> None:
        self._search = search
        self._matches = matcher(lucene.parse(search.query))
        self._left = steps

    def play(self, timeline: Sequence[Occurrence]) -> list[Mapping[str, Any]]:
        """The event that opened each alert, by the time of these events; raises TooLongError."""
        groups: defaultdict[Group, _Group] = defaultdict(_Group)
        arrived = sorted(self._arrivals(timeline), key=itemgetter(0))
        for _, in_round in groupby(arrived, key=itemgetter(0)):
            new: defaultdict[Group, list[Seen]] = defaultdict(list)
            for _, seen, group in in_round:
                new[group].append(seen)
            for group, batch in new.items():
                self._arrive(groups[group], sorted(batch))
        for each in groups.values():
            if each.new:
                self._judge(each)
        opened = sorted(one for each in groups.values() for one in each.opened)
        return [timeline[int(event.partition("/")[0])].event for _, event in opened]

    def _arrive(self, group: _Group, batch: list[Seen]) -> None:
        """A round's new events.

        Rounds that each lie behind all that came before, in event time, are judged together: the alerts are the same.
        """
        if group.new and batch[0].time <= group.new[-1].time:
            self._judge(group)
        group.new += batch
        if group.stored and group.new[0].time <= group.stored[-1].time:
            self._judge(group)

    def _judge(self, group: _Group) -> None:
        """As the worker does when these events are new."""
        for seen in group.new:
            insort(group.stored, seen)
        window = self._search.window
        start = bisect_right(group.stored, group.new[0].time - window, key=_time)
        end = bisect_left(group.stored, group.new[-1].time + window, key=_time)
        self._take(end - start + len(group.known))
        found = intervals(self._search, group.stored[start:end])
        group.known, alerts = fresh(group.known, found, lambda interval: interval.opening)
        group.opened += [(interval.start, interval.opening) for interval in alerts]
        group.new.clear()

    def _arrivals(self, timeline: Sequence[Occurrence]) -> Iterator[tuple[int, Seen, Group]]:
        """(round, event, group) of what matches."""
        every = self._search.every
        for index, one in enumerate(timeline):
            document = to_document({**one.event, "@timestamp": ZERO + one.at, "event.ingested": ZERO + one.arrives})
            self._take(1)
            if not self._matches(document):
                continue
            distinct = self._search.distinct
            values = () if distinct is None else values_of(document, distinct[0])
            for group in groups_of(document, self._search.group_by):
                self._take(one.times)
                for number in range(one.times):
                    later = number * one.every
                    seen = Seen(one.at + later, f"{index:03d}/{number:05d}", values)
                    yield -(-(one.arrives + later) // every), seen, group

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLongError


def _time(seen: Seen) -> int:
    return seen.time
