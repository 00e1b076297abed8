"""The webhook as a process: TLS with a certificate that changes, and an end that finishes what was begun."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from vedette_operator.admission.app import create_app
from vedette_operator.admission.judges import Judges
from vedette_operator.admission.metrics import Metrics
from vedette_operator.admission.tls import EVERY, Keeper

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256


def serve(
    cert_folder: Path,
    host: str = "0.0.0.0",  # noqa: S104 # a pod's own address
    port: int = 8443,
    *,
    seconds: float = 2.0,
    lanes: int | None = None,
    every: float = EVERY,
) -> None:
    """Run the webhook in the main thread until SIGTERM or SIGINT: then answer what was asked, and return.

    Args:
        cert_folder: the mounted Secret with `tls.crt` and `tls.key`; may still be empty, then this waits.
        host: address to listen on.
        port: to listen on.
        seconds: that one object may take to judge.
        lanes: objects that are judged at once; by default one per processor, at least two.
        every: seconds between two looks at the certificate.
    """
    metrics = Metrics()

    def loaded(end: float | None) -> None:
        metrics.add("certificate_loads_total", "failed" if end is None else "loaded")
        if end is not None:
            metrics.set("certificate_expires_seconds", end)

    keeper = Keeper(cert_folder, loaded)
    stop = threading.Event()
    with _on_signal(stop):
        if not keeper.wait(stop, every):
            return
        judges = Judges(seconds=seconds, lanes=lanes, replaced=lambda: metrics.add("children_replaced_total"))
        app = create_app(judges, metrics, alongside=lambda: keeper.follow(every))
        server = uvicorn.Server(_config(app, host, port, seconds, keeper))
        if not stop.is_set():
            server.run()


def _config(app: Starlette, host: str, port: int, seconds: float, keeper: Keeper) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        # Longer than the API server keeps a connection that it does not use, so that it is the one that closes.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=int(seconds) + 3,
        ssl_context_factory=lambda *_: keeper.context,
    )


@contextlib.contextmanager
def _on_signal(stop: threading.Event) -> Iterator[None]:
    """Signals set `stop`; uvicorn takes them over while it runs, and raises them again after its clean end."""

    def noted(number: int, _frame: FrameType | None) -> None:
        log.info("stopped by signal %d", number)
        stop.set()

    previous = {number: signal.signal(number, noted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
