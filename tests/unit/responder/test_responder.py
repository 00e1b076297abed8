"""Alerts get incidents: grouped by rule and keys, one per group, each alert in exactly one, whatever fails when."""

from __future__ import annotations

import random
from typing import Any

import pytest

from vedette_backends.errors import ConflictError, RefusedError, UnavailableError
from vedette_crds.incident import Incident
from vedette_workers.responder.rate import Limit

HOUR = 3_600_000
NOW = 1_795_000_000_000


def test_an_alert_opens_an_incident_that_the_kind_accepts(desk: Any) -> None:
    notice = desk.alert(1)
    desk.responder().handle(notice)
    (found,) = desk.incidents()
    assert desk.incident_of(notice) == found.key.name
    assert found.key.name.startswith("inc-20261118-")
    spec = Incident.model_validate(found.manifest).spec
    assert (spec.title, spec.severity, spec.phase) == ("192.0.2.7 guessed a password", "high", "Identification")
    assert spec.description is not None
    for part in ("Opened by rule ssh", notice.alert, "source.ip: 192.0.2.7", "https://run.example/ssh"):
        assert part in spec.description
    assert spec.occurred == "2026-11-18T11:06:40.000Z"
    assert found.manifest["metadata"]["labels"] == {"vedette.dev/rule": "ssh"}


def test_the_same_notice_again_changes_nothing(desk: Any) -> None:
    notice = desk.alert(1)
    for _ in range(3):
        desk.responder().handle(notice)
    assert len(desk.incidents()) == 1
    assert desk.store.get_alert(notice.alert).version == 2


def test_alerts_of_one_group_share_an_incident_and_other_groups_and_rules_have_their_own(desk: Any) -> None:
    responder = desk.responder()
    same = [desk.alert(number, time=NOW + number * 60_000) for number in range(3)]
    other = desk.alert(10, ip="198.51.100.9")
    rule = desk.alert(11, rule="other")
    for notice in (*same, other, rule):
        responder.handle(notice)
    assert len({desk.incident_of(notice) for notice in same}) == 1
    assert len({desk.incident_of(notice) for notice in (same[0], other, rule)}) == 3


@pytest.mark.parametrize(("apart", "together"), [(HOUR, True), (HOUR + 1, False), (-HOUR, True), (-HOUR - 1, False)])
def test_the_window_is_counted_from_the_first_alert_in_event_time(desk: Any, apart: int, *, together: bool) -> None:
    responder = desk.responder()
    first, second = desk.alert(1, within=HOUR), desk.alert(2, time=NOW + apart, within=HOUR)
    responder.handle(first)
    responder.handle(second)
    assert (desk.incident_of(first) == desk.incident_of(second)) is together


def test_windows_of_old_and_new_alerts_of_a_group_that_come_by_turns_stay_two(desk: Any) -> None:
    responder = desk.responder()
    old = [desk.alert(number, time=NOW - 30 * HOUR) for number in range(5)]
    new = [desk.alert(100 + number) for number in range(5)]
    for pair in zip(old, new, strict=True):
        for notice in pair:
            responder.handle(notice)
    assert len(desk.incidents()) == 2
    assert len({desk.incident_of(notice) for notice in old}) == 1


@pytest.mark.parametrize("how", ["closed", "deleted"])
def test_an_incident_that_is_closed_or_gone_is_not_joined(desk: Any, how: str) -> None:
    responder = desk.responder()
    first, second = desk.alert(1), desk.alert(2)
    responder.handle(first)
    (found,) = desk.incidents()
    if how == "closed":
        desk.set_phase(found.key.name, "Closed")
    else:
        desk.cluster.delete(found.key)
    responder.look_again()
    responder.handle(second)
    assert desk.incident_of(second) not in {"", desk.incident_of(first)}


class Counted:
    """A backend that is the real one, and counts what it is asked."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._real, name)


def test_an_alert_that_joins_a_known_incident_costs_one_write(desk: Any) -> None:
    store, cluster = Counted(desk.store), Counted(desk.cluster)
    responder = desk.responder(store=store, cluster=cluster)
    told = [desk.alert(number) for number in range(12)]
    for notice in told[:2]:
        responder.handle(notice)
    store.calls.clear()
    cluster.calls.clear()
    for notice in told[2:]:
        responder.handle(notice)
    assert store.calls == ["update_alert"] * 10
    assert cluster.calls == []
    assert len({desk.incident_of(notice) for notice in told}) == 1
    responder.look_again()
    responder.handle(desk.alert(99))
    assert cluster.calls == ["get"]


def test_an_incident_that_another_responder_opened_meanwhile_is_joined(desk: Any) -> None:
    """What a responder remembers is old; before it opens one it looks, and what it writes has to fit."""
    one, other = desk.responder(limit=Limit(2, HOUR)), desk.responder(limit=Limit(2, HOUR))
    told = [desk.alert(number, ip=f"192.0.2.{number % 4}", time=NOW + number) for number in range(16)]
    one.handle(told[0])
    other.handle(told[1])
    for number, notice in enumerate(told):
        (one, other)[number // 4 % 2].handle(notice)
    assert len(desk.incidents()) == 2
    assert desk.incident_of(told[0]) != desk.incident_of(told[1])
    assert desk.incident_of(told[0]) == desk.incident_of(told[4]) == desk.incident_of(told[8])
    assert desk.incident_of(told[1]) == desk.incident_of(told[5]) == desk.incident_of(told[9])


def test_after_its_incident_was_closed_a_group_goes_on_in_the_one_that_another_responder_opened(desk: Any) -> None:
    one, other = desk.responder(), desk.responder()
    told = [desk.alert(number) for number in range(4)]
    one.handle(told[0])
    one.handle(told[1])
    desk.set_phase(desk.incident_of(told[0]), "Closed")
    other.handle(told[2])
    one.look_again()
    one.handle(told[3])
    assert desk.incident_of(told[3]) == desk.incident_of(told[2]) != desk.incident_of(told[0])
    assert len(desk.incidents()) == 2


def test_an_alert_that_a_person_touched_joins_and_keeps_what_they_wrote(desk: Any) -> None:
    responder = desk.responder()
    for number in (1, 2):
        responder.handle(desk.alert(number))
    notice = desk.alert(3)
    desk.store.update_alert(notice.alert, 1, {"status": "acknowledged", "owner": "ana"})
    responder.handle(notice)
    moved = desk.alert(4)
    desk.store.update_alert(moved.alert, 1, {"incident": "inc-by-hand"})
    responder.handle(moved)
    workflow = desk.store.get_alert(notice.alert).workflow
    assert (workflow["status"], workflow["owner"]) == ("acknowledged", "ana")
    assert workflow["incident"] == desk.incidents()[0].key.name
    assert desk.incident_of(moved) == "inc-by-hand"
    assert responder.counters["linked"] == 3


def test_an_alert_that_a_person_put_into_an_incident_opens_no_other(desk: Any) -> None:
    notice = desk.alert(1)
    desk.store.update_alert(notice.alert, 1, {"incident": "inc-by-hand"})
    desk.responder().handle(notice)
    assert desk.incident_of(notice) == "inc-by-hand"
    assert desk.incidents() == []


def test_a_change_by_a_person_at_the_same_moment_is_kept(desk: Any, broken: Any) -> None:
    notice = desk.alert(1)
    store = broken(desk.store, {})
    real = desk.store.update_alert

    def update(alert_id: str, version: int, workflow: Any) -> Any:
        store.update_alert = real
        real(alert_id, version, {"status": "acknowledged", "owner": "ana"})
        return real(alert_id, version, workflow)

    store.update_alert = update
    desk.responder(store=store).handle(notice)
    alert = desk.store.get_alert(notice.alert)
    assert (alert.workflow["status"], alert.workflow["owner"]) == ("acknowledged", "ana")
    assert alert.workflow["incident"]


def test_an_alert_that_is_gone_gets_no_incident_and_is_counted(desk: Any) -> None:
    responder = desk.responder()
    responder.handle(desk.alert(1)._replace(alert="f" * 32))
    assert desk.incidents() == []
    assert responder.counters["vanished"] == 1


ERRORS = [UnavailableError("gone"), RefusedError("read-only")]
CALLS = ["get_alert", "get_record", "put_record", "update_alert", "create", "get"]


@pytest.mark.parametrize("late", [False, True], ids=["before the work", "after the work"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("which", range(4))
def test_after_a_failure_at_any_step_each_group_has_one_incident_and_each_alert_is_in_one(
    desk: Any, broken: Any, call: str, which: int, *, late: bool
) -> None:
    """The failing call is the first, second, … of its kind; then the notices are delivered again, in another order."""
    told = [desk.alert(1), desk.alert(2, time=NOW + 1), desk.alert(3, ip="198.51.100.9")]
    wrapped = {name: broken(real, {}, late=late) for name, real in (("store", desk.store), ("cluster", desk.cluster))}
    calls = 0

    def fail(name: str) -> Any:
        real = getattr(desk.cluster if name in {"create", "get"} else desk.store, name)

        def failing(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == which + 1 and not late:
                raise UnavailableError("gone")
            answer = real(*arguments, **options)
            if calls == which + 1:
                raise UnavailableError("gone")
            return answer

        return failing

    owner = wrapped["cluster" if call in {"create", "get"} else "store"]
    setattr(owner, call, fail(call))
    left = list(told)
    for round_ in range(4):
        responder = desk.responder(**wrapped)
        for notice in sorted(left, key=lambda one: one.alert, reverse=bool(round_ % 2)):
            try:
                responder.handle(notice)
            except UnavailableError:
                continue
            left.remove(notice)
    assert left == []
    names = [desk.incident_of(notice) for notice in told]
    assert names[0] == names[1]
    assert names[2] not in {"", names[0]}
    assert sorted(one.key.name for one in desk.incidents()) == sorted(set(names))


def test_two_responders_at_once_agree(desk: Any) -> None:
    """A responder that was paused in mid-step and comes back works on what another finished meanwhile."""
    told = [desk.alert(number, ip=f"192.0.2.{number % 3}") for number in range(12)]
    responders = [desk.responder(), desk.responder()]
    dice = random.Random(7)
    real = desk.store.put_record
    waiting = list(told)

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(desk.store, name)

        def put_record(self, *arguments: Any) -> Any:
            if waiting and dice.random() < 0.5:
                responders[1].handle(waiting.pop(0))
            return real(*arguments)

    slow = desk.responder(store=Interrupted())
    while waiting:
        slow.handle(waiting.pop(0))
    for notice in told:
        responders[0].handle(notice)
    assert len(desk.incidents()) == 3
    assert len({desk.incident_of(notice) for notice in told}) == 3


def test_the_incident_was_opened_by_somebody_else_at_the_same_moment(desk: Any, broken: Any) -> None:
    notice = desk.alert(1)
    cluster = broken(desk.cluster, {"create": [ConflictError("exists")]}, late=True)
    desk.responder(cluster=cluster).handle(notice)
    assert desk.incident_of(notice) == desk.incidents()[0].key.name


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": "line\nbreak \x00 \u202e \ud7ff" + "x" * 5000},
        {"summary": "", "title": ""},
        {"severity": "catastrophic"},
        {"time": -(2**62)},
        {"time": 2**62},
        {"body": {}},
        {"body": {"events": [{"id": "e", "document": {"source.ip": ["a" * 9000, 7, True], "user.name": "-"}}] * 99}},
    ],
    ids=["text", "empty", "severity", "before time", "after time", "no body", "values"],
)
def test_whatever_an_alert_says_its_incident_is_one_that_the_kind_accepts(desk: Any, changes: dict[str, Any]) -> None:
    notice = desk.alert(1, **changes)
    desk.responder().handle(notice._replace(time=changes.get("time", NOW)))
    (found,) = desk.incidents()
    Incident.model_validate(found.manifest)
