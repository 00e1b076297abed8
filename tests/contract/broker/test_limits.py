"""What a broker does not take: too much, what no server would, and where it tells how much there is."""

import time
from collections.abc import Callable

import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Broker, Delivery, Message, QueueStats
from vedette_backends.errors import FullError, NotFoundError, RefusedError


def until_full(put: Callable[[], None]) -> int:
    """How many went in before one was refused."""
    for count in range(50):
        try:
            put()
        except FullError:
            return count
    pytest.fail("it is never full")


def accepts(broker: Broker, queue: str) -> bool:
    try:
        broker.publish([Message(queue, b"1")])
    except FullError:
        return False
    return True


def test_dead_letters_are_bounded_like_their_queue(broker: Broker, settled: Callable[..., QueueStats]) -> None:
    broker.declare("q", max_bytes=10)
    consumer = broker.consume(["q"], prefetch=1)

    def reject_one() -> None:
        broker.publish([Message("q", b"123456")])
        tags.append(consumer.fetch(1, 5)[0].tag)
        consumer.reject(tags[-1], "bad")

    tags: list[int] = []
    rejected = until_full(reject_one)
    consumer.close()
    settled("q", ready=1, unacked=0)
    assert broker.stats("q.dead").ready == rejected


def test_a_full_queue_takes_no_more_and_others_do(broker: Broker) -> None:
    broker.declare("small", max_bytes=10)
    broker.declare("large")
    taken = until_full(lambda: broker.publish([Message("small", b"123456")]))
    with pytest.raises(FullError, match="small is full"):
        broker.publish([Message("small", b"1234567")])
    assert broker.stats("small").ready == taken
    broker.publish([Message("large", b"123456")] * (taken + 3))
    assert broker.stats("large").ready == taken + 3


def test_what_is_consumed_makes_room(broker: Broker, take: Callable[..., list[Delivery]]) -> None:
    broker.declare("q", max_bytes=10)
    consumer = broker.consume(["q"], prefetch=1)
    for _ in range(3):
        held = until_full(lambda: broker.publish([Message("q", b"123456")]))
        take(consumer, held)
        until(lambda: accepts(broker, "q"), seconds=20, what="room")
        take(consumer, 1)


def test_a_limit_can_be_changed(broker: Broker) -> None:
    broker.declare("q", max_bytes=3)
    until_full(lambda: broker.publish([Message("q", b"12")]))
    broker.declare("q", max_bytes=1_000)
    until(lambda: accepts(broker, "q"), seconds=20, what="the new limit")
    until_full(lambda: broker.publish([Message("q", bytes(300))]))
    broker.declare("q")
    until(lambda: accepts(broker, "q"), seconds=20, what="no limit")


def test_an_undeclared_queue_takes_none_of_a_call(broker: Broker) -> None:
    broker.declare("q")
    with pytest.raises(NotFoundError, match="other is not declared"):
        broker.publish([Message("q", b"1"), Message("other", b"1")])
    assert broker.stats("q").ready == 0
    with pytest.raises(NotFoundError):
        broker.consume(["q", "other"], prefetch=1)
    with pytest.raises(NotFoundError):
        broker.stats("other")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message("q", bytes(16 * 1024 * 1024 + 1)), id="large body"),
        pytest.param(Message("q", b"", {"x": "y" * 70_000}), id="large headers"),
        pytest.param(Message("q", b"", {"ü": "y"}), id="header name"),
    ],
)
def test_what_a_server_would_refuse_is_refused(broker: Broker, message: Message) -> None:
    broker.declare("q")
    with pytest.raises(RefusedError):
        broker.publish([Message("q", b"1"), message])
    assert broker.stats("q").ready == 0


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 201, "q.dead", "ü"])
def test_a_name_that_cannot_be_one_is_refused(broker: Broker, name: str) -> None:
    with pytest.raises(RefusedError):
        broker.declare(name)


def test_stats_tell_ready_unacked_bytes_and_the_oldest(
    broker: Broker, publish: Callable[..., None], settled: Callable[..., QueueStats]
) -> None:
    before = time.time_ns() // 1_000_000
    publish(b"123", b"4")
    consumer = broker.consume(["q"], prefetch=1)
    (delivery,) = consumer.fetch(1, 5)
    stats = settled("q", ready=1, unacked=1, bytes=4)
    assert stats.oldest is not None
    assert before <= stats.oldest <= time.time_ns() // 1_000_000
    consumer.ack([delivery.tag])
    consumer.ack([consumer.fetch(1, 5)[0].tag])
    stats = broker.stats("q")
    assert (stats.ready, stats.unacked, stats.bytes, stats.oldest) == (0, 0, 0, None)
