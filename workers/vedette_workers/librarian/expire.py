"""Days of events whose retention class is over are dropped, whole partitions at a time."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator

from vedette_backends.store.protocol import Store

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two looks."""


def expired(days: Iterable[tuple[str, str, int]]) -> Iterator[tuple[str, str]]:
    """(class, day) of the partitions that are older than their class says.

    Age is counted from the newest day that holds events, not from the clock: a clock that jumps ahead drops nothing.

    Args:
        days: as `Store.days` tells them: class (`30d`), UTC day (`2026.11.22`), number of events.
    """
    known = [
        (retention, day, dt.datetime.strptime(day, "%Y.%m.%d").replace(tzinfo=dt.UTC)) for retention, day, _ in days
    ]
    if not known:
        return
    newest = max(date for _, _, date in known)
    for retention, day, date in known:
        if newest - date > dt.timedelta(days=int(retention.removesuffix("d"))):
            yield retention, day


def _date(day: str) -> dt.datetime:
    return dt.datetime.strptime(day, "%Y.%m.%d").replace(tzinfo=dt.UTC)


def drop_expired(store: Store) -> int:
    """Drop them; returns how many partitions."""
    gone = list(expired(store.days()))
    for retention, day in gone:
        log.info("dropping %s of class %s: its retention is over", day, retention)
        store.drop_day(retention, day)
    return len(gone)
