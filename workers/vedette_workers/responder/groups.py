"""Which incident an alert joins: pure decisions over small records that several responders could write at once.

The windows of all groups of a rule are spread over a fixed number of records, so that a rule leaves so many behind,
however many addresses or users its alerts are grouped by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from vedette_engine.alerting.ids import digest
from vedette_engine.alerting.notices import Notice

COLLECTION: Final = "incident-groups"
BUCKETS: Final = 64
MOST: Final = 100
"""Windows of one record; the oldest are forgotten beyond it."""
LATE: Final = 7 * 86_400_000
"""ms for which a window is remembered when its time is over, for alerts of events that arrive late."""


@dataclass(frozen=True, slots=True)
class Window:
    """One incident of one group.

    Attributes:
        group: digest of the group.
        incident: its name.
        first: id of the alert that opened it.
        time: event time of that alert, ms since the epoch.
        until: when it may be forgotten, by the wall clock.
        opened: the Incident was created. Until then whoever finds the window creates it.
    """

    group: str
    incident: str
    first: str
    time: int
    until: int
    opened: bool = False


def bucket_of(group: str) -> str:
    """Id of the record that holds a group's windows."""
    return f"{int(digest('bucket', group, size=4), 16) % BUCKETS:02d}"


def group_digest(notice: Notice) -> str:
    """What stands for the notice's group in a window."""
    return digest("group", notice.group, size=12)


def read(body: Mapping[str, Any] | None) -> list[Window]:
    """The windows of a record; none where there is no record yet."""
    return [] if body is None else [Window(**item) for item in body["windows"]]


def write(windows: Iterable[Window], now: int) -> dict[str, Any]:
    """A record of these windows, without those whose time is over."""
    kept = [window for window in windows if window.until > now or not window.opened]
    kept = sorted(kept, key=lambda window: window.until)[-MOST:]
    return {"v": 1, "windows": [asdict(window) for window in kept]}


def candidates(windows: Iterable[Window], notice: Notice) -> Iterator[Window]:
    """Windows that the alert fits into, best first: the one it opened itself, then those nearest in event time."""
    group = group_digest(notice)
    near = [
        window
        for window in windows
        if window.group == group and (window.first == notice.alert or abs(notice.time - window.time) <= notice.within)
    ]
    near.sort(key=lambda window: (window.first != notice.alert, abs(notice.time - window.time), window.incident))
    yield from near


def new_window(notice: Notice, incident: str, now: int) -> Window:
    """The window that the notice's alert opens; `now` by the wall clock."""
    return Window(group_digest(notice), incident, notice.alert, notice.time, now + notice.within + LATE)
