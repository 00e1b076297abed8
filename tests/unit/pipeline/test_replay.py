"""Dead letters go through the pipeline again: under their old ids, once; what fails again waits again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Message
from vedette_workers.librarian.replay import replay

Manifest = Callable[..., str]
SMALL = "limits: {maxEventBytes: 1024}"
BIG = b'{"text":"' + b"x" * 2000 + b'"}'


def ids(space: Any) -> list[str]:
    return [letter.id for letter in space.letters()]


@pytest.mark.parametrize("keyed", [True, False])
def test_a_replayed_letter_is_stored_once_under_its_old_id_when_the_cause_is_mended(
    space: Any, make_source: Manifest, *, keyed: bool
) -> None:
    space.publish(space.bundle(make_source(extra=SMALL)))
    worker = space.worker()
    space.send(b"{}", BIG, key="k", keyed=keyed)
    space.wait_drained()
    (letter,) = space.letters()
    mended = space.publish(space.bundle(make_source()))
    until(lambda: worker._follower.current == mended, seconds=10, what="the mended source")
    for _ in range(3):
        assert replay(space.store, space.broker, [letter.id]) == 1
    space.wait_drained()
    assert letter.headers["id"] in {event.id for event in space.events()}
    assert space.count() == 2
    assert space.letters() == []
    assert [one.state for one in space.letters("replayed")] == ["replayed"]


def test_a_letter_that_fails_again_waits_again(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source(extra=SMALL)))
    space.worker()
    space.send(BIG)
    space.wait_drained()
    seen: set[str] = set()
    for _ in range(3):
        (waiting,) = ids(space)
        assert waiting not in seen
        seen.add(waiting)
        assert replay(space.store, space.broker, [waiting, waiting]) == 1
        space.wait_drained()
    (letter,) = space.letters()
    assert letter.original == BIG


def test_an_unreadable_message_can_be_replayed_too(space: Any, make_source: Manifest) -> None:
    space.publish(space.bundle(make_source()))
    space.worker()
    space.broker.publish([Message("events.app", b"what is this", {"v": "7"})])
    space.wait_drained()
    (first,) = space.letters()
    assert replay(space.store, space.broker, [first.id]) == 1
    space.wait_drained()
    (second,) = space.letters()
    assert second.id != first.id
    assert (second.original, second.headers["v"]) == (b"what is this", "7")


def test_letters_of_a_source_without_a_queue_stay_and_do_not_hold_up_the_others(
    space: Any, make_source: Manifest
) -> None:
    space.publish(space.bundle(make_source("app"), make_source("old")))
    space.worker()
    space.send(b"broken")
    space.send(b"broken", source="old")
    space.wait_drained("app")
    space.wait_drained("old")
    space.stop()
    space.broker.delete("events.old")
    assert replay(space.store, space.broker, [*ids(space), "no such letter"]) == 1
    assert [letter.source for letter in space.letters()] == ["old"]
    assert [letter.source for letter in space.letters("replayed")] == ["app"]


def test_what_the_store_refused_of_a_delivered_file_is_replayed_without_doubling_the_rest(
    space: Any, make_source: Manifest
) -> None:
    """Two files under one key: the second one's different record collides, its equal one is a repeat."""
    space.publish(space.bundle(make_source(extra="parser: aws.cloudtrail")))
    space.worker()
    for names in (("A", "B"), ("A", "C")):
        records = [{"eventName": name, "eventSource": "s3.amazonaws.com"} for name in names]
        space.send(orjson.dumps({"Records": records}), key="file")
    space.wait_drained()
    assert space.count() == 2
    (letter,) = space.letters()
    assert letter.reason == "IdCollision"
    replay(space.store, space.broker, [letter.id])
    space.wait_drained()
    assert space.count() == 2
    assert [again.reason for again in space.letters()] == ["IdCollision"]
