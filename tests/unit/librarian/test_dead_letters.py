"""What the broker gave up delivering becomes dead letters: each once, none lost, replayable under its old id."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.librarian.dead import bury, send

from vedette_backends.broker.protocol import Message
from vedette_backends.errors import UnavailableError
from vedette_backends.store.protocol import DeadLetter
from vedette_engine.wire import event_id
from vedette_workers.librarian.letters import drain
from vedette_workers.librarian.replay import replay

NOW = 1_795_305_600_000


def letters(store: Any) -> list[DeadLetter]:
    return list(store.search_dead_letters(state=None, size=500)[0])


def test_each_event_of_a_dead_message_becomes_a_letter(release: Any) -> None:
    store, broker = release.namespace("shop", "app")
    send(broker, b"one", b"two")
    bury(broker)
    assert drain("shop", store, broker, ["app"], lambda: NOW) == 2
    found = letters(store)
    assert {letter.original for letter in found} == {b"one", b"two"}
    assert {(letter.source, letter.reason, letter.detail) for letter in found} == {
        ("app", "Undelivered", "DeliveryLimit")
    }
    assert {letter.headers["id"] for letter in found} == {event_id("shop", "app", "k", at) for at in (0, 1)}
    stats = broker.stats("events.app.dead")
    assert (stats.ready, stats.unacked) == (0, 0)


def test_a_dead_message_that_is_none_of_ours_is_kept_whole(release: Any) -> None:
    store, broker = release.namespace("shop", "app")
    broker.publish([Message("events.app", b"what is this", {"v": "7"})])
    bury(broker)
    assert drain("shop", store, broker, ["app"], lambda: NOW) == 1
    (letter,) = letters(store)
    assert (letter.reason, letter.original, letter.headers) == ("UnreadableMessage", b"what is this", {"v": "7"})


@pytest.mark.parametrize("late", [False, True], ids=["before it was stored", "after it was stored"])
def test_a_failure_in_between_loses_and_doubles_nothing(release: Any, *, late: bool) -> None:
    store, broker = release.namespace("shop", "app")
    for number in range(30):
        send(broker, b"one", b"two", key=f"k{number}")
    bury(broker)

    class Failing:
        failures = 2

        def put_dead_letters(self, found: Any) -> None:
            if late:
                store.put_dead_letters(found)
            if self.failures:
                self.failures -= 1
                raise UnavailableError("gone")
            store.put_dead_letters(found)

    failing: Any = Failing()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            drain("shop", failing, broker, ["app"], lambda: NOW)
    drain("shop", failing, broker, ["app"], lambda: NOW)
    assert len(letters(store)) == 60
    assert broker.stats("events.app.dead").ready == 0


def test_a_message_that_dies_twice_is_one_letter(release: Any) -> None:
    store, broker = release.namespace("shop", "app")
    for _ in range(2):
        send(broker, b"one")
        bury(broker)
        drain("shop", store, broker, ["app"], lambda: NOW)
    assert len(letters(store)) == 1


def test_a_drained_letter_is_replayed_under_its_old_id(release: Any) -> None:
    store, broker = release.namespace("shop", "app")
    send(broker, b"{}")
    bury(broker)
    drain("shop", store, broker, ["app"], lambda: NOW)
    (letter,) = letters(store)
    assert replay(store, broker, [letter.id]) == 1
    consumer = broker.consume(["events.app"], prefetch=1)
    (delivery,) = consumer.fetch(1, 5)
    consumer.close()
    assert delivery.headers["attempt"] == letter.id
    assert (store.get_dead_letter(letter.id).state, delivery.body) == ("replayed", b"{}")


def test_a_source_without_a_dead_letter_queue_is_passed_over(release: Any) -> None:
    store, broker = release.namespace("shop", "app")
    assert drain("shop", store, broker, ["app", "not declared"], lambda: NOW) == 0
