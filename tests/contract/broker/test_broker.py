"""What every Broker must do, the embedded one and RabbitMQ.

A fetch gives what is there, one message at least: tests that want several `take` them. What happens in other processes
is seen a moment later: tests wait for it with `settled`. What RabbitMQ cannot promise stands in test_embedded.py: that
a call is taken as a whole or not at all, and that a limit holds to the byte.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.broker.protocol import Broker, Delivery, Message
from vedette_backends.errors import NotFoundError, UnavailableError


def test_messages_come_in_the_order_of_publishing(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2", b"3")
    broker.publish([Message("q", b"4"), Message("q", b"5")])
    taken = take(broker.consume(["q"], prefetch=2), 5, limit=2)
    assert [delivery.body for delivery in taken] == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="nothing"),
        pytest.param(b"\x00\xff" * 3, {"id": "7", "content-type": "a/b"}, id="bytes"),
        pytest.param(b"x" * 3_000_000, {}, id="megabytes"),
        pytest.param(b"x", {"note": "Grüße \x00 \ud800 \U0001f600"}, id="odd text"),
    ],
)
def test_a_message_arrives_as_it_was_published(broker: Broker, body: bytes, headers: dict[str, str]) -> None:
    broker.declare("q")
    broker.publish([Message("q", body, headers)])
    (delivery,) = broker.consume(["q"], prefetch=1).fetch(1, 5)
    assert (delivery.queue, delivery.body, dict(delivery.headers)) == ("q", body, headers)
    assert (delivery.deliveries, delivery.redelivered) == (1, False)


def test_queues_are_merged_oldest_first(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", queue="a")
    time_of_first = broker.stats("a").oldest
    assert time_of_first is not None
    while time.time_ns() // 1_000_000 <= time_of_first:  # the next millisecond
        pass
    publish(b"2", queue="b")
    taken = take(broker.consume(["b", "a"], prefetch=5), 2)
    assert [(delivery.queue, delivery.body) for delivery in taken] == [("a", b"1"), ("b", b"2")]


def test_what_is_acked_never_comes_again(
    place: Any, broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2")
    consumer = broker.consume(["q"], prefetch=5)
    first, _ = take(consumer, 2, ack=False)
    consumer.ack([first.tag])
    broker.close()
    (left,) = take(place.open().consume(["q"], prefetch=5), 1)
    assert left.body == b"2"
    assert left.redelivered


def test_what_is_released_comes_again_and_is_counted(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    consumer = broker.consume(["q"], prefetch=1)
    for deliveries in (1, 2, 3):
        (delivery,) = consumer.fetch(1, 5)
        assert (delivery.deliveries, delivery.redelivered) == (deliveries, deliveries > 1)
        consumer.release([delivery.tag])


def test_what_is_released_keeps_its_place(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2", b"3")
    consumer = broker.consume(["q"], prefetch=2)
    held = take(consumer, 2, limit=2, ack=False)
    consumer.release([delivery.tag for delivery in held])
    assert [delivery.body for delivery in take(consumer, 3)] == [b"1", b"2", b"3"]


def test_a_rejected_message_goes_to_the_dead_letters_with_its_reason(broker: Broker) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"bad", {"source": "web", "reason": "old"})])
    consumer = broker.consume(["q"], prefetch=1)
    (delivery,) = consumer.fetch(1, 5)
    consumer.reject(delivery.tag, "IdCollision")
    assert broker.stats("q").bytes == 0
    (dead,) = broker.consume(["q.dead"], prefetch=1).fetch(1, 5)
    assert dead.body == b"bad"
    assert dead.headers == {"source": "web", "reason": "IdCollision"}
    assert dead.deliveries == 1


def test_a_dead_letter_cannot_be_rejected_again(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"bad")
    consumer = broker.consume(["q", "q.dead"], prefetch=1)
    consumer.reject(consumer.fetch(1, 5)[0].tag, "first")
    (dead,) = consumer.fetch(1, 5)
    with pytest.raises(NotFoundError, match=r"q\.dead has no dead-letter queue"):
        consumer.reject(dead.tag, "second")
    consumer.ack([dead.tag])


def test_no_more_than_the_prefetch_is_unacked(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2", b"3")
    consumer = broker.consume(["q"], prefetch=2)
    held = take(consumer, 2, ack=False)
    assert [delivery.body for delivery in held] == [b"1", b"2"]
    assert consumer.fetch(10, 0) == []
    consumer.ack([held[0].tag])
    assert [delivery.body for delivery in consumer.fetch(10, 5)] == [b"3"]


def test_a_closed_consumer_says_so(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    consumer = broker.consume(["q"], prefetch=2)
    consumer.close()
    consumer.close()
    with pytest.raises(UnavailableError):
        consumer.fetch(1, 0)


def test_closing_wakes_a_waiting_fetch(broker: Broker, publish: Callable[..., None]) -> None:
    publish()
    consumer = broker.consume(["q"], prefetch=2)

    def wait() -> None:
        with contextlib.suppress(UnavailableError):  # closed before the fetch began
            assert consumer.fetch(1, 60) == []

    waiting = threading.Thread(target=wait)
    waiting.start()
    consumer.close()
    waiting.join(20)
    assert not waiting.is_alive()


def test_a_tag_that_is_not_held_is_refused(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2")
    consumer = broker.consume(["q"], prefetch=2)
    one, two = take(consumer, 2, ack=False)
    consumer.ack([one.tag])
    with pytest.raises(NotFoundError):
        consumer.ack([two.tag, one.tag])
    assert broker.stats("q").unacked == 1
    consumer.ack([two.tag, two.tag])
    assert broker.stats("q").unacked == 0


def test_fetch_gives_up_in_time(broker: Broker, publish: Callable[..., None]) -> None:
    publish()
    assert broker.consume(["q"], prefetch=1).fetch(1, 0.05) == []


def test_fetch_notices_what_another_process_publishes(place: Any, broker: Broker, publish: Callable[..., None]) -> None:
    publish()
    consumer = broker.consume(["q"], prefetch=1)
    assert consumer.fetch(1, 0) == []
    place.child("broker.publish([Message('q', b'hello')]); say('done')")
    (delivery,) = consumer.fetch(1, 30)
    assert delivery.body == b"hello"


def test_a_deleted_queue_is_gone_with_what_was_in_it(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1", b"2")
    publish(b"other", queue="p")
    consumer = broker.consume(["q", "p"], prefetch=1)
    (held,) = consumer.fetch(1, 5)
    broker.delete("q")
    broker.delete("q")
    assert broker.queues() == ["p", "p.dead", "q.dead"]
    consumer.ack([held.tag])
    assert [delivery.body for delivery in consumer.fetch(5, 5)] == [b"other"]
    publish()
    assert broker.stats("q").ready == 0


def test_a_consumer_goes_on_when_its_queue_is_declared_anew(broker: Broker, publish: Callable[..., None]) -> None:
    publish()
    consumer = broker.consume(["q"], prefetch=1)
    broker.delete("q")
    publish(b"new")
    assert consumer.fetch(1, 5)[0].body == b"new"


def test_a_closed_broker_says_so(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    broker.close()
    broker.close()
    with pytest.raises(UnavailableError):
        broker.publish([Message("q", b"1")])
    with pytest.raises(UnavailableError):
        broker.consume(["q"], prefetch=1)
