"""`vedette up`: everything on this machine, for one folder of manifests."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import click

from vedette_backends.errors import BackendError
from vedette_backends.workloads.processes import ProcessWorkloads
from vedette_cli.data import DEFAULT_NAME, Data
from vedette_cli.fleet import Addresses, wanted
from vedette_cli.worker import set_up_logging

GRACE = 15.0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", default=8420, show_default=True, type=click.IntRange(1, 65535), help="Of the pages.")
@click.option("--ingest-port", type=click.IntRange(1, 65535), help="Where events are taken.  [default: port + 1]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--data", type=click.Path(path_type=Path), help=f"Data folder.  [default: FOLDER/{DEFAULT_NAME}]")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def up(folder: Path, port: int, ingest_port: int | None, host: str, data: Path | None, verbose: bool) -> None:
    """Run Vedette for the manifests in FOLDER until Ctrl-C.

    Watches the folder: an edited rule is live within two seconds; one that does not load or fails its tests is
    reported, and its last good version stays in force.
    """
    set_up_logging(logging.INFO if verbose else logging.WARNING)
    paths = Data((data or folder / DEFAULT_NAME).resolve())
    lock = paths.lock()
    ingest_port = ingest_port or port + 1
    if ingest_port > 65_535:
        raise click.UsageError(f"there is no port {ingest_port}; name one with --ingest-port")
    _check_ports(host, {"--port": port, "--ingest-port": ingest_port})
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    started = time.monotonic()
    addresses = Addresses(host, port, ingest_port)
    workloads = ProcessWorkloads([sys.executable, "-m", "vedette_cli"], paths.logs, paths.run)
    # Workers start first: with the bundle of an earlier run they work while this process is still importing.
    workloads.reconcile(wanted(paths, addresses, paths.namespaces()))
    from vedette_cli.supervise import Supervisor  # the compiler takes a while to import

    try:
        supervisor = Supervisor(folder.resolve(), paths, addresses, workloads)
        try:
            supervisor.run(stop, started)
        finally:
            supervisor.close()
    except BackendError as error:
        raise click.ClickException(f"{paths.root} cannot be used: {error}") from error
    finally:
        workloads.stop(GRACE)
        os.close(lock)


def _check_ports(host: str, ports: dict[str, int]) -> None:
    for option, port in ports.items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise click.ClickException(
                    f"{host}:{port} cannot be used ({error.strerror}); choose {option}"
                ) from None
