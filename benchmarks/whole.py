"""The whole product on one machine: CPU per event against bare tantivy, latency to the page, start, memory.

    python -m benchmarks.whole [--events N] [--rules N] [--only cpu|latency|start]

Events and rules come from ../shared/data (OTRF's Windows events, SigmaHQ's Windows rules).
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import orjson
import yaml

from benchmarks.procs import cpu, resident, tree
from benchmarks.running import (
    TOKEN,
    Running,
    batches,
    send,
    vedette,
    wait,
    windows_events,
    windows_rules,
    write_manifests,
)
from benchmarks.store import bare, measure
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, Store, TimeRange
from vedette_engine.query.tree import MatchAll
from vedette_workers.pipeline.worker import FLUSH


def measure_cpu(rules: list[dict[str, str]], lines: list[bytes], root: Path) -> None:
    """CPU of all processes per event, and of bare insertion of the documents that came out."""
    folder = root / "cpu"
    write_manifests(folder, rules)
    warm, lines = lines[:10_000], lines[10_000:]
    with vedette(folder) as running:
        reader = open_store(running.space, writer=False)
        send(running.ingest, batches(warm))
        wait(lambda: reader.count_events(MatchAll(), TimeRange()) >= len(warm), 120, "the warm-up")
        wait(lambda: _learned(reader), 60, "the engine that is built for these events")
        pids = tree(running.process.pid)
        before, begun = {pid: cpu([pid]) for pid in pids}, time.monotonic()
        send(running.ingest, batches(lines))
        wait(lambda: reader.count_events(MatchAll(), TimeRange()) >= len(warm) + len(lines), 300, "all events")
        seconds = time.monotonic() - begun
        names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ") for pid in pids}
        spent = {pid: cpu([pid]) - before[pid] for pid in pids}
        memory = resident(running.pipeline_pid())
        documents = read_back(reader, len(lines))
        reader.close()
    # As many documents per commit as the pipeline had in its interval.
    alone, _, _ = measure(bare(documents, int(len(lines) / seconds * FLUSH)))
    floor = alone / len(documents) * 1e6
    total = sum(spent.values()) / len(lines) * 1e6
    print(f"\nvedette up, {len(rules)} SigmaHQ Windows rules, {len(lines)} Windows events")
    for pid, used in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {_role(names[pid]):12} {used / len(lines) * 1e6:8.1f} µs/event")
    print(f"  {'all':12} {total:8.1f} µs/event, bare tantivy {floor:.1f}, ratio {total / floor:.2f} (bar 2.0)")
    print(f"  throughput   {len(lines) / seconds:8.0f} events/s, sender on the same machine (for information: 8,000)")
    print(f"  memory of the pipeline worker {memory:.0f} MB (bar 250)")


def _learned(reader: Store) -> bool:
    return any(beat.body.get("engine", {}).get("learned") for beat in reader.heartbeats())


def read_back(reader: Store, number: int) -> list[NewEvent]:
    """The stored documents, as new ones."""
    found: list[NewEvent] = []
    after: str | None = None
    while len(found) < number:
        page = reader.search_events(MatchAll(), TimeRange(), size=5000, after=after)
        found += [
            NewEvent(f"{index:032x}", event.ingested, event.time, f"{index:032x}", event.document, maybe_repeat=False)
            for index, event in enumerate(page.events, len(found))
        ]
        after = page.next
        if after is None:
            break
    return found[:number]


def _role(command: str) -> str:
    roles = {"worker pipeline": "pipeline", "worker gateway": "gateway", "worker web": "pages"}
    return next((role for words, role in roles.items() if words in command), "supervisor")


def measure_start(rules: list[dict[str, str]], root: Path, number: int) -> None:
    """Seconds until the pipeline reports all rules, with empty and with warm caches."""
    folder = root / "start"
    write_manifests(folder, list(itertools.islice(itertools.cycle(rules), number)))
    with vedette(folder) as running:
        cold = running.seconds
    with vedette(folder) as running:
        warm = running.seconds
        memory = resident(running.pipeline_pid())
    print(f"\nstart with {number} rules: cold {cold:.1f} s (bar 12), warm {warm:.1f} s (bar 2)")
    print(f"  memory of the pipeline worker {memory:.0f} MB (bar 250)")


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
        _pace(running.ingest, lines, rate, seconds, sent)
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
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=90_000)
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


if __name__ == "__main__":
    main()
