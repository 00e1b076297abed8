"""The limit of incidents that one rule may open: what joins, what is counted, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from vedette_backends.errors import ConflictError, RefusedError, UnavailableError
from vedette_workers.responder.rate import Limit

HOUR = 3_600_000
NOW = 1_795_000_000_000


def test_a_rule_that_goes_wild_stops_opening_and_its_incident_says_so(desk: Any) -> None:
    responder = desk.responder(limit=Limit(3, HOUR))
    told = [desk.alert(number, ip=f"192.0.2.{number}") for number in range(8)]
    for notice in told:
        responder.handle(notice)
    assert len(desk.incidents()) == 3
    names = [desk.incident_of(notice) for notice in told]
    assert names[3:] == [names[2]] * 5
    notes = [note for note in desk.notes(names[2]) if note["kind"] == "note"]
    assert len(notes) == 1
    assert "limit of 3 incidents within 60 minutes" in notes[0]["text"]
    assert responder.counters["limited"] == 5


def test_the_limit_is_per_rule_and_ends_with_time(desk: Any) -> None:
    responder = desk.responder(limit=Limit(1, HOUR))
    responder.handle(desk.alert(1, ip="192.0.2.1"))
    responder.handle(desk.alert(2, rule="other"))
    assert len(desk.incidents()) == 2
    desk.now += HOUR
    responder.handle(desk.alert(3, ip="192.0.2.3"))
    assert len(desk.incidents()) == 3


def test_beyond_the_limit_a_closed_incident_is_not_joined_either(desk: Any) -> None:
    responder = desk.responder(limit=Limit(1, HOUR))
    first, second = desk.alert(1, ip="192.0.2.1"), desk.alert(2, ip="192.0.2.2")
    responder.handle(first)
    desk.set_phase(desk.incident_of(first), "Closed")
    responder.look_again()
    responder.handle(second)
    assert desk.incident_of(second) not in {"", desk.incident_of(first)}


def test_incidents_that_cannot_be_created_for_long_count_against_the_limit_all_the_same(desk: Any, broken: Any) -> None:
    cluster = broken(desk.cluster, {"create": [RefusedError("a policy says no")] * 1000})
    responder = desk.responder(cluster=cluster, limit=Limit(2, HOUR))
    told = [desk.alert(number, ip=f"192.0.2.{number}") for number in range(5)]
    for _ in range(3):
        for notice in told[:2]:
            with pytest.raises(RefusedError):
                responder.handle(notice)
        desk.now += 60_000
        responder.look_again()
        for notice in told[2:]:
            responder.handle(notice)
    cluster.failures.clear()
    for notice in told:
        responder.handle(notice)
    assert len(desk.incidents()) == 2
    assert [desk.incident_of(notice) for notice in told[2:]] == [desk.incident_of(told[1])] * 3


def test_beyond_the_limit_nothing_is_opened_while_another_responder_opens_the_last_one(desk: Any, broken: Any) -> None:
    """It has counted the incident and was paused before it wrote the window."""
    first, second, third = (desk.alert(number, ip=f"192.0.2.{number}") for number in range(3))
    other = desk.responder(limit=Limit(1, HOUR))
    store = broken(desk.store, {})
    real = desk.store.put_record
    at_hand: list[str] = []

    def put_record(collection: str, *arguments: Any) -> Any:
        if collection == "incident-groups" and not at_hand:
            at_hand.append(collection)
            with pytest.raises(ConflictError, match="are being opened by others"):
                other.handle(second)
        return real(collection, *arguments)

    store.put_record = put_record
    paused = desk.responder(store=store, limit=Limit(1, HOUR))
    paused.handle(first)
    for notice in (second, third):
        other.handle(notice)
    assert at_hand
    assert {desk.incident_of(notice) for notice in (first, second, third)} == {desk.incidents()[0].key.name}


def test_an_incident_that_was_counted_and_never_opened_does_not_take_alerts(desk: Any, broken: Any) -> None:
    """Its group got another one at the same moment."""
    store = broken(desk.store, {})
    first, second, third = (desk.alert(number, ip=f"192.0.2.{number}") for number in range(3))
    other = desk.responder()
    real, at_hand = desk.store.put_record, [desk.alert(10, ip="192.0.2.1")]

    def put_record(collection: str, *arguments: Any) -> Any:
        if collection == "incident-groups" and at_hand:
            other.handle(at_hand.pop())
        return real(collection, *arguments)

    desk.responder().handle(first)
    store.put_record = put_record
    desk.responder(store=store).handle(second)
    assert len(desk.incidents()) == 2
    desk.responder(limit=Limit(3, HOUR)).handle(third)
    assert desk.incident_of(third) == desk.incident_of(second)
    assert len(desk.incidents()) == 2


def test_an_incident_that_was_counted_and_never_opened_is_not_waited_for(desk: Any, broken: Any) -> None:
    """Whoever counted it was killed, and its notice was dealt with by others."""
    store = broken(desk.store, {})

    def put_record(collection: str, *arguments: Any) -> Any:
        if collection == "incident-groups":
            raise UnavailableError("killed here")
        return desk.store.put_record(collection, *arguments)

    store.put_record = put_record
    first, second = desk.alert(1, ip="192.0.2.1"), desk.alert(2, ip="192.0.2.2")
    with pytest.raises(UnavailableError):
        desk.responder(store=store, limit=Limit(1, HOUR)).handle(first)
    desk.now += 60_000
    desk.responder(limit=Limit(1, HOUR)).handle(second)
    assert desk.incident_of(second) == desk.incidents()[0].key.name


def test_a_repeated_notice_does_not_count_twice_against_the_limit(desk: Any, broken: Any) -> None:
    cluster = broken(desk.cluster, {"create": [UnavailableError("gone")] * 5})
    responder = desk.responder(cluster=cluster, limit=Limit(2, HOUR))
    first, second = desk.alert(1, ip="192.0.2.1"), desk.alert(2, ip="192.0.2.2")
    for _ in range(5):
        with pytest.raises(UnavailableError):
            responder.handle(first)
    responder.handle(first)
    responder.handle(second)
    assert len(desk.incidents()) == 2
    assert responder.counters["limited"] == 0
