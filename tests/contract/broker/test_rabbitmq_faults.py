"""A RabbitMQ that restarts, stands still, runs short of memory: nothing confirmed is lost, all goes on unaided."""

import threading
import time
from collections.abc import Iterator

import pytest
from tests.helpers import until
from tests.servers.rabbitmq import RabbitMQ, start

from vedette_backends.broker import rabbitmq
from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin, vhost_of
from vedette_backends.broker.rabbitmq_broker import RabbitMQBroker
from vedette_backends.errors import BackendError, NotFoundError, UnavailableError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One of this file's own."""
    server = start(tmp_path_factory.mktemp("faults") / "rabbitmq")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def admin(server: RabbitMQ) -> Iterator[RabbitMQAdmin]:
    admin = RabbitMQAdmin(server.settings)
    yield admin
    admin.close()


@pytest.fixture
def broker(server: RabbitMQ, namespace: str) -> Iterator[RabbitMQBroker]:
    broker = rabbitmq.open_broker(server.settings, namespace, confirm_seconds=3)
    yield broker
    broker.close()


class Stream:
    """Publishes numbers one after the other, and consumes them, until it is told to stop."""

    def __init__(self, broker: Broker) -> None:
        self.confirmed: set[int] = set()
        self.consumed: list[int] = []
        self.stopping = False
        self._broker = broker
        self._consumer = broker.consume(["q"], prefetch=50)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._publish, self._consume)]
        for thread in self._threads:
            thread.start()

    def _publish(self) -> None:
        number = 0
        while not self.stopping:
            try:
                self._broker.publish([Message("q", b"%d" % number)])
            except UnavailableError:
                time.sleep(0.05)
            else:
                self.confirmed.add(number)
                number += 1

    def _consume(self) -> None:
        publisher = self._threads[0]
        while publisher.is_alive() or self.confirmed - set(self.consumed):
            try:
                found = self._consumer.fetch(10, 0.2)
                self.consumed += [int(delivery.body) for delivery in found]
                self._consumer.ack([delivery.tag for delivery in found])
            except (UnavailableError, NotFoundError):
                continue

    def goes_on(self) -> None:
        """Both halves have done something since now."""
        confirmed, consumed = len(self.confirmed), len(set(self.consumed))
        until(
            lambda: len(self.confirmed) > confirmed + 20 and len(set(self.consumed)) > consumed + 20,
            seconds=60,
            what="the stream to go on",
        )

    def stop(self) -> None:
        self.stopping = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self.confirmed <= set(self.consumed)


@pytest.mark.parametrize("how", ["restarted", "killed", "cut", "paused", "alarmed"])
def test_a_stream_survives_a_server_that_is(how: str, broker: Broker, server: RabbitMQ, namespace: str) -> None:
    broker.declare("q")
    stream = Stream(broker)
    stream.goes_on()
    if how in {"restarted", "killed"}:
        server.restart(kill=how == "killed")
    elif how == "cut":
        server.ctl("close_all_connections", "-p", vhost_of(namespace), "test")
    else:
        with server.paused() if how == "paused" else server.alarmed():
            before = len(stream.confirmed)
            until(lambda: _fails(broker), seconds=30, what="publishing to fail")
            assert len(stream.confirmed) <= before + 2 or how == "alarmed"
    stream.goes_on()
    stream.stop()


def _fails(broker: Broker) -> bool:
    try:
        broker.publish([Message("q", b"0")])
    except UnavailableError:
        return True
    return False


def test_consumers_go_on_while_publishers_are_blocked(broker: Broker, server: RabbitMQ) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"%d" % number) for number in range(50)])
    consumer = broker.consume(["q"], prefetch=10)
    with server.alarmed():
        until(lambda: _fails(broker), seconds=30, what="publishing to be blocked")
        started = time.monotonic()
        assert _fails(broker)
        assert time.monotonic() - started < 2.5, "a blocked publisher waits for the whole time"
        taken = 0
        while taken < 50:
            found = consumer.fetch(10, 10)
            assert found
            consumer.ack([delivery.tag for delivery in found])
            taken += len(found)
    until(lambda: not _fails(broker), seconds=30, what="publishing to work again")


def test_a_server_that_is_down_is_unavailable_and_found_again(broker: Broker, server: RabbitMQ) -> None:
    broker.declare("q")
    server.stop()
    try:
        for call in (
            lambda: broker.publish([Message("q", b"1")]),
            lambda: broker.stats("q"),
            broker.queues,
            lambda: broker.consume(["q"], prefetch=1),
        ):
            with pytest.raises(UnavailableError):
                call()
    finally:
        server.start()
    until(lambda: not _fails(broker), seconds=30, what="publishing to work again")


def test_heartbeats_are_answered_while_the_owner_computes(
    server: RabbitMQ, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "HEARTBEAT_SECONDS", 1)
    broker = rabbitmq.open_broker(server.settings, namespace)
    broker.declare("q")
    broker.publish([Message("q", b"1")])
    consumer = broker.consume(["q"], prefetch=1)
    (held,) = consumer.fetch(1, 5)
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        sum(range(1000))
    consumer.ack([held.tag])
    assert broker.stats("q").unacked == 0
    broker.close()


def test_what_is_held_for_too_long_is_taken_back(broker: Broker, server: RabbitMQ) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"1")])
    server.ctl("eval", "application:set_env(rabbit, consumer_timeout, 500).")
    try:
        consumer = broker.consume(["q"], prefetch=1)
        (held,) = consumer.fetch(1, 5)

        def comes_again() -> bool:
            try:
                again.extend(consumer.fetch(1, 0.2))
            except BackendError:
                return False
            return bool(again)

        again = [held][1:]
        until(comes_again, seconds=60, what="the message to come again")
        assert again[0].redelivered
        with pytest.raises(NotFoundError):
            consumer.ack([held.tag])
        consumer.ack([again[0].tag])
    finally:
        server.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")


def test_a_stopped_server_leaves_the_other_alone(server: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> None:
    stopped = start(tmp_path_factory.mktemp("other") / "rabbitmq")
    assert stopped.answers()
    stopped.stop()
    assert not stopped.answers()
    assert server.answers()
