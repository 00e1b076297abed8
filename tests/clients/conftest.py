from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from tests.helpers import until

from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_engine.wire import Record, decode
from vedette_workers.gateway.server import build, config, file_poll
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import digest

TOKEN = "a-source-token"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until(condition, seconds=seconds, what=what)


@dataclass
class Live:
    """A live gateway with one source, and what has arrived from it."""

    port: int
    broker: EmbeddedBroker
    token: str = TOKEN
    records: list[Record] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def poll(self) -> list[Record]:
        consumer = self.broker.consume(["events.web"], prefetch=1000)
        while deliveries := consumer.fetch(1000, 0):
            for delivery in deliveries:
                self.records += decode("shop", delivery.body, delivery.headers).records
            consumer.ack([delivery.tag for delivery in deliveries])
        consumer.close()
        return self.records

    def await_records(self, count: int) -> list[dict[str, Any]]:
        """The records as values, in the order of arrival, once there are so many."""
        wait_until(lambda: len(self.poll()) >= count, f"{count} events arrive, {len(self.records)} did")
        return [orjson.loads(record.raw) for record in self.records]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    folder = tmp_path / "ns" / "shop"
    folder.mkdir(parents=True)
    broker = open_broker(folder)
    broker.declare("events.web")
    bundle = tmp_path / "gateway.json"
    source = {"namespace": "shop", "name": "web", "tokens": [digest(TOKEN).hex()]}
    bundle.write_bytes(orjson.dumps({"v": 1, "sources": [source]}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    app = build(lambda _: open_broker(folder), file_poll(bundle), settings=Settings(), every=0.05)
    server = uvicorn.Server(config(app, "127.0.0.1", port, Settings()))
    thread = threading.Thread(target=server.run)
    thread.start()
    running = Live(port, broker)

    def ready() -> bool:
        try:
            return httpx.get(running.url + "/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready, "the gateway is ready")
    yield running
    server.should_exit = True
    thread.join(20)
    broker.close()
