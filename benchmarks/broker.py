"""What the brokers cost: processor time per event in and out, and how soon a message is seen elsewhere.

    python -m benchmarks.broker [MESSAGES]

The embedded one compared with writing and reading the same bytes through one plain file with fsync, which is the least
durable storage can cost; RabbitMQ, where it is installed, through our broker and through its client library alone.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.rabbitmq import installed

from benchmarks import broker_rabbitmq
from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.broker.protocol import Message

EVENTS_PER_MESSAGE = 500
EVENT_BYTES = 1200
IDLE_SECONDS = 3.0

_ECHO = """
import sys
from pathlib import Path
from tests.servers.rabbitmq import installed

from benchmarks import broker_rabbitmq
from vedette_backends.broker.embedded import open_broker
from vedette_backends.broker.protocol import Message
broker = open_broker(Path(sys.argv[1]))
consumer = broker.consume(["ping"], prefetch=1)
print("ready", flush=True)
while True:
    for delivery in consumer.fetch(1, 1.0):
        consumer.ack([delivery.tag])
        broker.publish([Message("pong", delivery.body)])
"""


def processor_seconds() -> float:
    """Processor time of this process, the kernel's part included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def through_broker(broker: EmbeddedBroker, messages: int, body: bytes) -> tuple[float, float]:
    """Seconds of processor to publish, and to fetch and ack, with two messages waiting at a time."""
    consumer = broker.consume(["q"], prefetch=2)
    publish = consume = 0.0
    for number in range(messages + 2):
        start = processor_seconds()
        if number < messages:
            broker.publish([Message("q", body, {"format": "1"})])
        middle = processor_seconds()
        publish += middle - start
        if number >= 2:
            (delivery,) = consumer.fetch(1, 10.0)
            assert len(delivery.body) == len(body)
            consumer.ack([delivery.tag])
            consume += processor_seconds() - middle
    consumer.close()
    return publish, consume


def through_file(folder: Path, messages: int, body: bytes) -> tuple[float, float]:
    """The same bytes through one file."""
    publish = consume = 0.0
    handle = os.open(folder / "plain", os.O_RDWR | os.O_CREAT)
    for _ in range(messages):
        start = processor_seconds()
        os.pwrite(handle, body, 0)
        os.fdatasync(handle)
        middle = processor_seconds()
        publish += middle - start
        assert len(os.pread(handle, len(body), 0)) == len(body)
        consume += processor_seconds() - middle
    os.close(handle)
    return publish, consume


def round_trips(folder: Path, broker: EmbeddedBroker, count: int) -> list[float]:
    """Milliseconds from a publish here, through a consumer in another process, to its answer here."""
    for queue in ("ping", "pong"):
        broker.declare(queue)
    consumer = broker.consume(["pong"], prefetch=1)
    with subprocess.Popen([sys.executable, "-c", _ECHO, str(folder)], stdout=subprocess.PIPE) as echo:
        assert echo.stdout is not None
        echo.stdout.readline()
        times = []
        for number in range(count):
            start = time.perf_counter()
            broker.publish([Message("ping", b"%d" % number)])
            (delivery,) = consumer.fetch(1, 10.0)
            times.append((time.perf_counter() - start) * 1000)
            consumer.ack([delivery.tag])
        echo.kill()
    consumer.close()
    return times


def idle_share(broker: EmbeddedBroker) -> float:
    """Share of a core that a waiting consumer uses."""
    consumer = broker.consume(["q"], prefetch=1)
    consumer.fetch(1, 1.5)  # until it polls slowly
    start = processor_seconds()
    consumer.fetch(1, IDLE_SECONDS)
    used = processor_seconds() - start
    consumer.close()
    return used / IDLE_SECONDS


def row(what: str, times: Callable[[], tuple[float, float]], events: int) -> None:
    """One line of the table."""
    publish, consume = (seconds * 1e6 / events for seconds in times())
    print(f"{what:<28} {publish:>8.2f} {consume:>8.2f} {publish + consume:>8.2f}")


def main() -> None:
    """Measure and print."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    body = os.urandom(EVENTS_PER_MESSAGE * EVENT_BYTES)
    events = messages * EVENTS_PER_MESSAGE
    print(f"{messages} messages of {EVENTS_PER_MESSAGE} events of {EVENT_BYTES} bytes; µs of processor per event")
    print(f"{'':<28} {'in':>8} {'out':>8} {'both':>8}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        broker = open_broker(folder)
        broker.declare("q")
        row("embedded broker", lambda: through_broker(broker, messages, body), events)
        row("one file, fdatasync", lambda: through_file(folder, messages, body), events)
        print(f"{'idle consumer':<28} {idle_share(broker):>8.2%} of a core")
        times = round_trips(folder, broker, 200)
        quantiles = statistics.quantiles(times, n=100)
        print(f"{'there and back, ms':<28} p50 {quantiles[49]:.1f}, p99 {quantiles[98]:.1f}")
        broker.close()
        size = (folder / "broker.db").stat().st_size / 1e6
        print(f"{'file afterwards':<28} {size:>8.1f} MB for {messages * len(body) / 1e6:.0f} MB passed through")
    if installed():
        broker_rabbitmq.compare(EVENT_BYTES, events)
    else:
        print("RabbitMQ is not installed here (Debian: apt-get install rabbitmq-server)")


if __name__ == "__main__":
    main()
