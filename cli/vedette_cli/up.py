"""`vedette up`: everything on this machine, for one folder of manifests."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import click

from vedette_backends.cluster.folder import FolderSync
from vedette_backends.workloads.processes import ProcessWorkloads
from vedette_backends.workloads.protocol import Workload
from vedette_cli.data import DEFAULT_NAME, Data
from vedette_cli.web import UI_TOKEN
from vedette_cli.worker import set_up_logging
from vedette_operator.cache import ContentCache, code_stamp
from vedette_operator.controller import Backends, Controller
from vedette_operator.tables import Tables

log = logging.getLogger(__name__)

STEP = 0.25
GRACE = 15.0
START_DEADLINE = 60.0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", default=8420, show_default=True, type=click.IntRange(1, 65535), help="Of the pages.")
@click.option("--ingest-port", type=click.IntRange(1, 65535), help="Where events are taken.  [default: port + 1]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--data", type=click.Path(path_type=Path), help=f"Data folder.  [default: FOLDER/{DEFAULT_NAME}]")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def up(folder: Path, port: int, ingest_port: int | None, host: str, data: Path | None, verbose: bool) -> None:  # noqa: FBT001 - click's flag
    """Run Vedette for the manifests in FOLDER until Ctrl-C.

    Watches the folder: an edited rule is live within two seconds; one that does not load or fails its tests is
    reported, and its last good version stays in force.
    """
    set_up_logging(logging.INFO if verbose else logging.WARNING)
    paths = Data((data or folder / DEFAULT_NAME).resolve())
    lock = paths.lock()
    ingest_port = ingest_port or port + 1
    _check_ports(host, {"--port": port, "--ingest-port": ingest_port})
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    started = time.monotonic()
    supervisor = Supervisor(folder.resolve(), paths, host, port, ingest_port)
    try:
        supervisor.run(stop, started)
    finally:
        supervisor.close()
        del lock


class Supervisor:
    """The folder's watcher, the control loop and the workers of one data folder."""

    def __init__(self, folder: Path, data: Data, host: str, port: int, ingest_port: int) -> None:
        self._folder = folder
        self._data = data
        self._host = host
        self._port = port
        self._ingest_port = ingest_port
        self._cluster = data.cluster()
        self._sync = FolderSync(folder, self._cluster, exclude=[data.root])
        self._cache = ContentCache(data.cache / "verdicts.db", code_stamp())
        self._controller = Controller(
            self._cluster,
            Backends(data.store, data.broker),
            Tables(self._cluster, data.claims, folder),
            self._cache,
            data.gateway_file,
            _progress,
        )
        self._workloads = ProcessWorkloads([sys.executable, "-m", "vedette_cli"], data.logs, data.run)
        self._said: set[str] = set()

    def run(self, stop: threading.Event, started: float) -> None:
        """Work until `stop` is set."""
        _say(f"reading {self._folder}")
        # Workers start first: with a bundle of an earlier run they work while this one is still reading.
        self._workloads.reconcile(self._wanted(self._data.namespaces()))
        self._sync.sync()
        self._controller.start()
        self._tell_what_is_there()
        watcher = threading.Thread(target=self._sync.run, args=(stop,), name="folder", daemon=True)
        watcher.start()
        announced = False
        while not stop.is_set():
            self._workloads.reconcile(self._wanted(list(self._controller.spaces)))
            self._controller.step(STEP)
            self._tell_troubles()
            if not announced:
                announced = self._announce(started)
        _say("stopping: finishing what was accepted")
        self._workloads.stop(GRACE)
        watcher.join()

    def close(self) -> None:
        """End workers and release files."""
        self._workloads.stop(GRACE)
        self._controller.close()
        self._cache.close()
        self._cluster.close()

    def _wanted(self, namespaces: list[str]) -> list[Workload]:
        data = ["--data", str(self._data.root)]
        listen = ["--host", self._host, "--port"]
        return [
            Workload("gateway", ["worker", "gateway", *data, *listen, str(self._ingest_port)]),
            Workload("web", ["worker", "web", *data, *listen, str(self._port)]),
            *(
                Workload(f"pipeline-{namespace}", ["worker", "pipeline", *data, "--namespace", namespace])
                for namespace in sorted(set(namespaces))
            ),
        ]

    def _tell_what_is_there(self) -> None:
        counts = Counter[str]()
        for space in self._controller.spaces.values():
            for kind, known in space.objects.items():
                counts[kind] += len(known)
                for item in known.values():
                    for problem in item.verdict.problems:
                        click.echo(f"  ✗ {problem.at(object=str(item.object.key), file=item.object.origin)}", err=True)
        for problem in self._cluster.problems():
            click.echo(f"  ✗ {problem}", err=True)
        _say(f"{counts['LogSource']} sources, {counts['Enrichment']} enrichments, {counts['AlertRule']} rules")

    def _tell_troubles(self) -> None:
        for status in self._workloads.status():
            if status.problem and status.problem not in self._said:
                self._said.add(status.problem)
                click.echo(f"  ✗ {status.name}: {status.problem} (log: {self._data.logs / status.name}.log)", err=True)

    def _announce(self, started: float) -> bool:
        if not all(_answers(self._host, port) for port in (self._port, self._ingest_port)):
            if time.monotonic() - started > START_DEADLINE and "late" not in self._said:
                self._said.add("late")
                _say(f"not up after {START_DEADLINE:.0f} s; the logs in {self._data.logs} say why")
            return False
        token = self._data.secret(UI_TOKEN)
        _say(f"ready after {time.monotonic() - started:.1f} s")
        click.echo(f"\n  open    http://{self._host}:{self._port}/?token={token}")
        click.echo(
            f"  events  http://{self._host}:{self._ingest_port}/events  (Authorization: Bearer <a source's token>)"
        )
        click.echo(f"  demo    vedette demo --dir {self._folder} --url http://{self._host}:{self._ingest_port}\n")
        sys.stdout.flush()
        return True


def _check_ports(host: str, ports: dict[str, int]) -> None:
    for option, port in ports.items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise click.ClickException(f"{host}:{port} cannot be used ({error.strerror}); choose {option}") from None


def _answers(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _say(text: str) -> None:
    click.echo(f"vedette: {text}", err=True)


def _progress(done: int, everything: int) -> None:
    _say(f"judging rules {done}/{everything}")
