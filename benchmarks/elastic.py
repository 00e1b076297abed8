"""What the store adds to bare Elasticsearch: CPU per event of `create_events` against bulks of the same bytes.

    python -m benchmarks.elastic [--events 20000] [--rounds 5]

Both sides write into the same kind of index (same mapping, same settings) of the same server, in the same run, in
turns, 500 events a request: from ready-made `NewEvent`s or, "bare", ready-made request bodies over one connection that
is kept open. The server's CPU is that of all its threads until everything can be searched.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import itertools
import shutil
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from tests.servers.elasticsearch import Elasticsearch, start

from benchmarks.procs import cpu
from benchmarks.store import QUERIES, read_events
from benchmarks.store import cpu as own_cpu
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elastic_documents import encode_event
from vedette_backends.store.elasticsearch import connect
from vedette_backends.store.protocol import NewEvent, Outcome, Store, TimeRange
from vedette_engine.query.lucene import parse
from vedette_engine.query.tree import MatchAll

BATCH = 500
NAMESPACE = "bench"
RETENTION = "30d"
DAY = 86_400_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    server = start(folder / "elasticsearch")
    try:
        admin = ElasticsearchAdmin(server.settings)
        admin.ensure_templates(NAMESPACE, [RETENTION])
        compare(server, read_events(options.events), options.rounds)
        admin.close()
    finally:
        server.stop(kill=True)
        shutil.rmtree(folder, ignore_errors=True)


def compare(server: Elasticsearch, events: Sequence[NewEvent], rounds: int) -> None:
    """Both ways in turns, each time into an index of its own: a day that nobody used."""
    connection = connect(server.settings)
    store = connection.store(NAMESPACE)
    days = itertools.count(1)
    figures: dict[str, list[tuple[float, float, float]]] = {"bare bulk": [], "create_events": []}
    # The first rounds pay for the server's compiler.
    for number in range(-3, rounds):
        for name, run in (("bare bulk", bare), ("create_events", stored)):
            shift = next(days) * DAY
            batch = [replace(event, ingested=event.ingested + shift) for event in events]
            found = run(server, store, batch)
            if number >= 0:
                figures[name].append(found)
    print(f"{len(events)} events a round, {rounds} rounds, µs per event (median)")
    print(f"{'':16}{'client CPU':>12}{'server CPU':>12}{'both':>10}{'lasted':>10}")
    sums = {}
    for name, measures in figures.items():
        client, served, lasted = (
            statistics.median(column) * 1e6 / len(events) for column in zip(*measures, strict=True)
        )
        sums[name] = statistics.median(one[0] + one[1] for one in measures) * 1e6 / len(events)
        print(f"{name:16}{client:12.1f}{served:12.1f}{sums[name]:10.1f}{lasted:10.1f}")
    print(f"create_events / bare bulk: {sums['create_events'] / sums['bare bulk']:.2f}")
    ask(store)
    connection.close()


def measured(server: Elasticsearch, store: Store, write: Callable[[], None]) -> tuple[float, float, float]:
    """CPU seconds here, there, and seconds."""
    here, there, begun = own_cpu(), cpu([server.pid]), time.perf_counter()
    write()
    here, lasted = own_cpu() - here, time.perf_counter() - begun
    store.count_events(MatchAll(), TimeRange())
    return here, cpu([server.pid]) - there, lasted


def stored(server: Elasticsearch, store: Store, events: Sequence[NewEvent]) -> tuple[float, float, float]:
    """By the store."""

    def write() -> None:
        for at in range(0, len(events), BATCH):
            results = store.create_events(RETENTION, events[at : at + BATCH])
            assert all(result.outcome is Outcome.CREATED for result in results)

    store.create_events(RETENTION, events[:0])
    return measured(server, store, write)


def bare(server: Elasticsearch, store: Store, events: Sequence[NewEvent]) -> tuple[float, float, float]:
    """By sending bytes, and looking at nothing but whether there was an error."""
    lines = [encode_event(event, event.ingested) for event in events]
    bodies = [b"".join(lines[at : at + BATCH]) for at in range(0, len(lines), BATCH)]
    day = time.strftime("%Y.%m.%d", time.gmtime(events[0].ingested // 1000))
    token = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    headers = {"authorization": f"Basic {token}", "content-type": "application/x-ndjson"}
    context = ssl.create_default_context(cafile=server.ca)
    connection = http.client.HTTPSConnection(server.host, server.http, context=context)
    target = f"/vedette-events.{NAMESPACE}.{RETENTION}.{day}/_bulk?filter_path=errors"

    def write() -> None:
        for body in bodies:
            connection.request("POST", target, body, headers)
            assert orjson.loads(connection.getresponse().read()) == {"errors": False}

    try:
        return measured(server, store, write)
    finally:
        connection.close()


def ask(store: Store) -> None:
    """Some questions over everything that was written."""
    total = store.count_events(MatchAll(), TimeRange())
    print(f"\nquestions over {total} events: ms for the first page, and hits")
    for text in QUERIES:
        begun = time.perf_counter()
        page = store.search_events(parse(text), TimeRange(), size=50)
        print(f"{(time.perf_counter() - begun) * 1e3:8.0f}  {page.total:8d}  {text}")


if __name__ == "__main__":
    main()
