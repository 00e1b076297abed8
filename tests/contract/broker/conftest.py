"""Places where a broker of each kind lives: a folder, or a virtual host of a real RabbitMQ."""

import os
import secrets
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.helpers import until
from tests.servers.rabbitmq import RabbitMQ, shared

from vedette_backends.broker import embedded, rabbitmq
from vedette_backends.broker.protocol import Broker, Consumer, Delivery, Message, QueueStats
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.settings import RabbitMQSettings

_PRELUDE = """
import sys, time, signal
from pathlib import Path
from vedette_backends.broker.protocol import Message
{how}
def say(*words):
    print(*words, flush=True)
"""

_EMBEDDED = """
from vedette_backends.broker.embedded import open_broker
broker = open_broker(Path(sys.argv[1]))
"""

_RABBITMQ = """
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.settings import RabbitMQSettings
url, ca, management, namespace = sys.argv[1:]
broker = open_broker(RabbitMQSettings(url, Path(ca), management), namespace)
"""


@dataclass
class Place(ABC):
    """Opens brokers that share their queues, here and in other processes."""

    folder: Path
    brokers: list[Broker] = field(default_factory=list)
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    @abstractmethod
    def make(self) -> Broker:
        """A broker."""

    @abstractmethod
    def in_child(self) -> tuple[str, list[str]]:
        """Code that opens `broker` in a child process, and the child's arguments."""

    def open(self) -> Broker:
        broker = self.make()
        self.brokers.append(broker)
        return broker

    def child(self, code: str) -> subprocess.Popen[str]:
        """Another process that runs `code` with `broker` opened, and says things on its standard output."""
        how, arguments = self.in_child()
        command = [sys.executable, "-c", _PRELUDE.replace("{how}", how) + code, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children.append(process)
        return process

    def close(self) -> None:
        for process in self.children:
            process.kill()
            process.communicate()
        for broker in self.brokers:
            broker.close()


@dataclass
class EmbeddedPlace(Place):
    def make(self) -> Broker:
        return embedded.open_broker(self.folder)

    def in_child(self) -> tuple[str, list[str]]:
        return _EMBEDDED, [str(self.folder)]


@dataclass
class RabbitMQPlace(Place):
    settings: RabbitMQSettings = field(kw_only=True)
    namespace: str = field(kw_only=True)

    def make(self) -> Broker:
        return rabbitmq.open_broker(self.settings, self.namespace)

    def in_child(self) -> tuple[str, list[str]]:
        settings = self.settings
        return _RABBITMQ, [settings.url, str(settings.ca), settings.management_url, self.namespace]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> RabbitMQ:
    """The RabbitMQ of this test session."""
    root = tmp_path_factory.getbasetemp()
    return shared((root if worker_id == "master" else root.parent) / "servers")


@pytest.fixture(scope="session")
def admin(server: RabbitMQ) -> Iterator[RabbitMQAdmin]:
    admin = RabbitMQAdmin(server.settings)
    yield admin
    admin.close()


@pytest.fixture
def namespace(server: RabbitMQ, admin: RabbitMQAdmin) -> Iterator[str]:
    """One with a virtual host of its own, which the administrator may use."""
    name = "t" + secrets.token_hex(6)
    vhost = admin.ensure_vhost(name)
    admin.ensure_permissions(server.user, vhost, ".*", ".*", ".*")
    yield name
    admin.delete_vhost(name)


@pytest.fixture(params=["embedded", "rabbitmq"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place: Place = EmbeddedPlace(tmp_path / "ns")
    if request.param == "rabbitmq":
        settings = request.getfixturevalue("server").settings
        place = RabbitMQPlace(tmp_path, settings=settings, namespace=request.getfixturevalue("namespace"))
    yield place
    place.close()


@pytest.fixture
def rabbitmq_place(tmp_path: Path) -> Callable[[RabbitMQSettings, str], Place]:
    return lambda settings, namespace: RabbitMQPlace(tmp_path, settings=settings, namespace=namespace)


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


@pytest.fixture
def settled(broker: Broker) -> Callable[..., QueueStats]:
    """The figures of a queue as soon as they are as named: what others do is told a moment later."""

    def wait(queue: str, **expected: int) -> QueueStats:
        def as_expected() -> bool:
            found.append(broker.stats(queue))
            return all(getattr(found[-1], name) == value for name, value in expected.items())

        found: list[QueueStats] = []
        until(as_expected, seconds=30, what=f"{expected} of {queue}", pause=0.1)
        return found[-1]

    return wait
