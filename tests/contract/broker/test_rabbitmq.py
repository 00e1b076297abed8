"""What only RabbitMQ promises: foreign publishers, rights, TLS, and what is to be seen when it goes wrong."""

import datetime as dt
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pika
import pytest
from tests.helpers import until
from tests.servers.pki import Authority
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker import rabbitmq, rabbitmq_roles
from vedette_backends.broker.names import existing
from vedette_backends.broker.protocol import Binding, Broker, Delivery, Message
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin, vhost_of
from vedette_backends.broker.rabbitmq_roles import Permissions
from vedette_backends.errors import BackendError, NotFoundError, RefusedError, UnavailableError
from vedette_backends.settings import RabbitMQSettings

EVENTS = Binding("eventtask", "web.#")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[object]:
    """RabbitMQ only."""
    settings, namespace = request.getfixturevalue("server").settings, request.getfixturevalue("namespace")
    place = request.getfixturevalue("rabbitmq_place")(settings, namespace)
    yield place
    place.close()


@pytest.fixture
def user(server: RabbitMQ, admin: RabbitMQAdmin, namespace: str) -> Iterator[Callable[..., RabbitMQSettings]]:
    """Makes users that may do something in the namespace's virtual host."""
    made = []

    def make(permissions: Permissions) -> RabbitMQSettings:
        name, password = f"user{secrets.token_hex(4)}", secrets.token_hex(8)
        made.append(name)
        admin.ensure_user(name, password)
        admin.ensure_permissions(name, vhost_of(namespace), permissions.configure, permissions.write, permissions.read)
        return server.settings_of(name, password)

    yield make
    for name in made:
        admin.delete_user(name)


@pytest.fixture
def opened() -> Iterator[Callable[..., Broker]]:
    """Opens brokers that are closed afterwards."""
    brokers: list[Broker] = []

    def open_one(settings: RabbitMQSettings, namespace: str, confirm_seconds: float = 10.0) -> Broker:
        brokers.append(rabbitmq.open_broker(settings, namespace, confirm_seconds=confirm_seconds))
        return brokers[-1]

    yield open_one
    for broker in brokers:
        broker.close()


@pytest.fixture
def send(server: RabbitMQ, namespace: str) -> Iterator[Callable[..., None]]:
    """Publishes as a foreign publisher does, through an exchange."""
    parameters = pika.URLParameters(f"{server.plain_url}/{vhost_of(namespace)}")
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()

    def publish(body: bytes, *, exchange: str = "eventtask", key: str = "web.1", **properties: object) -> None:
        channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties))

    yield publish
    connection.close()


# foreign publishers -------------------------------------------------------------------------------------------------
def test_a_foreign_message_says_so_whatever_it_claims(broker: Broker, send: Callable[..., None]) -> None:
    broker.declare("q", bindings=[EVENTS])
    send(
        b"{}",
        message_id="m1",
        timestamp=1_700_000_000,
        content_type="application/json",
        headers={"source": "other", "amqp.exchange": "", "x-delivery-count": 50, "amqp.published": 7, "n": 1, "t": {}},
    )
    (delivery,) = broker.consume(["q"], prefetch=1).fetch(1, 5)
    assert delivery.headers == {
        "source": "other",
        "n": "1",
        "t": "{}",
        "amqp.exchange": "eventtask",
        "amqp.routing_key": "web.1",
        "amqp.message_id": "m1",
        "amqp.timestamp": "1700000000",
        "amqp.content_type": "application/json",
    }
    assert (delivery.deliveries, delivery.redelivered) == (1, False)


def test_one_of_ours_cannot_say_that_it_is_foreign(broker: Broker) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"1", {"amqp.exchange": "eventtask", "a": "b"})])
    (delivery,) = broker.consume(["q"], prefetch=1).fetch(1, 5)
    assert delivery.headers == {"a": "b"}


def nested(depth: int) -> dict[str, object]:
    made: dict[str, object] = {}
    for _ in range(depth):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(dt.datetime(9999, 12, 31, tzinfo=dt.UTC), id="last year"),
        pytest.param("year 50000", id="time in milliseconds"),
        pytest.param(nested(300), id="deep"),
    ],
)
def test_headers_that_cannot_be_read_do_not_stop_a_consumer(
    broker: Broker, send: Callable[..., None], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.declare("q", bindings=[EVENTS])
    consumer = broker.consume(["q"], prefetch=5)
    if value == "year 50000":
        # What a client writes that takes milliseconds for seconds; pika would not write it by itself.
        monkeypatch.setattr("pika.data.calendar.timegm", lambda _: 1_700_000_000_000)
        value = dt.datetime.now(dt.UTC)
    send(b"odd", headers={"when": value})
    monkeypatch.undo()
    send(b"plain")
    assert [consumer.fetch(1, 5)[0].body for _ in range(2)] == [b"odd", b"plain"]


def test_a_rejected_foreign_message_stays_foreign(broker: Broker, send: Callable[..., None]) -> None:
    broker.declare("q", bindings=[EVENTS])
    send(b"x", headers={"amqp.exchange": "", "big": "ü" * 60_000})
    consumer = broker.consume(["q"], prefetch=1)
    consumer.reject(consumer.fetch(1, 5)[0].tag, "bad")
    (dead,) = broker.consume(["q.dead"], prefetch=1).fetch(1, 5)
    assert dead.headers == {"reason": "bad", "amqp.exchange": "eventtask", "amqp.routing_key": "web.1"}


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({}, id="honest"),
        pytest.param(
            {
                "x-death": [
                    {"queue": "q", "reason": "delivery_limit", "exchange": "", "routing-keys": ["q"], "count": 1}
                ]
            },
            id="forged",
        ),
    ],
)
def test_a_foreign_message_that_was_delivered_too_often_stays_foreign(
    broker: Broker, send: Callable[..., None], forged: dict[str, object]
) -> None:
    broker.declare("q", bindings=[EVENTS])
    send(b"poison", headers=forged)
    dead = _wear_out(broker)
    assert dead.headers["amqp.exchange"]
    assert dead.headers["reason"] == "DeliveryLimit"


def test_one_of_ours_that_was_delivered_too_often_is_a_dead_letter(broker: Broker) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"poison", {"source": "web"})])
    dead = _wear_out(broker)
    assert (dead.body, dead.headers) == (b"poison", {"source": "web", "reason": "DeliveryLimit"})


def _wear_out(broker: Broker) -> Delivery:
    consumer = broker.consume(["q"], prefetch=1)
    counts = []
    while found := consumer.fetch(1, 1.0):
        counts.append(found[0].deliveries)
        consumer.release([found[0].tag])
    assert counts == list(range(1, 102))
    (dead,) = broker.consume(["q.dead"], prefetch=1).fetch(1, 10)
    return dead


def test_a_queue_is_bound_with_exactly_the_given_bindings(
    broker: Broker, admin: RabbitMQAdmin, namespace: str, send: Callable[..., None]
) -> None:
    def bound() -> set[tuple[str, str]]:
        return {(exchange, key) for exchange, key, _ in admin.bindings(vhost_of(namespace), "q")}

    for bindings in ([EVENTS], [Binding("eventtask", "a"), Binding("other", "#")], [EVENTS], []):
        broker.declare("q", bindings=bindings)
        assert bound() == {(each.exchange, each.routing_key) for each in bindings}
    # An exchange that leads nowhere would swallow what it gets.
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no exchange 'eventtask'"):
        send(b"x")


def test_an_exchange_stays_while_another_queue_is_bound_to_it(broker: Broker, send: Callable[..., None]) -> None:
    for queue in ("p", "q"):
        broker.declare(queue, bindings=[EVENTS])
    broker.delete("p")
    send(b"x")
    assert broker.stats("q").ready == 1


# rights -------------------------------------------------------------------------------------------------------------
def test_the_gateway_may_publish_and_nothing_else(
    broker: Broker, user: Callable[..., RabbitMQSettings], opened: Callable[..., Broker], namespace: str
) -> None:
    broker.declare("q", bindings=[EVENTS])
    gateway = opened(user(rabbitmq_roles.gateway()), namespace)
    gateway.publish([Message("q", b"1")])
    assert broker.stats("q").ready == 1
    with pytest.raises(NotFoundError, match="nowhere is not declared"):
        gateway.publish([Message("nowhere", b"1")])
    for forbidden in (
        lambda: gateway.consume(["q"], prefetch=1),
        lambda: gateway.declare("p"),
        lambda: gateway.delete("q"),
        gateway.queues,
    ):
        with pytest.raises(RefusedError):
            forbidden()
    assert broker.queues() == ["q", "q.dead"]


def test_a_worker_may_consume_and_reject_but_not_declare(
    broker: Broker, user: Callable[..., RabbitMQSettings], opened: Callable[..., Broker], namespace: str
) -> None:
    broker.declare("q")
    worker = opened(user(rabbitmq_roles.worker()), namespace)
    worker.publish([Message("q", b"12"), Message("q", b"3456")])
    consumer = worker.consume(["q"], prefetch=1)
    consumer.reject(consumer.fetch(1, 5)[0].tag, "bad")
    assert worker.stats("q.dead").ready == 1
    consumer.fetch(1, 5)
    stats = worker.stats("q")
    assert (stats.ready, stats.unacked, stats.bytes) == (0, 1, 4)
    assert existing(worker, ["p", "q", "q.dead"]) == ["q", "q.dead"]
    forbidden_calls: list[Callable[[], object]] = [
        lambda: worker.declare("p"),
        lambda: worker.declare("q", max_bytes=1),
        lambda: worker.declare("q", bindings=[EVENTS]),
        lambda: worker.delete("q"),
    ]
    for forbidden in forbidden_calls:
        with pytest.raises(RefusedError):
            forbidden()


def test_the_librarian_reads_dead_letters_only(
    broker: Broker, user: Callable[..., RabbitMQSettings], opened: Callable[..., Broker], namespace: str
) -> None:
    broker.declare("q")
    librarian = opened(user(rabbitmq_roles.librarian()), namespace)
    librarian.consume(["q.dead"], prefetch=1)
    librarian.publish([Message("q", b"replayed")])
    with pytest.raises(RefusedError):
        librarian.consume(["q"], prefetch=1)


def test_a_foreign_publisher_reaches_its_exchange_only(
    broker: Broker, server: RabbitMQ, user: Callable[..., RabbitMQSettings], namespace: str
) -> None:
    broker.declare("q", bindings=[EVENTS, Binding("other", "#")])
    foreign = user(rabbitmq_roles.publisher("eventtask")).url.split("@")[0].removeprefix("amqps://")
    parameters = pika.URLParameters(f"amqp://{foreign}@127.0.0.1:{server.plain}/{vhost_of(namespace)}")
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("eventtask", "web.1", b"x")
        for exchange, key in (("", "q"), ("other", "x"), ("amq.topic", "x")):
            channel = connection.channel()
            channel.confirm_delivery()
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
                channel.basic_publish(exchange, key, b"x")
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="user_id"):
            channel.basic_publish("eventtask", "web.1", b"x", pika.BasicProperties(user_id=server.user))
    assert broker.stats("q").ready == 1


# connections --------------------------------------------------------------------------------------------------------
def test_wrong_settings_are_refused_without_telling_the_password(
    server: RabbitMQ, namespace: str, tmp_path: Path, opened: Callable[..., Broker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "pass-word-0815"
    good = server.settings
    for settings in (
        server.settings_of("admin", secret),
        server.settings_of("nobody", secret),
        replace(good, ca=Authority(tmp_path / "other").certificate),
        replace(good, url=good.url.replace("127.0.0.1", "127.0.0.2")),
    ):
        with pytest.raises((RefusedError, UnavailableError)) as caught:
            opened(settings, namespace).stats("q")
        told = f"{caught.value} {settings!r} {caplog.text}"
        assert secret not in told
        assert server.password not in told
    with pytest.raises(RefusedError, match="virtual host"):
        opened(good, "nowhere").stats("q")


@pytest.mark.parametrize("url", ["", "http://x", "amqps://host", "amqp://u:p@h:99999", "amqps://u:[secret@h"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(RefusedError, match="rabbitmq-url") as caught:
        rabbitmq.open_broker(RabbitMQSettings(url), "shop")
    assert "secret" not in str(caught.value)


def test_the_servers_certificate_must_be_trusted_and_bear_its_name(
    server: RabbitMQ, namespace: str, tmp_path: Path, opened: Callable[..., Broker]
) -> None:
    for settings in (
        replace(server.settings, ca=Authority(tmp_path / "other").certificate),
        replace(server.settings, url=server.settings.url.replace("127.0.0.1", "ip6-localhost.invalid")),
    ):
        with pytest.raises((RefusedError, UnavailableError)):
            opened(settings, namespace).stats("q")
    with pytest.raises(RefusedError, match="certificate"):
        opened(replace(server.settings, ca=Authority(tmp_path / "third").certificate), namespace).stats("q")


def test_a_lost_connection_is_made_again(
    broker: Broker, server: RabbitMQ, namespace: str, publish: Callable[..., None]
) -> None:
    publish(b"1", b"2")
    consumer = broker.consume(["q"], prefetch=2)
    (held,) = consumer.fetch(1, 5)
    server.ctl("close_all_connections", "-p", vhost_of(namespace), "test")

    def refused() -> bool:
        try:
            consumer.ack([held.tag])
        except NotFoundError:
            return True
        return False

    assert refused()

    def back() -> bool:
        try:
            again.extend(consumer.fetch(2, 0.1))
            broker.publish([Message("q", b"3")] if not again else [])
        except UnavailableError:
            return False
        return len(again) >= 2

    again: list[Delivery] = []
    until(back, seconds=30, what="the messages to come again")
    assert [each.body for each in again[:2]] == [b"1", b"2"]
    assert again[0].redelivered


def test_publishing_into_a_queue_that_somebody_deleted_says_so(
    broker: Broker, admin: RabbitMQAdmin, namespace: str
) -> None:
    broker.declare("q")
    broker.publish([Message("q", b"1")])
    admin._send("DELETE", f"queues/{vhost_of(namespace)}/q")
    with pytest.raises(NotFoundError, match="q is not declared"):
        broker.publish([Message("q", b"2")])
    broker.declare("q")
    broker.publish([Message("q", b"3")])
    assert broker.stats("q").ready == 1


def test_calls_of_many_threads_are_confirmed_together(broker: Broker, publish: Callable[..., None]) -> None:
    publish()
    errors: list[BackendError] = []

    def work() -> None:
        try:
            for _ in range(20):
                broker.publish([Message("q", b"x" * 1000)] * 5)
        except BackendError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert broker.stats("q").ready == 800


def test_a_forked_child_opens_its_own(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    consumer = broker.consume(["q"], prefetch=1)
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (
            lambda: broker.publish([Message("q", b"2")]),
            lambda: consumer.fetch(1, 0),
            lambda: broker.stats("q"),
        ):
            try:
                call()
            except UnavailableError:
                refused += 1
        broker.close()
        os._exit(0 if refused == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert consumer.fetch(1, 5)[0].body == b"1"
    broker.publish([Message("q", b"2")])


def test_a_closed_broker_leaves_no_connection(broker: Broker, publish: Callable[..., None]) -> None:
    publish(b"1")
    broker.consume(["q"], prefetch=1).fetch(1, 5)
    assert _threads()
    broker.close()
    assert not _threads()
    with pytest.raises(UnavailableError, match="closed"):
        broker.publish([Message("q", b"2")])


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rabbitmq"]
