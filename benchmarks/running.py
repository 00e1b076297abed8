"""`vedette up` under measurement: manifests, real events, a sender, and the processes that run."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

from vedette_backends.store.embedded import open_store

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TOKEN = "benchmark-token-0123456789abcdef"
BATCH = 500

SOURCE = f"""
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: bench}}
stringData: {{token: {TOKEN}}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: windows, namespace: bench}}
spec:
  description: Windows events in NXLog's flat shape
  input: {{http: {{tokenSecretRef: {{name: token, key: token}}}}}}
  format: windowsEvent
  dataset: windows.bench
  logsource: {{product: windows}}
  limits: {{eventsPerSecond: 1000000, burst: 1000000}}
  retention: {{search: 7d}}
"""


def windows_rules() -> list[dict[str, str]]:
    """SigmaHQ's Windows rules of the development set."""
    with gzip.open(DATA / "sigma" / "rules.jsonl.gz", "rt") as file:
        rules = [json.loads(line) for line in file]
    return [rule for rule in rules if rule["logsource"].get("product") == "windows"]


def write_manifests(folder: Path, rules: list[dict[str, str]]) -> None:
    """One file per rule, as people keep them."""
    folder.mkdir(parents=True)
    (folder / "source.yaml").write_text(SOURCE)
    for number, rule in enumerate(rules):
        manifest = {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "AlertRule",
            "metadata": {"name": f"r{number}", "namespace": "bench"},
            "spec": {"sigma": rule["yaml"]},
        }
        (folder / f"r{number:05}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))


def windows_events(number: int) -> list[bytes]:
    """Evenly strided over the set, each as one JSON line."""
    with gzip.open(DATA / "windows" / "events_otrf.jsonl.gz", "rb") as file:
        lines = [orjson.dumps(orjson.loads(line)["event"]) for line in file]
    stride = max(1, len(lines) // number)
    picked = lines[::stride][:number]
    return list(itertools.islice(itertools.cycle(picked), number))


@dataclass
class Running:
    """`vedette up` for a folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    token: str
    ingest: int
    seconds: float = 0.0

    @property
    def space(self) -> Path:
        """The namespace's data."""
        return self.folder / ".vedette" / "ns" / "bench"

    def pipeline_pid(self) -> int:
        """Process id of the pipeline worker."""
        return int((self.folder / ".vedette" / "run" / "pipeline-bench.pid").read_text())

    def wait_until_loaded(self, since: int) -> None:
        """Until a pipeline that was started after `since` (ms) reports the bundle that the head names."""
        wait((self.space / "state.db").exists, 120, "the store")
        store = open_store(self.space, writer=False)

        def loaded() -> bool:
            head = store.head("bundle")
            return any(beat.body.get("bundle") == head and beat.body["started"] > since for beat in store.heartbeats())

        wait(loaded, 120, "the bundle")
        store.close()


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return as soon as the condition holds; give up after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def vedette(folder: Path) -> Iterator[Running]:
    """`vedette up FOLDER` until the block ends; ready when the pipeline reports the newest bundle."""
    port = free_port()
    started = time.monotonic()
    since = time.time_ns() // 1_000_000
    # A user's machine keeps compiled modules; some build machines are told not to.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vedette_cli",
            "up",
            str(folder),
            "--port",
            str(port),
            "--ingest-port",
            str(free_port()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    try:
        assert process.stdout is not None
        token, ingest = "", 0
        for raw in process.stdout:
            line = raw.decode()
            if "?token=" in line:
                token = line.rpartition("=")[2].strip()
            if "/events" in line:
                ingest = int(line.partition("127.0.0.1:")[2].partition("/")[0])
                break
        running = Running(folder, port, process, token, ingest)
        running.wait_until_loaded(since)
        running.seconds = time.monotonic() - started
        yield running
    finally:
        process.terminate()
        process.wait(60)


def deliver(connection: http.client.HTTPConnection, body: bytes) -> None:
    """One request, repeated until it is accepted."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    while True:
        connection.request("POST", "/events", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status < 300:
            return
        if answer.status not in (429, 503):
            raise SystemExit(f"the gateway answered {answer.status}")
        time.sleep(float(answer.headers.get("Retry-After", "1")))


def send(port: int, bodies: list[bytes]) -> None:
    """Requests one after the other, each until it is accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in bodies:
        deliver(connection, body)
    connection.close()


def batches(lines: list[bytes]) -> list[bytes]:
    """Bodies of requests."""
    return [b"\n".join(lines[start : start + BATCH]) for start in range(0, len(lines), BATCH)]
