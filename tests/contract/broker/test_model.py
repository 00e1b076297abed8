"""Any sequence of calls against the simplest broker one can think of.

The embedded broker does exactly what the model says. RabbitMQ hands messages over before they are fetched, so it can be
held to laws only: `test_every_message_is_acked_dead_or_still_there`.
"""

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vedette_backends.broker.embedded import open_broker
from vedette_backends.broker.protocol import Broker, Consumer, Delivery, Message

_CONSUMERS = st.integers(0, 2)


class BrokerMachine(RuleBasedStateMachine):
    """One queue, its dead letters, three consumers; bodies are numbers in the order of publishing."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.broker: Broker = self.open()
        self.broker.declare("q")
        self.published = 0
        self.waiting: list[int] = []
        self.dead: list[tuple[int, str]] = []
        self.deliveries: Counter[int] = Counter()
        self.consumers: list[Consumer | None] = [None] * 3
        self.held: list[dict[int, Delivery]] = [{}, {}, {}]

    def open(self) -> Broker:
        return open_broker(Path(self.temporary.name))

    def teardown(self) -> None:
        self.broker.close()
        self.temporary.cleanup()

    def put_back(self, number: int) -> None:
        self.waiting = sorted([*self.waiting, *self.held[number]])
        self.held[number] = {}

    @initialize()
    def start(self) -> None:
        self.publish(2)

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        numbers = range(self.published, self.published + count)
        self.broker.publish([Message("q", b"%d" % number) for number in numbers])
        self.published += count
        self.waiting += numbers

    @rule(number=_CONSUMERS, limit=st.integers(1, 5))
    def fetch(self, number: int, limit: int) -> None:
        consumer = self.consumers[number] or self.broker.consume(["q"], prefetch=3)
        self.consumers[number] = consumer
        found = consumer.fetch(limit, 0)
        expected = self.waiting[: min(limit, 3 - len(self.held[number]))]
        assert [int(delivery.body) for delivery in found] == expected
        del self.waiting[: len(expected)]
        for delivery in found:
            body = int(delivery.body)
            self.deliveries[body] += 1
            assert delivery.deliveries == self.deliveries[body]
            assert delivery.redelivered == (self.deliveries[body] > 1)
            self.held[number][body] = delivery

    def pick(self, number: int, data: st.DataObject) -> tuple[Consumer, Delivery] | None:
        consumer = self.consumers[number]
        if consumer is None or not self.held[number]:
            return None
        body = data.draw(st.sampled_from(sorted(self.held[number])))
        return consumer, self.held[number].pop(body)

    @rule(number=_CONSUMERS, data=st.data())
    def ack(self, number: int, data: st.DataObject) -> None:
        if picked := self.pick(number, data):
            picked[0].ack([picked[1].tag])

    @rule(number=_CONSUMERS, data=st.data())
    def release(self, number: int, data: st.DataObject) -> None:
        if picked := self.pick(number, data):
            picked[0].release([picked[1].tag])
            self.waiting = sorted([*self.waiting, int(picked[1].body)])

    @rule(number=_CONSUMERS, data=st.data(), reason=st.text(max_size=20))
    def reject(self, number: int, data: st.DataObject, reason: str) -> None:
        if picked := self.pick(number, data):
            picked[0].reject(picked[1].tag, reason)
            self.dead.append((int(picked[1].body), reason))

    @rule(number=_CONSUMERS)
    def close(self, number: int) -> None:
        if (consumer := self.consumers[number]) is not None:
            consumer.close()
            self.consumers[number] = None
            self.put_back(number)

    @rule()
    def reopen(self) -> None:
        self.broker.close()
        self.broker = self.open()
        self.consumers = [None] * 3
        for number in range(3):
            self.put_back(number)

    @precondition(lambda self: self.dead)
    @rule()
    def drain_dead_letters(self) -> None:
        consumer = self.broker.consume(["q.dead"], prefetch=1000)
        found = consumer.fetch(1000, 0)
        assert [(int(delivery.body), delivery.headers["reason"]) for delivery in found] == self.dead
        consumer.ack([delivery.tag for delivery in found])
        consumer.close()
        self.dead = []

    @invariant()
    def totals_are_right(self) -> None:
        stats = self.broker.stats("q")
        bodies = [*self.waiting, *(body for held in self.held for body in held)]
        assert stats.ready == len(self.waiting)
        assert stats.unacked == len(bodies) - len(self.waiting)
        assert stats.bytes == sum(len(str(body)) for body in bodies)
        assert (stats.oldest is None) == (not bodies)


TestBrokerMachine = BrokerMachine.TestCase
TestBrokerMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


_NAMES = itertools.count()
_STEPS = st.lists(st.sampled_from(["publish", "fetch", "ack", "release", "reject", "reopen"]), max_size=30)


@given(steps=_STEPS, dice=st.randoms(use_true_random=False))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_message_is_acked_dead_or_still_there(
    broker: Broker, take: Callable[..., list[Delivery]], steps: list[str], dice: random.Random
) -> None:
    queue = f"q{next(_NAMES)}"
    broker.declare(queue)
    consumer = broker.consume([queue], prefetch=3)
    published = 0
    done: list[int] = []
    dead: list[int] = []
    held: dict[int, Delivery] = {}
    counted: dict[int, int] = {}
    for step in steps:
        if step == "publish":
            count = dice.randint(1, 4)
            broker.publish([Message(queue, b"%d" % (published + n)) for n in range(count)])
            published += count
        elif step == "fetch":
            for delivery in consumer.fetch(dice.randint(1, 3), 0.02):
                body = int(delivery.body)
                assert body not in held
                assert delivery.deliveries > counted.get(body, 0)
                assert delivery.redelivered == (delivery.deliveries > 1)
                counted[body] = delivery.deliveries
                held[body] = delivery
        elif step == "reopen":
            consumer.close()
            consumer = broker.consume([queue], prefetch=3)
            held.clear()
        elif held:
            body = dice.choice(sorted(held))
            tag = held.pop(body).tag
            if step == "ack":
                consumer.ack([tag])
                done.append(body)
            elif step == "release":
                consumer.release([tag])
            else:
                consumer.reject(tag, "bad")
                dead.append(body)
    consumer.close()
    left = published - len(done) - len(dead)
    rest = [int(delivery.body) for delivery in take(broker.consume([queue], prefetch=10), left)]
    buried = [int(each.body) for each in take(broker.consume([f"{queue}.dead"], prefetch=10), len(dead))]
    assert buried == dead
    assert sorted([*done, *dead, *rest]) == list(range(published))
