"""What the embedded store adds to bare tantivy: CPU per event of `create_events` against inserting the same documents.

    python benchmarks/store.py [--events 20000] [--rounds 3]

Both sides use the same schema, tokenizers, heap and commit interval, in the same run, in turns; all threads of the
process count, merges included. "bare" gets the terms ready-made and hands them to tantivy as its Python interface wants
them: what any user of tantivy spends.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from vedette_backends.store.embedded import DEFAULT_HEAP, open_store
from vedette_backends.store.partition import PartitionWriter, make_document
from vedette_backends.store.protocol import NewEvent, TimeRange
from vedette_backends.store.tokens import terms_of
from vedette_engine.normalise.document import to_document
from vedette_engine.normalise.windows import to_ecs
from vedette_engine.query.lucene import parse

DATA = Path(__file__).parents[2] / "shared" / "data" / "windows" / "events_otrf.jsonl.gz"
T0 = 1_795_348_800_000
QUERIES = (
    "*",
    "host.name:workstation6.mordor.local",
    "process.command_line:*powershell*",
    "powershell",
    '"microsoft windows sysmon"',
    "destination.ip:10.0.0.0/8",
    "winlog.event_data.GrantedAccess:0x1410",
    "process.pid:>5000",
    "NOT winlog.channel:security",
)


def read_events(amount: int) -> list[NewEvent]:
    """Windows events as the pipeline hands them over, about 1 KB each."""
    if not DATA.exists():
        sys.exit(f"{DATA} is not here: the benchmark measures with real Windows events")
    events: list[NewEvent] = []
    with gzip.open(DATA) as lines:
        for number, line in enumerate(islice(lines, amount)):
            event = to_ecs(orjson.loads(line)["event"])
            time_ms = T0 + number
            event |= {"@timestamp": time_ms, "event.ingested": time_ms, "event.dataset": "windows.sysmon"}
            events.append(NewEvent(f"{number * 7919:032x}", time_ms, time_ms, f"{number:032x}", to_document(event)))
    return events


def cpu() -> float:
    """Seconds of CPU of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(run: Callable[[Path], None]) -> tuple[float, float, int]:
    """CPU seconds, seconds, bytes on disk."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    try:
        spent, started = cpu(), time.perf_counter()
        run(folder)
        spent, lasted = cpu() - spent, time.perf_counter() - started
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    return spent, lasted, size


def bare(events: Sequence[NewEvent], batch: int) -> Callable[[Path], None]:
    """Nothing but tantivy: its documents made from ready terms, added, committed."""
    ready = [(event, terms_of(event.document)) for event in events]

    def run(folder: Path) -> None:
        writer = PartitionWriter(folder / "index", DEFAULT_HEAP)
        for start in range(0, len(ready), batch):
            for event, terms in ready[start : start + batch]:
                writer.add_document(make_document(event, terms, T0))
            writer.commit([T0], T0)
        writer.close()

    return run


def store(events: Sequence[NewEvent], batch: int) -> Callable[[Path], None]:
    """Through the front door."""

    def run(folder: Path) -> None:
        opened = open_store(folder, writer=True)
        for start in range(0, len(events), batch):
            opened.create_events("30d", events[start : start + batch])
        opened.close()

    return run


def compare(events: Sequence[NewEvent], batch: int, rounds: int) -> None:
    """One line of the table per way of writing."""
    promised = [replace(event, maybe_repeat=False) for event in events]
    ways = {
        "bare tantivy": bare(events, batch),
        "create_events, ids looked up": store(events, batch),
        "create_events, ids promised new": store(promised, batch),
    }
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            found[name].append(measure(run))
    base = min(spent for spent, _, _ in found["bare tantivy"])
    for name, measured in found.items():
        spent = min(cpu_seconds for cpu_seconds, _, _ in measured)
        wall = statistics.median(lasted for _, lasted, _ in measured)
        size = measured[0][2] / len(events)
        micros, rate = spent / len(events) * 1e6, len(events) / wall
        print(f"{batch:>6} {name:<32} {micros:>8.1f} {spent / base:>7.2f} {rate:>10.0f} {size:>10.0f}")


def ask(events: Sequence[NewEvent]) -> None:
    """Time of typical questions."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    opened = open_store(folder, writer=True)
    try:
        for start in range(0, len(events), 2000):
            opened.create_events("30d", events[start : start + 2000])
        print(f"\n{'question over ' + str(len(events)) + ' events':<48} {'matches':>8} {'page ms':>8} {'top ms':>8}")
        for text in QUERIES:
            query: Any = parse(text)
            page = [time.perf_counter()]
            for _ in range(5):
                total = opened.search_events(query, TimeRange()).total
                page.append(time.perf_counter())
            opened.top_values(query, TimeRange(), "host.name")
            top = time.perf_counter() - page[-1]
            print(f"{text:<48} {total:>8} {(page[-1] - page[0]) / 5 * 1e3:>8.2f} {top * 1e3:>8.2f}")
    finally:
        opened.close()
        shutil.rmtree(folder)


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    events = read_events(options.events)
    mean = sum(len(orjson.dumps(event.document)) for event in events) / len(events)
    leaves = sum(len(event.document) + len(event.document.get("vedette.other", ())) for event in events) / len(events)
    print(f"{len(events)} Windows events, mean {mean:.0f} bytes as JSON, {leaves:.0f} fields; best of {options.rounds}")
    print(f"{'batch':>6} {'way':<32} {'CPU µs':>8} {'ratio':>7} {'events/s':>10} {'bytes/ev':>10}")
    for batch in (500, 1000, 2000):
        compare(events, batch, options.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, all events held: {peak:.0f} MB")
    ask(events)


if __name__ == "__main__":
    main()
