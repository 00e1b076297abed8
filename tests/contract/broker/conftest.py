"""Places where a broker of each kind lives; RabbitMQ becomes a second parameter."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.helpers import until

from vedette_backends.broker.embedded import open_broker
from vedette_backends.broker.protocol import Broker, Consumer, Delivery, Message

_PRELUDE = """
import sys, time, signal
from pathlib import Path
from vedette_backends.broker.embedded import open_broker
from vedette_backends.broker.protocol import Message
broker = open_broker(Path(sys.argv[1]))
def say(*words):
    print(*words, flush=True)
"""


@dataclass
class Place:
    """Opens brokers that share their queues, here and in other processes."""

    folder: Path
    brokers: list[Broker] = field(default_factory=list)
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def open(self) -> Broker:
        broker = open_broker(self.folder)
        self.brokers.append(broker)
        return broker

    def child(self, code: str) -> subprocess.Popen[str]:
        """Another process that runs `code` with `broker` opened, and says things on its standard output."""
        command = [sys.executable, "-c", _PRELUDE + code, str(self.folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children.append(process)
        return process

    def close(self) -> None:
        for process in self.children:
            process.kill()
            process.communicate()
        for broker in self.brokers:
            broker.close()


@pytest.fixture(params=["embedded"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    assert request.param == "embedded"
    place = Place(tmp_path / "ns")
    yield place
    place.close()


@pytest.fixture
def broker(place: Place) -> Broker:
    return place.open()


@pytest.fixture
def heard() -> Callable[[subprocess.Popen[str]], str]:
    """The next line that a child says."""

    def hear(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    return hear


@pytest.fixture
def kill() -> Callable[[subprocess.Popen[str]], None]:
    def kill_now(process: subprocess.Popen[str]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    return kill_now


@pytest.fixture
def take() -> Callable[..., list[Delivery]]:
    """So many messages, or a failure after a deadline."""

    def take_all(consumer: Consumer, count: int, *, limit: int = 10, ack: bool = True) -> list[Delivery]:
        taken: list[Delivery] = []
        deadline = time.monotonic() + 20
        while len(taken) < count:
            assert time.monotonic() < deadline, f"{len(taken)} of {count} messages came"
            found = consumer.fetch(limit, 1.0)
            if ack:
                consumer.ack([delivery.tag for delivery in found])
            taken += found
        return taken

    return take_all


@pytest.fixture
def publish(broker: Broker) -> Callable[..., None]:
    """Declares `q` and publishes bodies, each by itself."""

    def publish_each(*bodies: bytes, queue: str = "q") -> None:
        broker.declare(queue)
        for body in bodies:
            broker.publish([Message(queue, body)])

    return publish_each


@pytest.fixture
def until_empty(broker: Broker) -> Callable[[str], None]:
    """Waits until others have consumed a queue."""

    def wait(queue: str) -> None:
        def empty() -> bool:
            stats = broker.stats(queue)
            return not (stats.ready or stats.unacked)

        until(empty, seconds=60, what="an empty queue")

    return wait
