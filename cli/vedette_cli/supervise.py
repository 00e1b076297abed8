"""The supervisor behind `vedette up`: watches the folder, runs the control loop, keeps the workers running."""

from __future__ import annotations

import gc
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
from vedette_cli.data import UI_TOKEN, Data
from vedette_cli.fleet import Addresses, wanted
from vedette_operator.cache import ContentCache, code_stamp
from vedette_operator.controller import Controller
from vedette_operator.gateway_table import file_sink
from vedette_operator.places import locate
from vedette_operator.publishing import Backends
from vedette_operator.tables import Tables

STEP = 0.5
FIRST_STEPS = 0.05
GRACE = 15.0
START_DEADLINE = 60.0


class Supervisor:
    """The folder's watcher, the control loop and the workers of one data folder."""

    def __init__(self, folder: Path, data: Data, addresses: Addresses, workloads: ProcessWorkloads) -> None:
        self._folder = folder
        self._data = data
        self._addresses = addresses
        self._workloads = workloads
        self._cluster = data.cluster()
        self._sync = FolderSync(folder, self._cluster, exclude=[data.root])
        self._cache = ContentCache(data.cache / "verdicts.db", code_stamp())
        self._controller = Controller(
            self._cluster,
            Backends(data.store, data.broker),
            Tables(self._cluster, data.claims, folder),
            self._cache,
            file_sink(data.gateway_file),
            progress=_progress,
        )
        self._said: set[str] = set()

    def run(self, stop: threading.Event, started: float) -> None:
        """Work until `stop` is set."""
        _say(f"reading {self._folder}")
        gc.disable()  # thousands of objects are read that stay: looking for garbage among them costs seconds
        self._sync.sync()
        self._controller.start()
        gc.enable()
        gc.freeze()
        self._tell_what_is_there()
        watcher = threading.Thread(target=self._sync.run, args=(stop,), name="folder", daemon=True)
        watcher.start()
        announced = False
        while not stop.is_set():
            spaces = self._controller.spaces
            searching = [name for name, space in spaces.items() if space.searches]
            self._workloads.reconcile(wanted(self._data, self._addresses, spaces, searching))
            self._controller.step(STEP if announced else FIRST_STEPS)
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

    def _tell_what_is_there(self) -> None:
        counts = Counter[str]()
        for space in self._controller.spaces.values():
            for kind, known in space.objects.items():
                counts[kind] += len(known)
                for item in known.values():
                    for problem in item.verdict.problems:
                        click.echo(f"  ✗ {locate(problem, item.object, self._folder)}", err=True)
        for problem in self._cluster.problems():
            click.echo(f"  ✗ {problem}", err=True)
        _say(f"{counts['LogSource']} sources, {counts['Enrichment']} enrichments, {counts['AlertRule']} rules")

    def _tell_troubles(self) -> None:
        for status in self._workloads.status():
            if status.problem and status.problem not in self._said:
                self._said.add(status.problem)
                click.echo(f"  ✗ {status.name}: {status.problem} (log: {self._data.logs / status.name}.log)", err=True)

    def _announce(self, started: float) -> bool:
        # The gateway answers before it knows any source; what is sent then is refused.
        if not (_answers(f"{self._addresses.pages}/healthz") and _answers(f"{self._addresses.ingest}/readyz")):
            if time.monotonic() - started > START_DEADLINE and "late" not in self._said:
                self._said.add("late")
                _say(f"not up after {START_DEADLINE:.0f} s; the logs in {self._data.logs} say why")
            return False
        token = self._data.secret(UI_TOKEN)
        pages, ingest = self._addresses.pages, self._addresses.ingest
        _say(f"ready after {time.monotonic() - started:.1f} s")
        click.echo(f"\n  open    {pages}/?token={token}")
        click.echo(f"  events  {ingest}/events  (Authorization: Bearer <the token of a source>)")
        click.echo(f"  demo    vedette demo --dir {self._folder} --url {ingest}\n")
        sys.stdout.flush()
        return True


def _answers(url: str) -> bool:
    place = url.removeprefix("http://")
    try:
        with urllib.request.urlopen(f"http://{place}", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _say(text: str) -> None:
    click.echo(f"vedette: {text}", err=True)


def _progress(done: int, everything: int) -> None:
    _say(f"judging rules {done}/{everything}")
