"""`vedette worker …`: one worker in this process. `vedette up` and pods start these."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vedette_backends.workloads.parent import watch_parent
from vedette_cli.data import Data, per_namespace
from vedette_workers.heartbeat import Pulse, beat

if TYPE_CHECKING:
    from vedette_workers.gateway.gateway import Gateway

GATEWAY_BEAT = 2.0
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(level: int = logging.INFO) -> None:
    """Logs go to standard error; whoever started us keeps them."""
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr)


def _on_stop(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


_data = click.option("--data", "data", required=True, type=click.Path(exists=True, path_type=Path), help="Data folder.")
_port = click.option("--port", required=True, type=click.IntRange(1, 65535), help="To listen on.")
_host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")


@click.group()
def worker() -> None:
    """Run one worker in this process."""
    watch_parent()
    set_up_logging()


@worker.command()
@_data
@click.option("--namespace", required=True, help="Whose events.")
def pipeline(data: Path, namespace: str) -> None:
    """Consume, normalise, enrich, match and store the events of one namespace."""
    from vedette_workers.pipeline.attempt import make_try  # only this worker needs the engine
    from vedette_workers.pipeline.worker import PipelineWorker, Settings

    paths = Data(data)
    store = paths.store(namespace, writer=True)
    broker = paths.broker(namespace)
    made = PipelineWorker(Settings(namespace), store, broker, make_try, paths.space(namespace))
    _on_stop(made.stop)
    try:
        made.run()
    finally:
        broker.close()
        store.close()


@worker.command()
@_data
@click.option("--namespace", "namespaces", required=True, multiple=True, help="Whose alerts; several may be named.")
def responder(data: Path, namespaces: tuple[str, ...]) -> None:
    """Open incidents for alerts whose rules ask for them."""
    from vedette_workers.responder.together import Together  # only this worker needs it
    from vedette_workers.responder.worker import ResponderWorker, Settings

    paths = Data(data)
    cluster = paths.cluster()
    stores = per_namespace(paths.store)
    brokers = per_namespace(paths.broker)
    made = Together([ResponderWorker(Settings(name), stores(name), brokers(name), cluster) for name in namespaces])
    _on_stop(made.stop)
    try:
        made.run()
    finally:
        for name in namespaces:
            brokers(name).close()
            stores(name).close()
        cluster.close()


@worker.command()
@_data
@_host
@_port
def gateway(data: Path, host: str, port: int) -> None:
    """Take events over HTTP and answer when they are durable."""
    from vedette_workers.gateway.server import serve  # only this worker needs it

    stores = per_namespace(Data(data).store)
    pulses: list[Pulse] = []

    def started(made: Gateway) -> None:
        def report(incarnation: str, since: int) -> None:
            for namespace in made.namespaces():
                body = made.heartbeat(namespace)
                beat(stores(namespace), role="gateway", incarnation=incarnation, started=since, body=body)

        pulses.append(Pulse(GATEWAY_BEAT, report))
        pulses[0].start()

    serve(data, host, port, started=started)
    for pulse in pulses:
        pulse.stop()


@worker.command()
@_data
@_host
@_port
def web(data: Path, host: str, port: int) -> None:
    """Serve the pages for responders."""
    from vedette_cli.web import serve_pages  # only this worker needs it

    serve_pages(Data(data), host, port)
