"""What every Broker must do, the embedded one and RabbitMQ.

A fetch gives what is there, one message at least: tests that want several `take` them. What happens in other processes
is seen a moment later: tests wait for it with `settled`. What RabbitMQ cannot promise stands in test_embedded.py: that
a call is taken as a whole or not at all, and that a limit holds to the byte.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Broker, Delivery, Message, QueueStats
from vedette_backends.errors import FullError, NotFoundError, RefusedError, UnavailableError


def test_messages_come_in_the_order_of_publishing(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2", b"3")
    broker.publish([Message("q", b"4"), Message("q", b"5")])
    taken = take(broker.consume(["q"], prefetch=2), 5, limit=2)
    assert [delivery.body for delivery in taken] == [b"1", b"2", b"3", b"4", b"5"]


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


def test_a_closed_consumers_messages_go_to_others_at_once(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2")
    first, second = (broker.consume(["q"], prefetch=2) for _ in range(2))
    take(first, 2, ack=False)
    assert second.fetch(2, 0) == []
    first.close()
    assert [(delivery.body, delivery.deliveries) for delivery in take(second, 2)] == [(b"1", 2), (b"2", 2)]


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


def test_a_killed_consumers_messages_are_delivered_again_and_counted(
    place: Any,
    broker: Broker,
    publish: Callable[..., None],
    heard: Callable[..., str],
    kill: Callable[..., None],
    settled: Callable[..., QueueStats],
) -> None:
    publish(b"1")
    for times in (1, 2):
        child = place.child("c = broker.consume(['q'], prefetch=1); say(c.fetch(1, 30)[0].deliveries); signal.pause()")
        assert heard(child) == str(times)
        settled("q", ready=0, unacked=1)
        kill(child)
        settled("q", ready=1, unacked=0)
    (delivery,) = broker.consume(["q"], prefetch=1).fetch(1, 30)
    assert (delivery.deliveries, delivery.redelivered) == (3, True)


def test_a_waiting_consumer_takes_over_from_a_killed_one(
    place: Any, broker: Broker, publish: Callable[..., None], heard: Callable[..., str], kill: Callable[..., None]
) -> None:
    publish(b"1")
    child = place.child("c = broker.consume(['q'], prefetch=1); c.fetch(1, 30); say('held'); signal.pause()")
    assert heard(child) == "held"
    consumer = broker.consume(["q"], prefetch=1)
    assert consumer.fetch(1, 0) == []
    kill(child)
    (delivery,) = consumer.fetch(1, 30)
    assert delivery.redelivered


def test_what_was_confirmed_survives_the_publishers_death(
    place: Any, take: Callable[..., list[Delivery]], heard: Callable[..., str], kill: Callable[..., None]
) -> None:
    broker = place.open()
    broker.declare("q")
    child = place.child(
        "import itertools\n"
        "for n in itertools.count():\n"
        "    broker.publish([Message('q', b'%d' % n), Message('q', b'%d+' % n)]); say(n)\n"
    )
    confirmed = [heard(child) for _ in range(20)][-1]
    kill(child)
    rest = child.stdout.read().split()
    confirmed = rest[-1] if rest else confirmed
    consumer = broker.consume(["q"], prefetch=10)
    bodies = [delivery.body for delivery in take(consumer, 2 * (int(confirmed) + 1))]
    while found := consumer.fetch(10, 0.5):
        bodies += [delivery.body for delivery in found]
        consumer.ack([delivery.tag for delivery in found])
    # One publish more may have been durable without its answer.
    assert len(bodies) <= 2 * (int(confirmed) + 2)
    expected = itertools.chain.from_iterable((b"%d" % n, b"%d+" % n) for n in itertools.count())
    assert bodies == list(itertools.islice(expected, len(bodies)))


def test_of_single_active_consumers_the_first_receives(broker: Broker) -> None:
    broker.declare("q", single_active_consumer=True)
    first, second = (broker.consume(["q"], prefetch=1) for _ in range(2))
    broker.publish([Message("q", b"%d" % n) for n in range(3)])
    assert second.fetch(1, 0) == []
    (delivery,) = first.fetch(1, 5)
    assert delivery.body == b"0"
    assert second.fetch(1, 0) == []
    first.close()
    (delivery,) = second.fetch(1, 5)
    assert (delivery.body, delivery.redelivered) == (b"0", True)


def test_a_single_active_consumer_that_is_killed_is_followed_by_the_next(
    place: Any, broker: Broker, heard: Callable[..., str], kill: Callable[..., None]
) -> None:
    broker.declare("q", single_active_consumer=True)
    broker.publish([Message("q", b"1"), Message("q", b"2")])
    child = place.child("c = broker.consume(['q'], prefetch=1); c.fetch(1, 30); say('held'); signal.pause()")
    assert heard(child) == "held"
    consumer = broker.consume(["q"], prefetch=2)
    assert consumer.fetch(2, 0) == []
    kill(child)
    assert [delivery.body for delivery in consumer.fetch(2, 30)] == [b"1", b"2"]


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


def test_consumers_share_a_queue_without_doubling(place: Any, publish: Callable[..., None]) -> None:
    publish(*(b"%d" % n for n in range(40)))
    child = (
        "c = broker.consume(['q'], prefetch=3)\n"
        "while got := c.fetch(3, 0.3):\n"
        "    c.ack([d.tag for d in got])\n"
        "    say(*(d.body.decode() for d in got))\n"
    )
    children = [place.child(child) for _ in range(2)]
    said = [process.communicate()[0].split() for process in children]
    assert sorted(map(int, itertools.chain(*said))) == list(range(40))


def test_many_publishers_lose_nothing_and_keep_their_order(
    place: Any, broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish()
    for number in range(2):
        place.child(f"for n in range(25):\n    broker.publish([Message('q', b'{number} %d' % n)])\n")
    consumer = broker.consume(["q"], prefetch=10)

    def publish_some(number: int) -> None:
        for n in range(25):
            broker.publish([Message("q", b"%d %d" % (number, n))])

    threads = [threading.Thread(target=publish_some, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    taken = [tuple(map(int, delivery.body.split())) for delivery in take(consumer, 100)]
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [n for publisher, n in taken if publisher == number] == list(range(25))


def test_a_consumer_may_be_used_by_several_threads(broker: Broker, publish: Callable[..., None]) -> None:
    publish(*(b"%d" % n for n in range(60)))
    consumer = broker.consume(["q"], prefetch=4)
    taken: list[bytes] = []

    def work() -> None:
        while found := consumer.fetch(2, 0.2):
            taken.extend(delivery.body for delivery in found)
            consumer.ack([delivery.tag for delivery in found])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, taken)) == list(range(60))


def test_a_closed_broker_says_so(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    broker.close()
    broker.close()
    with pytest.raises(UnavailableError):
        broker.publish([Message("q", b"1")])
    with pytest.raises(UnavailableError):
        broker.consume(["q"], prefetch=1)
