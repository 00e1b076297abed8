"""What stands in front of real servers does the harm it says, and what is stored and published through it is whole."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.cluster.servers import elastic_front, elastic_through, rabbit_front, rabbit_through
from tests.helpers import until
from tests.servers.amqp_faults import WAYS, AmqpFaults
from tests.servers.elastic_faults import ITEMS_TOO_MANY, WHOLE, ElasticFaults
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.front import Front
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker.protocol import Message
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import open_store
from vedette_backends.store.protocol import NewEvent, Outcome, TimeRange
from vedette_engine.query.tree import MatchAll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def namespace(elastic: Elasticsearch) -> Iterator[str]:
    """A namespace with templates."""
    name = "t" + secrets.token_hex(6)
    admin = ElasticsearchAdmin(elastic.settings)
    admin.ensure_templates(name, ["7d"])
    yield name
    admin.drop_namespace(name)
    admin.close()


@pytest.fixture
def to_elastic(elastic: Elasticsearch) -> Iterator[Front]:
    front = elastic_front(elastic)
    yield front
    front.close()


@pytest.fixture
def to_rabbit(rabbit: RabbitMQ) -> Iterator[Front]:
    front = rabbit_front(rabbit)
    yield front
    front.close()


def made(count: int) -> list[NewEvent]:
    now = time.time_ns() // 1_000_000
    return [NewEvent(secrets.token_hex(16), now, now, f"h{n}", {"event.sequence": n}) for n in range(count)]


def repeated(call: Callable[[], Any], failures: list[str]) -> Any:
    """The answer, after however many failures that may pass."""
    while True:
        try:
            return call()
        except UnavailableError as error:
            failures.append(str(error))


def test_events_written_through_faults_are_stored_once_but_those_that_are_at_fault(
    elastic: Elasticsearch, to_elastic: Front, namespace: str
) -> None:
    faults = ElasticFaults(random.Random(4), rate=0.4, items=0.3)
    store = open_store(elastic_through(elastic.settings, to_elastic), namespace)
    plain = open_store(elastic.settings, namespace)
    wanted: set[str] = set()
    rejected: set[str] = set()
    failures: list[str] = []
    assert store.count_events(MatchAll(), TimeRange()) == 0
    with to_elastic.meddled(faults):

        def enough() -> bool:
            events = made(20)
            again = [replace(event, maybe_repeat=True) for event in events]
            for event, result in zip(events, repeated(lambda: store.create_events("7d", again), failures), strict=True):
                (rejected if result.outcome is Outcome.REJECTED else wanted).add(event.id)
                assert result.outcome is not Outcome.COLLISION
            return set(WHOLE) | {ITEMS_TOO_MANY, "events rejected"} <= faults.done.keys()

        until(enough, seconds=120, what="each kind of fault")
    assert failures
    assert rejected
    # The front is out of the way again.
    assert store.create_events("7d", made(1))[0].outcome is Outcome.CREATED
    found = plain.search_events(MatchAll(), TimeRange(), size=10_000)
    ids = [event.id for event in found.events]
    assert len(ids) == len(set(ids)) == len(wanted) + 1
    assert wanted < set(ids)
    assert rejected.isdisjoint(ids)
    store.close()
    plain.close()


def test_what_is_published_is_there_however_the_connection_breaks(rabbit: RabbitMQ, to_rabbit: Front) -> None:
    name = "t" + secrets.token_hex(6)
    admin = RabbitMQAdmin(rabbit.settings)
    vhost = admin.ensure_vhost(name)
    admin.ensure_permissions(rabbit.user, vhost, ".*", ".*", ".*")
    broker = open_broker(rabbit_through(rabbit.settings, to_rabbit), name)
    faults = AmqpFaults(random.Random(4), one_in=4)
    failures: list[str] = []
    sent = 0
    try:
        broker.declare("events.x")
        with to_rabbit.meddled(faults):

            def enough() -> bool:
                nonlocal sent
                body = b"%d" % sent + bytes(40_000)
                repeated(lambda: broker.publish([Message("events.x", body, {})]), failures)
                sent += 1
                return all(faults.done[way] >= 2 for way in WAYS)

            until(enough, seconds=120, what="each way to break")
        consumer = broker.consume(["events.x"], prefetch=1000)
        bodies: set[int] = set()

        def all_there() -> bool:
            for delivery in consumer.fetch(1000, 1.0):
                bodies.add(int(delivery.body.rstrip(b"\0")))
                consumer.ack([delivery.tag])
            return bodies == set(range(sent))

        until(all_there, seconds=60, what="each message")
        assert len(failures) >= 3
    finally:
        broker.close()
        admin.delete_vhost(name)
        admin.close()


def test_a_server_that_is_down_is_down_through_its_front(rabbit: RabbitMQ) -> None:
    front = Front(rabbit.host, (rabbit.host, 9), rabbit.identity)
    broker = open_broker(rabbit_through(rabbit.settings, front), "shop")
    with pytest.raises(BackendError) as error:
        broker.publish([Message("events.x", b"", {})])
    assert not isinstance(error.value, RefusedError)
    broker.close()
    front.close()
