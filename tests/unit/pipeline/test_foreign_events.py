"""What foreign publishers send, through the processor and the store: stored once, whatever the day."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from tests.unit.pipeline.foreign import foreign

from vedette_backends.broker.protocol import Delivery
from vedette_workers.librarian.replay import replay
from vedette_workers.pipeline.committer import Batch, Committer
from vedette_workers.pipeline.worker import PipelineWorker, Settings

Manifest = Callable[..., str]
DAY = 86_400_000
MIDNIGHT = 1_795_046_400_000


class Nobody:
    """A consumer whose deliveries come from the test."""

    def ack(self, tags: Any) -> None:
        self.acked = list(tags)


class Site:
    """A worker whose steps the test takes: the embedded broker has no exchanges that others could publish to."""

    def __init__(self, space: Any) -> None:
        self.space = space
        self.now = MIDNIGHT
        self.worker = PipelineWorker(
            Settings("shop"), space.store, space.broker, lambda *_: lambda *_: None, clock=lambda: self.now
        )
        self.worker._follow()
        self._committer = Committer(space.store, space.broker, self.worker.counters)

    def deliver(self, *deliveries: Delivery) -> None:
        consumer: Any = Nobody()
        batch = Batch()
        for delivery in deliveries:
            self.worker._take(consumer, delivery, batch)
        assert self._committer.commit(batch)

    @property
    def totals(self) -> Any:
        return self.worker.counters.totals


@pytest.fixture
def site(space: Any, make_source: Manifest, make_rule: Manifest) -> Site:
    space.publish(space.bundle(make_source(), make_rule()))
    return Site(space)


def redelivered(delivery: Delivery) -> Delivery:
    return Delivery(2, delivery.queue, delivery.body, delivery.headers, 2, redelivered=True)


def test_an_event_of_a_foreign_publisher_is_stored_as_arriving_now(site: Site, space: Any) -> None:
    site.deliver(foreign(b'{"event":{"action":"plain","ingested":"2001-01-01T00:00:00Z"}}', message_id="m1"))
    (event,) = space.events()
    assert event.ingested == MIDNIGHT
    assert site.totals["stored"] == 1


def test_a_redelivery_on_the_next_day_is_recognised(site: Site, space: Any) -> None:
    message = foreign(b'{"event":{"action":"marked"}}')
    site.now = MIDNIGHT - 1
    site.deliver(message)
    site.now = MIDNIGHT + 5
    site.deliver(redelivered(message))
    assert space.count() == 1
    assert (site.totals["duplicates"], site.totals["collapsed"], site.totals["alerts"]) == (1, 0, 1)


def test_equal_messages_without_ids_are_one_event_and_counted(site: Site, space: Any) -> None:
    for _ in range(3):
        site.deliver(foreign(b"{}", timestamp="1795000000"))
    assert space.count() == 1
    assert (site.totals["duplicates"], site.totals["collapsed"]) == (2, 2)


def test_equal_messages_with_ids_of_their_own_are_all_kept(site: Site, space: Any) -> None:
    site.deliver(*[foreign(b"{}", message_id=f"m{number}") for number in range(5)])
    assert space.count() == 5
    assert site.totals["collapsed"] == 0


def test_another_content_under_the_same_id_is_a_dead_letter(site: Site, space: Any) -> None:
    site.deliver(foreign(b'{"a":1}', message_id="m"))
    site.deliver(foreign(b'{"a":2}', message_id="m"))
    (letter,) = space.letters()
    assert (letter.reason, letter.original) == ("IdCollision", b'{"a":2}')


def test_a_foreign_message_too_large_for_the_source_is_a_dead_letter(site: Site, space: Any) -> None:
    site.deliver(foreign(orjson.dumps({"a": "x" * 300_000})))
    assert [letter.reason for letter in space.letters()] == ["TooLarge"]


def test_a_dead_letter_of_a_foreign_message_is_replayed_under_its_id(
    site: Site, space: Any, make_source: Manifest
) -> None:
    """Compressed as it came: decompressed once its source allows so much."""
    body = orjson.dumps({"event": {"action": "plain"}, "a": "x" * 300_000})
    site.deliver(foreign(gzip.compress(body), message_id="m", content_encoding="gzip"))
    (letter,) = space.letters()
    assert letter.reason == "TooLarge"
    space.publish(space.bundle(make_source(extra="limits: {maxEventBytes: 400000}")))
    assert replay(space.store, space.broker, [letter.id]) == 1
    space.worker()
    space.wait_drained()
    (event,) = space.events()
    assert event.id == letter.headers["id"]
    assert space.letters() == []


def test_a_letter_that_does_not_hold_all_of_what_came_is_not_replayed(
    site: Site, space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette_workers.pipeline.effects.MAX_KEPT", 100)
    site.deliver(foreign(b"x" * 300))
    (letter,) = space.letters()
    assert len(letter.original) == 100
    assert replay(space.store, space.broker, [letter.id]) == 0
