"""One librarian for all namespaces of a release: it follows the list, and one namespace's trouble is not another's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import until
from tests.unit.librarian.dead import bury, send

from vedette_backends.store.protocol import NewEvent
from vedette_workers.librarian import fleet
from vedette_workers.librarian.fleet import FleetError

NOW = 1_795_305_600_000
DAY = 86_400_000


def letters(store: Any) -> int:
    return int(store.search_dead_letters()[1])


def test_it_serves_the_namespaces_that_the_operator_names_and_new_ones_too(release: Any) -> None:
    stores = {}
    for name in ("shop", "bank"):
        stores[name], broker = release.namespace(name, "app")
        send(broker, b"one")
        bury(broker)
    release.tell("shop")
    librarian = release.librarian()
    until(lambda: letters(stores["shop"]), seconds=10, what="the first namespace's letter")
    assert letters(stores["bank"]) == 0
    release.tell("shop", "bank")
    until(lambda: letters(stores["bank"]), seconds=10, what="the other namespace's letter")
    until(lambda: librarian.counters["drained"] == 2, seconds=10, what="both counted")
    release.tell("bank")
    until(lambda: set(librarian._houses) == {"bank"}, seconds=10, what="one namespace less")


def test_days_whose_retention_is_over_are_dropped(release: Any) -> None:
    store, _ = release.namespace("shop", "app")
    for number, day in enumerate((-9, 0)):
        time = NOW + day * DAY
        store.create_events("7d", [NewEvent(f"{number:032x}", time, time, f"{number:032x}", {"message": "x"})])
    release.tell("shop")
    librarian = release.librarian()
    until(lambda: librarian.counters["expired_days"] == 1, seconds=10, what="a day less")
    assert [day for _, day, _ in store.days()] == ["2026.11.22"]


def test_a_namespace_in_trouble_is_told_and_the_others_are_served(release: Any) -> None:
    good, broker = release.namespace("shop", "app")
    bad, _ = release.namespace("bank", "app")
    bad.set_head("bundle", bad.put_blob(b"no bundle"))
    send(broker, b"one")
    bury(broker)
    release.tell("bank", "shop")
    release.librarian()
    until(lambda: letters(good), seconds=10, what="the good namespace's letter")

    def told() -> bool:
        return any("bank" in error for beat in release.system.heartbeats() for error in beat.body["errors"])

    until(told, seconds=10, what="a heartbeat that tells")


def test_it_is_ready_once_it_knows_whom_to_serve(release: Any) -> None:
    librarian = release.librarian()
    until(lambda: "bundle" in librarian.vitals.unready(), seconds=10, what="an unready librarian")
    release.tell()
    until(lambda: not librarian.vitals.unready(), seconds=10, what="a ready librarian")


def test_a_list_that_cannot_be_read_leaves_the_last_one(release: Any) -> None:
    release.namespace("shop", "app")
    release.tell("shop")
    librarian = release.librarian()
    until(lambda: librarian._houses, seconds=10, what="a namespace")
    release.system.set_head(fleet.FLEET, release.system.put_blob(b'{"v":9}'))
    until(lambda: librarian._fleet.problem, seconds=10, what="a problem")
    assert set(librarian._houses) == {"shop"}


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{}", b'{"v":1}', b'{"v":1,"namespaces":[7]}', b'{"v":2}'])
def test_anything_else_is_no_list(content: bytes) -> None:
    with pytest.raises(FleetError):
        fleet.decode(content)


def test_what_is_read_is_what_was_written() -> None:
    assert fleet.decode(fleet.encode(["shop", "bank", "shop"])) == ["bank", "shop"]
