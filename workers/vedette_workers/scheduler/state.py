"""What a scheduled search remembers between two rounds: a small record under a version, one per rule.

An alert is drawn up and kept here, in the same write as the interval that it stands for, before it is written anywhere
else: whoever finds it here goes on there, so a crash at any point leaves one alert per interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from vedette_backends.store.protocol import Alert
from vedette_engine.alerting.notices import Notice
from vedette_engine.alerting.search_alerts import SearchAlert
from vedette_engine.alerting.searches import Interval, Known

COLLECTION: Final = "scheduler"
PARENT: Final = "rules"
VERSION: Final = 1
REMEMBERED: Final = 86_400_000
"""ms for which an interval is remembered after the last event that had to do with it, at least; else two windows."""
MOST: Final = 10_000
"""Intervals of one rule that are remembered; a record has a size."""
GONE_AFTER: Final = 86_400_000
"""ms after which a rule that was deleted and comes back begins anew."""


class Stretch(NamedTuple):
    """An interval that was alerted.

    Attributes:
        start, end: half-open, event time in ms.
        alert: id of its alert.
        touched: the checkpoint of the last round in which events had to do with it.
    """

    start: int
    end: int
    alert: str
    touched: int


@dataclass(frozen=True, slots=True)
class Pending:
    """An alert that has to be written, and what the responder is to be told of it."""

    alert: SearchAlert
    notice: Notice | None = None

    def stored(self) -> Alert:
        """As the store takes it."""
        return Alert(**{name: getattr(self.alert, name) for name in SearchAlert.__dataclass_fields__})

    def encode(self) -> str:
        """As text: field names of events are no names of fields in a record."""
        return orjson.dumps({"alert": asdict(self.alert), "notice": self.notice and list(self.notice)}).decode()

    @classmethod
    def decode(cls, text: str) -> Pending:
        """What `encode` wrote."""
        raw = orjson.loads(text)
        return cls(SearchAlert(**raw["alert"]), None if raw["notice"] is None else Notice(*raw["notice"]))


@dataclass(slots=True)
class RuleState:
    """Of one rule.

    Attributes:
        checkpoint: everything that was stored until then has been looked at; ms by the clock of whoever stored it.
        spec: hash of the search at the last round.
        groups: text of a group → its intervals, by time.
        pending: alerts of intervals in `groups` that may not be written yet.
        gone: when the rule was found to be gone, ms; None while it is in force.
    """

    checkpoint: int
    spec: str = ""
    groups: dict[str, list[Stretch]] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)
    gone: int | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> RuleState:
        """From a record."""
        return cls(
            checkpoint=body["checkpoint"],
            spec=body["spec"],
            groups={text: [Stretch(*one) for one in stretches] for text, stretches in body["groups"]},
            pending=[Pending.decode(text) for text in body["pending"]],
            gone=body.get("gone"),
        )

    def write(self) -> dict[str, Any]:
        """As a record. Groups are a list: their texts hold what a store may not take for a field's name."""
        body: dict[str, Any] = {
            "v": VERSION,
            "checkpoint": self.checkpoint,
            "spec": self.spec,
            "groups": [[text, [list(one) for one in stretches]] for text, stretches in self.groups.items()],
            "pending": [pending.encode() for pending in self.pending],
        }
        if self.gone is not None:
            body["gone"] = self.gone
        return body

    def known(self, group: str) -> list[Known]:
        """The intervals of a group that were alerted."""
        return [(one.start, one.end, one.alert) for one in self.groups.get(group, ())]

    def learn(self, group: str, merged: Sequence[Known], found: Sequence[Interval], now: int) -> None:
        """Take over what is known of a group after a round up to `now`, in which `found` was found."""
        before = {one[:3]: one.touched for one in self.groups.get(group, ())}
        if not merged:
            return
        self.groups[group] = [
            Stretch(*one, touched=now if _overlaps(one, found) else before.get(one, now)) for one in merged
        ]

    def forget(self, window: int) -> int:
        """Drop intervals that nothing had to do with for long; how many more went because there are too many."""
        horizon = self.checkpoint - max(REMEMBERED, 2 * window)
        kept = [(text, one) for text, held in self.groups.items() for one in held if one.touched > horizon]
        surplus = len(kept) - MOST
        if surplus > 0:
            kept.sort(key=lambda item: (item[1].touched, item[1].end))
            del kept[:surplus]
        self.groups = {}
        for text, one in sorted(kept):
            self.groups.setdefault(text, []).append(one)
        return max(surplus, 0)

    def is_over(self, now: int) -> bool:
        """Whether the rule has been gone for so long that it begins anew when it comes back."""
        return self.gone is not None and now - self.gone > GONE_AFTER


def _overlaps(one: Known, found: Iterable[Interval]) -> bool:
    return any(interval.start <= one[1] and one[0] <= interval.end for interval in found)
