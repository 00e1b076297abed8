"""The gateway as a process: uvicorn, the brokers of all namespaces, and the bundle that is looked at twice a second."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, Final

import orjson
import uvicorn
from starlette.applications import Starlette

from vedette_backends.broker.protocol import Broker
from vedette_crds.problems import ProblemsError
from vedette_workers.gateway.app import create_app
from vedette_workers.gateway.gateway import Gateway
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.protocol import limited
from vedette_workers.gateway.publisher import Publisher
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import SourceTable

_log = logging.getLogger(__name__)
MAX_BUNDLE: Final = 64 << 20

Poll = Callable[[str], tuple[str, Mapping[str, Any]] | None]
"""Given the hash of the bundle that is loaded ("" at first): hash and content of a newer one, or None. Runs in a
thread; may raise OSError or ValueError, which keeps the loaded one."""


def file_poll(path: Path) -> Poll:
    """A bundle in a file, which its writer replaces by renaming. The loaded one stays while the file is missing."""
    seen: list[tuple[int, int, int]] = []

    def poll(known: str) -> tuple[str, Mapping[str, Any]] | None:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == [mark]:
            return None
        if stat.st_size > MAX_BUNDLE:
            raise ValueError(f"the bundle is larger than {MAX_BUNDLE} bytes")
        raw = path.read_bytes()
        seen[:] = [mark]
        name = sha256(raw).hexdigest()
        return None if name == known else (name, orjson.loads(raw))

    return poll


async def follow(gateway: Gateway, poll: Poll, every: float) -> None:
    """Loads the bundle and each newer one, until cancelled; one that cannot be loaded leaves the last good one."""
    refused = ""
    while True:
        try:
            found = await asyncio.to_thread(poll, refused or gateway.bundle)
            if found is not None:
                refused, bundle = found
                table = SourceTable.load(bundle)
                gateway.swap(table, refused)
                refused, gateway.ready = "", True
                for problem in table.problems:
                    _log.warning("%s", problem)
        except (OSError, ValueError, ProblemsError) as error:
            gateway.metrics.add("bundle_errors_total")
            _log.warning("the bundle of sources cannot be loaded, the last good one stays: %s", error)
        await asyncio.sleep(every)


def build(
    brokers: Callable[[str], Broker],
    poll: Poll,
    *,
    settings: Settings,
    every: float = 0.5,
    started: Callable[[Gateway], None] | None = None,
) -> Starlette:
    """The application together with its bundle's follower, for any ASGI server.

    Args:
        brokers: opens the broker of a namespace.
        poll: brings bundles.
        settings: limits.
        every: seconds between two looks.
        started: called with the gateway when the server starts, for heartbeats.
    """
    metrics = Metrics()
    holder: list[Starlette] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        gateway: Gateway = holder[0].state.gateway
        follower = asyncio.create_task(follow(gateway, poll, every))
        if started is not None:
            started(gateway)
        yield
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower
        await gateway.close()

    app = create_app(settings, SourceTable(), Publisher(brokers, settings, metrics), metrics)
    app.router.lifespan_context = lifespan
    holder.append(app)
    return app


def serve(
    data: Path,
    host: str = "127.0.0.1",
    port: int = 8421,
    *,
    poll: Poll | None = None,
    every: float = 0.5,
    settings: Settings | None = None,
    brokers: Callable[[str], Broker] | None = None,
    started: Callable[[Gateway], None] | None = None,
) -> None:
    """Runs the gateway in the main thread until SIGTERM or SIGINT: then finishes what was begun, and returns.

    Args:
        data: DATA; brokers are in `DATA/ns/<namespace>`.
        host: address to listen on.
        port: to listen on.
        poll: brings bundles; by default from `DATA/run/gateway.json`.
        every: seconds between two looks at it.
        settings: limits.
        brokers: opens the broker of a namespace; by default the embedded one.
        started: called with the gateway when the server starts.
    """
    settings = settings or Settings()
    app = build(
        brokers or _embedded(data),
        poll or file_poll(data / "run" / "gateway.json"),
        settings=settings,
        every=every,
        started=started,
    )
    # uvicorn raises the signal that stopped it again after its clean end; by then it has nothing more to say.
    previous = {number: signal.signal(number, _noted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config(app, host, port, settings)).run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _noted(number: int, _frame: FrameType | None) -> None:
    _log.info("stopped by signal %d", number)


def config(app: Starlette, host: str, port: int, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs the gateway."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=limited(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=int(settings.confirm) + 5,
        limit_concurrency=settings.connections,
        backlog=1024,
    )


def _embedded(data: Path) -> Callable[[str], Broker]:
    def brokers(namespace: str) -> Broker:
        from vedette_backends.broker.embedded import open_broker  # noqa: PLC0415 # in a cluster it is never needed

        return open_broker(data / "ns" / namespace)

    return brokers
