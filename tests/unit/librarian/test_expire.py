from __future__ import annotations

from pathlib import Path

from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, TimeRange
from vedette_engine.query.tree import MatchAll
from vedette_workers.librarian.expire import drop_expired, expired

DAY = 86_400_000
NOVEMBER_22 = 1_795_305_600_000


def event(number: int, day: int) -> NewEvent:
    return NewEvent(
        f"{number:032x}", NOVEMBER_22 + day * DAY, NOVEMBER_22 + day * DAY, f"{number:032x}", {"message": "x"}
    )


def test_a_day_is_dropped_once_it_is_older_than_its_class() -> None:
    days = [("7d", "2026.11.14", 5), ("7d", "2026.11.15", 5), ("30d", "2026.11.14", 5), ("7d", "2026.11.22", 5)]
    assert list(expired(days)) == [("7d", "2026.11.14")]


def test_without_newer_events_nothing_expires_whatever_the_clock_says() -> None:
    assert list(expired([("7d", "2020.01.01", 5), ("7d", "2020.01.05", 5)])) == []
    assert list(expired([])) == []


def test_dropping_leaves_the_other_days_and_classes(tmp_path: Path) -> None:
    store = open_store(tmp_path, writer=True)
    store.create_events("7d", [event(1, -8), event(2, -7), event(3, 0)])
    store.create_events("30d", [event(4, -8)])
    assert drop_expired(store) == 1
    found = {one.id for one in store.search_events(MatchAll(), TimeRange()).events}
    assert found == {f"{number:032x}" for number in (2, 3, 4)}
    assert drop_expired(store) == 0
    store.close()
