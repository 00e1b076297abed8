"""What every store owes for alerts: created once, changed under a version, every change in the feed."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.protocol import Alert, AlertFilter, Outcome, Store, TimeRange
from vedette_engine.query.tree import QueryError

T0 = 1_795_348_800_000


def alert(number: int, **changes: Any) -> Alert:
    made = Alert(
        id=f"alert{number:04}",
        time=T0 + number * 1000,
        raised=T0,
        rule="ssh-guessing",
        severity="high",
        title="SSH guessing",
        summary=f"192.0.2.{number} guessed its way in",
        body={"detection": {"tags": ["attack.t1110"]}, "events": []},
    )
    return replace(made, **changes)


def found(store: Store, **where: Any) -> list[str]:
    return [one.id for one in store.search_alerts(AlertFilter(**where)).alerts]


def test_an_alert_comes_back_as_it_was_written(store: Store) -> None:
    event = {"id": "e1", "time": T0, "document": {"message": "x" * 5000, "vedette.other": {"a": [1]}}}
    written = alert(1, body={"detection": {"explanation": {"kind": "and"}}, "events": [event]})
    assert [result.outcome for result in store.create_alerts([written])] == [Outcome.CREATED]
    assert store.get_alert(written.id) == written
    assert store.get_alert("nobody") is None


def test_an_alert_that_exists_stays_as_people_left_it(store: Store) -> None:
    store.create_alerts([alert(1)])
    changed = store.update_alert("alert0001", 1, {"status": "closed", "owner": "ana"})
    results = store.create_alerts([alert(1, title="again"), alert(2), alert(2)])
    assert [result.outcome for result in results] == [Outcome.DUPLICATE, Outcome.CREATED, Outcome.DUPLICATE]
    assert store.get_alert("alert0001") == changed


def test_an_alert_that_cannot_be_encoded_is_rejected_and_its_neighbours_are_kept(store: Store) -> None:
    results = store.create_alerts([alert(1), alert(2, title="\ud800"), alert(3, body={"x": {1}}), alert(4)])
    assert [result.outcome.name for result in results] == ["CREATED", "REJECTED", "REJECTED", "CREATED"]


def test_a_change_merges_and_none_takes_away(store: Store) -> None:
    store.create_alerts([alert(1)])
    store.update_alert("alert0001", 1, {"owner": "ana", "disposition": "benign"})
    changed = store.update_alert("alert0001", 2, {"owner": None, "status": "acknowledged"})
    assert (dict(changed.workflow), changed.version) == ({"status": "acknowledged", "disposition": "benign"}, 3)


def test_a_change_of_an_old_version_is_a_conflict(store: Store) -> None:
    store.create_alerts([alert(1)])
    store.update_alert("alert0001", 1, {"owner": "ana"})
    with pytest.raises(ConflictError, match="version 1"):
        store.update_alert("alert0001", 1, {"owner": "bob"})
    with pytest.raises(NotFoundError):
        store.update_alert("nobody", 1, {})


def test_of_many_that_change_one_version_at_once_exactly_one_wins(store: Store) -> None:
    store.create_alerts([alert(1)])
    barrier = threading.Barrier(8)
    won: list[str] = []

    def change(name: str) -> None:
        barrier.wait()
        try:
            store.update_alert("alert0001", 1, {"owner": name})
        except ConflictError:
            return
        won.append(name)

    threads = [threading.Thread(target=change, args=(f"user{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = store.get_alert("alert0001")
    assert kept is not None
    assert (won, kept.version) == ([kept.workflow["owner"]], 2)


def test_filters_hold_together(store: Store) -> None:
    store.create_alerts([alert(1), alert(2, severity="low"), alert(3, rule="other"), alert(4)])
    store.update_alert("alert0004", 1, {"status": "closed", "owner": "ana", "incident": "inc-1"})
    assert found(store, severities=["high"]) == ["alert0004", "alert0003", "alert0001"]
    assert found(store, severities=["high", "low"], rules=["ssh-guessing"]) == ["alert0004", "alert0002", "alert0001"]
    assert found(store, statuses=["new"], severities=["high"]) == ["alert0003", "alert0001"]
    assert found(store, owner="ana") == found(store, incident="inc-1") == ["alert0004"]
    assert found(store, time=TimeRange(T0 + 2000, T0 + 4000)) == ["alert0003", "alert0002"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("GUESSED", True), ("ssh-guess", True), ("192.0.2.1 ", True), ("mimikatz", True), ("straße", True),
     ("%", False), ("_", False), ("'", False), ('"', False), ("*", False), ("100\\", True), ("nothing", False)],
)  # fmt: skip
def test_text_is_looked_for_literally_in_title_summary_rule_and_event_values(
    store: Store,
    text: str,
    expected: bool,  # noqa: FBT001 # pytest gives it by name
) -> None:
    event = {"id": "e", "time": 1, "document": {"a": "Mimikatz", "vedette.other": {"b": ["STRA\u1e9eE", "100\\ pure"]}}}
    store.create_alerts([alert(1, body={"events": [event]})])
    assert found(store, text=text) == (["alert0001"] if expected else [])


def test_pages_hold_every_alert_once_newest_first_while_others_arrive(store: Store) -> None:
    store.create_alerts([alert(n, time=T0 + n // 4) for n in range(11)])
    first = store.search_alerts(AlertFilter(), size=4)
    store.create_alerts([alert(50)])
    second = store.search_alerts(AlertFilter(), size=4, after=first.next)
    third = store.search_alerts(AlertFilter(), size=4, after=second.next)
    seen = [one.id for page in (first, second, third) for one in page.alerts]
    assert seen == [f"alert{n:04}" for n in range(10, -1, -1)]
    assert third.next is None
    assert (first.total, third.total) == (11, 12)


def test_counts_and_histogram_follow_the_filter(store: Store) -> None:
    store.create_alerts([alert(1), alert(2), alert(3, severity="low", rule="b")])
    store.update_alert("alert0001", 1, {"owner": "ana", "status": "closed"})
    assert store.count_alerts(AlertFilter(), "severity") == {"high": 2, "low": 1}
    assert store.count_alerts(AlertFilter(severities=["high"]), "owner") == {"ana": 1, "": 1}
    assert store.count_alerts(AlertFilter(), "status") == {"closed": 1, "new": 2}
    assert store.count_alerts(AlertFilter(), "rule") == {"ssh-guessing": 2, "b": 1}
    assert store.alert_histogram(AlertFilter(), 2000) == [(T0, 1), (T0 + 2000, 2)]
    store.create_alerts([alert(9, time=-1)])
    assert store.alert_histogram(AlertFilter(time=TimeRange(None, 0)), 1000) == [(-1000, 1)]
    with pytest.raises(QueryError):
        store.count_alerts(AlertFilter(), "title; DROP TABLE alert")


def test_the_change_feed_gives_each_changed_alert_once_in_order(store: Store) -> None:
    assert store.alert_changes(0) == ([], 0)
    store.create_alerts([alert(1), alert(2), alert(3)])
    alerts, number = store.alert_changes(0)
    assert [one.id for one in alerts] == ["alert0001", "alert0002", "alert0003"]
    assert number == store.latest_change()
    store.update_alert("alert0001", 1, {"status": "closed"})
    store.create_alerts([alert(2)])
    alerts, later = store.alert_changes(number)
    assert [(one.id, one.version) for one in alerts] == [("alert0001", 2)]
    assert later > number
    assert store.alert_changes(later) == ([], later)


def test_the_change_feed_can_be_read_in_small_steps(store: Store) -> None:
    store.create_alerts([alert(n) for n in range(7)])
    seen, number = [], 0
    while number < store.latest_change():
        alerts, number = store.alert_changes(number, limit=2)
        seen += [one.id for one in alerts]
    assert seen == [f"alert{n:04}" for n in range(7)]


def test_a_reader_of_the_feed_never_misses_a_change_while_many_write(store: Store) -> None:
    done = threading.Event()
    seen: set[str] = set()

    def follow() -> None:
        number = 0
        while True:
            finished = done.is_set()
            alerts, number = store.alert_changes(number)
            seen.update(one.id for one in alerts)
            if finished and not alerts:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    writers = [
        threading.Thread(target=lambda start=start: [store.create_alerts([alert(start + n)]) for n in range(20)])
        for start in (0, 100, 200)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert len(seen) == 60
