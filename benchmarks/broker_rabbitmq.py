"""What RabbitMQ costs: processor time per event in and out, through bare pika and through our broker, side by side.

Client and server together; one quorum queue, persistent messages, confirms, acks, no TLS. `benchmarks.broker` runs it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
from tests.servers.rabbitmq import RabbitMQ, start

from benchmarks.procs import cpu, tree
from vedette_backends.broker.protocol import Message
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.settings import RabbitMQSettings

NAMESPACE = "benchmark"
ROUNDS = 3
# Messages on their way at a time, and published in one call of ours.
WINDOWS = {500: (24, 4), 1: (1000, 250)}


class Bare:
    """The least that publishes with confirms and consumes with acks: one asynchronous connection, one thread."""

    def __init__(self, url: str, messages: int, body: bytes, window: int) -> None:
        self._messages, self._body, self._window = messages, body, window
        self._sent = self._confirmed = self._taken = 0
        self._properties = pika.BasicProperties(delivery_mode=2)
        self._channel: Any = None
        self._connection = pika.SelectConnection(pika.URLParameters(url), on_open_callback=self._opened)

    def run(self) -> None:
        """Until every message was confirmed, delivered and acked."""
        self._connection.ioloop.start()

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Any) -> None:
        self._channel = channel
        channel.basic_qos(prefetch_count=self._window)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._publish())
        channel.basic_consume("q", self._on_message)

    def _publish(self) -> None:
        while self._sent < self._messages and self._sent - self._confirmed < self._window:
            self._sent += 1
            self._channel.basic_publish("", "q", self._body, self._properties, mandatory=True)

    def _on_confirm(self, frame: Any) -> None:
        self._confirmed = frame.method.delivery_tag if frame.method.multiple else self._confirmed + 1
        self._publish()

    def _on_message(self, channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._taken += 1
        if self._taken % max(self._window // 4, 1) == 0 or self._taken == self._messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if self._taken == self._messages:
            self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
            self._connection.close()


def bare(server: RabbitMQ, messages: int, body: bytes, window: int, _call: int) -> None:
    """All messages through bare pika."""
    Bare(f"{server.plain_url}/vedette.{NAMESPACE}", messages, body, window).run()


def ours(server: RabbitMQ, messages: int, body: bytes, window: int, call: int) -> None:
    """All messages through our broker: one thread publishes, this one consumes."""
    broker = open_broker(RabbitMQSettings(server.plain_url), NAMESPACE)
    consumer = broker.consume(["q"], prefetch=window)

    def publish() -> None:
        for start_at in range(0, messages, call):
            broker.publish([Message("q", body, {"format": "1"})] * min(call, messages - start_at))

    publisher = threading.Thread(target=publish)
    publisher.start()
    taken = 0
    while taken < messages:
        found = consumer.fetch(window // 4, 10)
        consumer.ack([delivery.tag for delivery in found])
        taken += len(found)
    publisher.join()
    broker.close()


def measured(server: RabbitMQ, work: Callable[[], None]) -> tuple[float, float, float]:
    """Seconds of processor here and in the server, and seconds that passed."""
    pids = tree(server.pid)
    before, passed = (cpu([os.getpid()]), cpu(pids)), time.perf_counter()
    work()
    passed = time.perf_counter() - passed
    return cpu([os.getpid()]) - before[0], cpu(pids) - before[1], passed


def compare(event_bytes: int, events: int) -> None:
    """Measure and print."""
    print(f"\n{'RabbitMQ, quorum queue':<28} {'client':>8} {'server':>8} {'both':>8} {'events/s':>10}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        server = start(Path(name) / "rabbitmq")
        try:
            admin = RabbitMQAdmin(server.settings)
            vhost = admin.ensure_vhost(NAMESPACE)
            admin.ensure_permissions(server.user, vhost, ".*", ".*", ".*")
            admin.close()
            broker = open_broker(server.settings, NAMESPACE)
            broker.declare("q")
            broker.close()
            for batch, (window, call) in WINDOWS.items():
                # Single messages cost twenty times as much: fewer of them say the same.
                messages = events // batch if batch > 1 else events // 10
                _rows(server, messages, os.urandom(batch * event_bytes), batch, window, call)
        finally:
            server.stop(kill=True)


def _rows(server: RabbitMQ, messages: int, body: bytes, batch: int, window: int, call: int) -> None:
    sums = {}
    runs: dict[str, list[tuple[float, float, float]]] = {"pika alone": [], "our broker": []}
    for _ in range(ROUNDS):
        for what, way in (("pika alone", bare), ("our broker", ours)):
            runs[what].append(measured(server, lambda way=way: way(server, messages, body, window, call)))  # type: ignore[misc] # a default binds the loop's variable
    for what, figures in runs.items():
        client, inside, passed = (statistics.median(column) for column in zip(*figures, strict=True))
        per = 1e6 / (messages * batch)
        sums[what] = client + inside
        rate = messages * batch / passed
        label = f"{what}, {batch} a message"
        print(f"{label:<28} {client * per:>8.2f} {inside * per:>8.2f} {sums[what] * per:>8.2f} {rate:>10.0f}")
    print(f"{'ratio':<28} {sums['our broker'] / sums['pika alone']:>26.2f}")
