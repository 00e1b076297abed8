"""The whole product on one machine: CPU per event against bare tantivy, latency to the page, start, memory.

    python benchmarks/whole.py [--events N] [--rules N] [--only cpu|latency|start]

Events and rules come from ../shared/data (OTRF's Windows events, SigmaHQ's Windows rules).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from procs import cpu, resident, tree

from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, TimeRange
from vedette_engine.query.tree import MatchAll

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
    seconds: float

    @property
    def space(self) -> Path:
        return self.folder / ".vedette" / "ns" / "bench"

    def pipeline_pid(self) -> int:
        return int((self.folder / ".vedette" / "run" / "pipeline-bench.pid").read_text())

    def wait_until_loaded(self, since: int) -> None:
        """Until a pipeline that was started after `since` (ms) reports the bundle that the head names."""
        wait((self.space / "state.db").exists, 120, "the store")
        store = open_store(self.space, writer=False)

        def loaded() -> bool:
            head = store.head("bundle")
            return any(
                beat.body.get("bundle") == head and beat.body["started"] > since for beat in store.heartbeats()
            )

        wait(loaded, 120, "the bundle")
        store.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(condition, seconds: float, what: str) -> None:  # type: ignore[no-untyped-def]  # any callable
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def vedette(folder: Path) -> Iterator[Running]:
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
        running = Running(folder, port, process, token, 0.0)
        running.wait_until_loaded(since)
        running.seconds = time.monotonic() - started
        running.ingest = ingest  # type: ignore[attr-defined]  # only the senders need it
        yield running
    finally:
        process.terminate()
        process.wait(60)


def send(port: int, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    for body in bodies:
        while True:
            connection.request("POST", "/events", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status < 300:
                break
            if answer.status not in (429, 503):
                raise SystemExit(f"the gateway answered {answer.status}")
            time.sleep(float(answer.headers.get("Retry-After", "1")))
    connection.close()


def batches(lines: list[bytes]) -> list[bytes]:
    return [b"\n".join(lines[start : start + BATCH]) for start in range(0, len(lines), BATCH)]


def measure_cpu(rules: list[dict[str, str]], lines: list[bytes], root: Path) -> None:
    """CPU of all processes per event, and of bare insertion of the documents that came out."""
    folder = root / "cpu"
    write_manifests(folder, rules)
    warm, lines = lines[:5000], lines[5000:]
    with vedette(folder) as running:
        reader = open_store(running.space, writer=False)
        send(running.ingest, batches(warm))  # type: ignore[attr-defined]  # set above
        wait(lambda: reader.count_events(MatchAll(), TimeRange()) >= len(warm), 120, "the warm-up")
        pids = tree(running.process.pid)
        before, begun = {pid: cpu([pid]) for pid in pids}, time.monotonic()
        send(running.ingest, batches(lines))  # type: ignore[attr-defined]  # set above
        wait(lambda: reader.count_events(MatchAll(), TimeRange()) >= len(warm) + len(lines), 300, "all events")
        seconds = time.monotonic() - begun
        names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ") for pid in pids}
        spent = {pid: cpu([pid]) - before[pid] for pid in pids}
        memory = resident(running.pipeline_pid())
        documents = []
        after = None
        while len(documents) < len(lines):
            page = reader.search_events(MatchAll(), TimeRange(), size=5000, after=after)
            documents += [
                NewEvent(f"{index:032x}", event.ingested, event.time, "", event.document, False)
                for index, event in enumerate(page.events, len(documents))
            ]
            after = page.next
            if after is None:
                break
        reader.close()
    bare = bare_insertion(documents[: len(lines)], len(lines) / max(seconds, 0.001) * 0.25, root / "bare")
    total = sum(spent.values()) / len(lines) * 1e6
    print(f"\nvedette up, {len(rules)} SigmaHQ Windows rules, {len(lines)} Windows events")
    for pid, used in sorted(spent.items(), key=lambda item: -item[1]):
        name = (
            "gateway"
            if "gateway" in names[pid]
            else "pipeline"
            if "pipeline" in names[pid]
            else "pages"
            if " web " in names[pid]
            else "supervisor"
        )
        print(f"  {name:12} {used / len(lines) * 1e6:8.1f} µs/event")
    print(f"  {'all':12} {total:8.1f} µs/event   bare tantivy {bare:.1f} µs/event   ratio {total / bare:.2f} (bar 2.0)")
    print(f"  throughput   {len(lines) / seconds:8.0f} events/s (sender on the same machine)")
    print(f"  memory of the pipeline worker {memory:.0f} MB (bar 250)")


def bare_insertion(documents: list[NewEvent], per_commit: float, folder: Path) -> float:
    """µs of CPU per document of tantivy alone: same schema, tokenizers and number of documents per commit."""
    from store import bare_cpu  # noqa: PLC0415 - beside this file

    return float(bare_cpu(documents, max(1, int(per_commit)), folder))


def measure_start(rules: list[dict[str, str]], root: Path, number: int) -> None:
    """Seconds until the pipeline reports all rules, with empty and with warm caches."""
    folder = root / "start"
    write_manifests(folder, list(itertools.islice(itertools.cycle(rules), number)))
    with vedette(folder) as running:
        cold = running.seconds
    with vedette(folder) as running:
        warm = running.seconds
        memory = resident(running.pipeline_pid())
    print(
        f"\nstart with {number} rules: cold {cold:.1f} s (bar 12), warm {warm:.1f} s (bar 2); worker {memory:.0f} MB (bar 250)"
    )


def measure_latency(rules: list[dict[str, str]], lines: list[bytes], root: Path, rate: int, seconds: int) -> None:
    """Event at the gateway → alert on the page's stream, at a steady rate."""
    folder = root / "latency"
    write_manifests(folder, rules)
    marked = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "AlertRule",
        "metadata": {"name": "marked", "namespace": "bench"},
        "spec": {
            "severity": "high",
            "summary": "mark {CommandLine}",
            "sigma": "title: Marked\nlogsource: {product: windows, category: process_creation}\n"
            "detection: {sel: {CommandLine|startswith: 'latency-mark-'}, condition: sel}\n",
        },
    }
    (folder / "marked.yaml").write_text(yaml.safe_dump(marked))
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    with vedette(folder) as running:
        stop = threading.Event()
        listener = threading.Thread(target=_listen, args=(running, seen, stop), daemon=True)
        listener.start()
        time.sleep(1)
        _pace(running.ingest, lines, rate, seconds, sent)  # type: ignore[attr-defined]  # set above
        wait(lambda: len(seen) >= len(sent), 30, f"all alerts ({len(seen)} of {len(sent)} came)")
        stop.set()
    delays = sorted((seen[mark] - sent[mark]) * 1000 for mark in sent)
    p99 = delays[int(len(delays) * 0.99) - 1]
    print(
        f"\nevent at the gateway → alert on the page, {rate} events/s: {len(delays)} alerts, "
        f"median {statistics.median(delays):.0f} ms, p99 {p99:.0f} ms, worst {delays[-1]:.0f} ms (bar: p99 1,000)"
    )


def _pace(port: int, lines: list[bytes], rate: int, seconds: int, sent: dict[str, float]) -> None:
    """A request every 50 ms; one event in it is marked now and then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    dice = random.Random(1)
    pool = itertools.cycle(lines)
    begun = time.monotonic()
    for tick in range(seconds * 20):
        time.sleep(max(0.0, begun + tick / 20 - time.monotonic()))
        some = list(itertools.islice(pool, rate // 20))
        if tick % 4 == 0:
            mark = f"latency-mark-{tick}"
            some[dice.randrange(len(some))] = orjson.dumps(
                {
                    "Channel": "Microsoft-Windows-Sysmon/Operational",
                    "EventID": 1,
                    "CommandLine": mark,
                    "Image": "C:\\x.exe",
                }
            )
            sent[mark] = time.monotonic()
        connection.request("POST", "/events", b"\n".join(some), headers)
        connection.getresponse().read()


def _listen(running: Running, seen: dict[str, float], stop: threading.Event) -> None:
    """The alerts page's own stream, signed in as a person would be."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request("GET", f"/?token={running.token}")
    answer = connection.getresponse()
    answer.read()
    cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
    headers = {"Cookie": cookie}
    connection.request("GET", "/live?ns=bench", headers={**headers, "Accept": "text/event-stream"})
    stream = connection.getresponse()
    if stream.status != 200:
        raise SystemExit(f"the stream answered {stream.status}")
    page = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    while not stop.is_set():
        line = stream.readline()
        if not line:
            return
        if not line.startswith(b"event: alerts"):
            continue
        # What the page does when it is told: fetch the list. An alert counts as seen when it stands there.
        page.request("GET", "/alerts?ns=bench", headers=headers)
        text = page.getresponse().read().decode("utf-8", "replace")
        start = text.find("latency-mark-")
        while start >= 0:
            mark = "latency-mark-" + "".join(itertools.takewhile(str.isdigit, text[start + 13 :]))
            seen.setdefault(mark, time.monotonic())
            start = text.find("latency-mark-", start + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=65_000)
    parser.add_argument("--rules", type=int, default=3000, help="for the start")
    parser.add_argument("--only", choices=["cpu", "latency", "start"])
    arguments = parser.parse_args()
    rules = windows_rules()
    lines = windows_events(arguments.events)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only in (None, "cpu"):
            measure_cpu(rules, lines, Path(folder))
        if arguments.only in (None, "latency"):
            measure_latency(rules, lines, Path(folder), 1000, 20)
        if arguments.only in (None, "start"):
            measure_start(rules, Path(folder), arguments.rules)


main()
