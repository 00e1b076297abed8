from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from tests.helpers import until

from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.broker.protocol import Broker
from vedette_engine.wire import Record, decode
from vedette_workers.gateway.app import create_app
from vedette_workers.gateway.gateway import Gateway
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.publisher import Publisher
from vedette_workers.gateway.server import build, config, file_poll
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import SourceTable, digest

T = TypeVar("T")
SOURCES: list[dict[str, Any]] = [
    {"namespace": "shop", "name": "web", "tokens": [digest("web-token").hex()]},
    {
        "namespace": "shop",
        "name": "auth",
        "format": "syslog",
        "tokens": [digest("auth-token").hex()],
        "limits": {"maxEventBytes": 1000},
    },
    {
        "namespace": "bank",
        "name": "slow",
        "tokens": [digest("slow-token").hex()],
        "limits": {"eventsPerSecond": 1, "burst": 10},
    },
]
BUNDLE: dict[str, Any] = {"v": 1, "sources": SOURCES}


@dataclass
class Site:
    """A data folder with the queues of the test sources, and what arrives in them."""

    data: Path
    settings: Settings = field(default_factory=Settings)

    def broker(self, namespace: str) -> EmbeddedBroker:
        folder = self.data / "ns" / namespace
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        broker = open_broker(folder)
        for source in SOURCES if new else []:
            if source["namespace"] == namespace:
                broker.declare(f"events.{source['name']}")
        return broker

    def drain(self, namespace: str = "shop", source: str = "web") -> list[Record]:
        """Everything in the queue of a source, acknowledged."""
        broker = self.broker(namespace)
        consumer = broker.consume([f"events.{source}"], prefetch=10_000)
        records: list[Record] = []
        while deliveries := consumer.fetch(10_000, 0):
            for delivery in deliveries:
                batch = decode(namespace, delivery.body, delivery.headers)
                assert batch.source == source
                assert len(batch.records) <= 500
                records += batch.records
            consumer.ack([delivery.tag for delivery in deliveries])
        consumer.close()
        broker.close()
        return records

    @contextmanager
    def client(
        self, token: str = "web-token", brokers: Callable[[str], Broker] | None = None, **settings: Any
    ) -> Iterator[AppClient]:
        changed = replace(self.settings, **settings)
        metrics = Metrics()
        publisher = Publisher(brokers or self.broker, changed, metrics)
        app = create_app(changed, SourceTable.load(BUNDLE), publisher, metrics)
        with AppClient(app, {"Authorization": f"Bearer {token}"} if token else {}) as client:
            yield client


class AppClient:
    """The application in a loop of its own thread, for tests that are no coroutines."""

    def __init__(self, app: Starlette, headers: dict[str, str]) -> None:
        self.app = app
        self.gateway: Gateway = app.state.gateway
        self._headers = headers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self) -> httpx.AsyncClient:
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        transport = httpx.ASGITransport(self.app)
        client = httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=self._headers)
        return await self._stack.enter_async_context(client)

    def __enter__(self) -> Self:
        self._thread.start()
        self.http = self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self.run(self.http.request(method, path, **arguments))

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, content: bytes | str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("POST", path, content=content, headers=headers)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def client(site: Site) -> Iterator[AppClient]:
    with site.client() as client:
        yield client


SERVER = """
import sys
from pathlib import Path
from vedette_workers.gateway.server import serve
serve(Path(sys.argv[1]), port=int(sys.argv[2]))
"""


@dataclass
class Server:
    """A real gateway on a port of its own: uvicorn in a thread, or, to be killed, in a process."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str = "web-token") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def ready(self) -> bool:
        assert self.process is None or self.process.poll() is None, "the gateway ended"
        try:
            return httpx.get(self.url + "/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    until(condition, seconds=seconds, what=what)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


def write_bundle(site: Site) -> None:
    path = site.data / "run" / "gateway.json"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(orjson.dumps(BUNDLE))


@pytest.fixture
def serve(site: Site, unused_port: Callable[[], int]) -> Iterator[Callable[..., Server]]:
    """Starts gateways in threads, with settings, and ends them."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**changed: Any) -> Server:
        write_bundle(site)
        settings = Settings(**changed)
        app = build(site.broker, file_poll(site.data / "run" / "gateway.json"), settings=settings, every=0.02)
        port = unused_port()
        server = uvicorn.Server(config(app, "127.0.0.1", port, settings))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        started = Server(port)
        wait_until(started.ready, "the gateway is ready")
        return started

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def spawn(site: Site, unused_port: Callable[[], int]) -> Iterator[Callable[[], Server]]:
    """Starts gateway processes, and ends them."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> Server:
        write_bundle(site)
        site.broker("shop").close()
        port = unused_port()
        server = Server(port, subprocess.Popen([sys.executable, "-c", SERVER, str(site.data), str(port)]))
        assert server.process is not None
        running.append(server.process)
        wait_until(server.ready, "the gateway is ready")
        return server

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture
def unused_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
