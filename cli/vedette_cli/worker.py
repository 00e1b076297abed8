"""`vedette worker …`: one worker in this process. `vedette up` and pods start these."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vedette_backends.workloads.parent import watch_parent
from vedette_cli.data import Data, per_namespace
from vedette_workers.heartbeat import Pulse, beat

if TYPE_CHECKING:
    from vedette_cli.pods import Pod
    from vedette_workers.gateway.gateway import Gateway

GATEWAY_BEAT = 2.0
SETTLE_HERE = 2_000
"""ms after which what was stored can be read, on one machine: one clock, and who stores stamps as he commits."""
BUNDLE_INTERVAL_HERE = 0.25
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(level: int = logging.INFO) -> None:
    """Logs go to standard error; whoever started us keeps them."""
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr)


def _on_stop(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that may stand in the environment too: `--status-port` as VEDETTE_STATUS_PORT."""
    variable = "VEDETTE_" + names[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


_data = click.option("--data", "data", type=click.Path(exists=True, path_type=Path), help="Data folder, embedded.")
_backends = _option(
    "--backends",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="In a cluster: folder with addresses and credentials of RabbitMQ and Elasticsearch.",
)
_system = _option("--system", default="", help="In a cluster: the release's own namespace.")
_status_port = _option("--status-port", default=9090, show_default=True, help="In a cluster: probes and metrics.")
_port = click.option("--port", required=True, type=click.IntRange(1, 65535), help="To listen on.")
_host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")


def _pod(role: str, data: Path | None, backends: Path | None, namespace: str, status_port: int) -> Pod | None:
    """The pod that this worker is; None where it works on a data folder."""
    if (data is None) == (backends is None):
        raise click.UsageError("give either --data (on one machine) or --backends (in a cluster)")
    if backends is None:
        watch_parent()
        set_up_logging()
        return None
    if not namespace:
        raise click.UsageError("in a cluster, name the namespace")
    from vedette_cli.pods import Pod  # one machine needs none of it

    return Pod(role, namespace, backends, status_port)


@click.group()
def worker() -> None:
    """Run one worker in this process: on a data folder (--data), or as a pod of a cluster (--backends)."""


@worker.command()
@_data
@_backends
@_option("--namespace", required=True, help="Whose events.")
@_option(
    "--scratch",
    default=Path("/scratch"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="In a cluster: folder for what may be lost.",
)
@_option(
    "--claims",
    type=click.Path(file_okay=False, path_type=Path),
    help="In a cluster: folder with one mounted volume per claim.",
)
@click.option("--source", "only", multiple=True, help="In a cluster: serve this source and no others; may be repeated.")
@click.option("--except", "leave", multiple=True, help="In a cluster: serve all but this source; may be repeated.")
@_status_port
def pipeline(
    data: Path,
    backends: Path | None,
    namespace: str,
    scratch: Path,
    claims: Path | None,
    only: tuple[str, ...],
    leave: tuple[str, ...],
    status_port: int,
) -> None:
    """Consume, normalise, enrich, match and store the events of one namespace."""
    if pod := _pod("pipeline", data, backends, namespace, status_port):
        from vedette_cli import pods

        pods.pipeline(pod, scratch, claims, only, leave)
        return
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
@_backends
@_option("--namespace", "namespaces", required=True, multiple=True, help="Whose alerts; one machine can serve several.")
@_status_port
def responder(data: Path, backends: Path | None, namespaces: tuple[str, ...], status_port: int) -> None:
    """Open incidents for alerts whose rules ask for them."""
    if pod := _pod("responder", data, backends, namespaces[0], status_port):
        from vedette_cli import pods

        pods.responder(pod)
        return
    from vedette_workers.responder.worker import ResponderWorker, Settings  # only this worker needs it
    from vedette_workers.together import Together

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
@_backends
@_option("--namespace", "namespaces", required=True, multiple=True, help="Whose events; one machine can serve several.")
@_status_port
def scheduler(data: Path, backends: Path | None, namespaces: tuple[str, ...], status_port: int) -> None:
    """Run the scheduled searches of rules over what was stored."""
    if pod := _pod("scheduler", data, backends, namespaces[0], status_port):
        from vedette_cli import pods

        pods.scheduler(pod)
        return
    from vedette_workers.scheduler.worker import SchedulerWorker, Settings  # only this worker needs it
    from vedette_workers.together import Together

    paths = Data(data)
    stores = per_namespace(paths.store)
    brokers = per_namespace(paths.broker)
    workers = [
        SchedulerWorker(
            Settings(name, settle=SETTLE_HERE, bundle_interval=BUNDLE_INTERVAL_HERE), stores(name), brokers(name)
        )
        for name in namespaces
    ]
    made = Together(workers)
    _on_stop(made.stop)
    try:
        made.run()
    finally:
        for name in namespaces:
            brokers(name).close()
            stores(name).close()


@worker.command()
@_backends
@_system
@_status_port
def librarian(backends: Path | None, system: str, status_port: int) -> None:
    """Keep dead letters and drop days that are over, in a cluster; on one machine the pipeline does it."""
    pod = _pod("librarian", None, backends, system, status_port)
    assert pod is not None
    from vedette_cli import pods

    pods.librarian(pod)


@worker.command()
@_data
@_backends
@_system
@_host
@_port
@_status_port
def gateway(data: Path, backends: Path | None, system: str, host: str, port: int, status_port: int) -> None:
    """Take events over HTTP and answer when they are durable."""
    if pod := _pod("gateway", data, backends, system, status_port):
        from vedette_cli import pods

        pods.gateway(pod, host, port)
        return
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
@_backends
@_system
@_host
@_port
@_option("--public-url", default="", help="In a cluster: under which address people reach the pages.")
@_status_port
def web(
    data: Path, backends: Path | None, system: str, host: str, port: int, public_url: str, status_port: int
) -> None:
    """Serve the pages for responders."""
    if pod := _pod("web", data, backends, system, status_port):
        from vedette_cli.web_pod import serve_pod

        serve_pod(pod, host, port, public_url or f"http://localhost:{port}")
        return
    from vedette_cli.web import serve_pages  # only this worker needs it

    serve_pages(Data(data), host, port)
