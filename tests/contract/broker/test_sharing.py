"""Several that consume and publish side by side, also when one of them is killed."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

from vedette_backends.broker.protocol import Broker, Delivery, Message, QueueStats


def test_a_closed_consumers_messages_go_to_others_at_once(
    broker: Broker, publish: Callable[..., None], take: Callable[..., list[Delivery]]
) -> None:
    publish(b"1", b"2")
    first, second = (broker.consume(["q"], prefetch=2) for _ in range(2))
    take(first, 2, ack=False)
    assert second.fetch(2, 0) == []
    first.close()
    assert [(delivery.body, delivery.deliveries) for delivery in take(second, 2)] == [(b"1", 2), (b"2", 2)]


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
