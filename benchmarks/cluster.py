"""The cluster's way of an event on real servers: CPU of all processes per event, against bare bulk indexing.

    python -m benchmarks.cluster [--events N] [--rounds N]

Gateway, RabbitMQ (quorum queues, confirms, TLS), pipeline with SigmaHQ's Windows rules and Elasticsearch (TLS) run as
processes of this machine. "Bare" sends the documents that came out to the same server again, with the same mapping, as
ready-made bulk requests over one connection. Both sides take turns, each until what it wrote can be searched; the first
turns pay for the server's compiler and are not counted. Events and rules come from ../shared/data.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from tests.cluster.servers import write_settings
from tests.servers import elasticsearch, rabbitmq
from tests.servers.elasticsearch import Elasticsearch

from benchmarks.procs import cpu, resident, tree
from benchmarks.running import batches, free_port, send, wait, windows_events, windows_rules, write_manifests
from benchmarks.store import cpu as own_cpu
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.cluster.folder import FolderSync
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.settings import RabbitMQSettings
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection, connect
from vedette_backends.store.protocol import Store, TimeRange
from vedette_engine.query.tree import MatchAll
from vedette_operator.cache import ContentCache
from vedette_operator.controller import Controller
from vedette_operator.gateway_table import head_sink
from vedette_operator.publishing import Backends
from vedette_operator.tables import Tables

SYSTEM = "vedette-system"
NAMESPACE = "bench"
WARM = 10_000
WARM_ROUNDS = 4
BULK = 500

_STORED = re.compile(r"^vedette_pipeline_stored_events_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Round:
    """µs of CPU per event, of each process and of bare bulk, and events per second of the whole way."""

    spent: dict[str, float]
    floor: float
    rate: float

    @property
    def total(self) -> float:
        """Of all processes."""
        return sum(self.spent.values())

    @property
    def ratio(self) -> float:
        """What the issue sets the bar for."""
        return self.total / self.floor


def publish(folder: Path, data: Path, stores: Connection, broker: RabbitMQSettings) -> None:
    """What the operator does: judge, declare queues, publish the bundle and the gateway's table."""
    cluster = LocalCluster(data / "cluster.db")
    FolderSync(folder, cluster).sync()
    cache = ContentCache(data / "verdicts.db", "benchmark")
    backends = Backends(stores.store, lambda namespace: open_broker(broker, namespace))
    sink = head_sink(stores.store(SYSTEM))
    controller = Controller(cluster, backends, Tables(cluster, data, folder), cache, sink)
    controller.start()
    controller.close()
    cache.close()
    cluster.close()


@contextlib.contextmanager
def worker(*arguments: str, status: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`vedette worker …` until the block ends; `status`: port where it tells how it is."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["VEDETTE_LOG_LEVEL"] = "warning"
    command = [sys.executable, "-m", "vedette_cli", "worker", *arguments, "--status-port", str(status or free_port())]
    process = subprocess.Popen(command, env=env)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def stored(status: int) -> int:
    """How many events a pipeline has stored. Its metrics say so: a search would have the server make a segment."""
    with urllib.request.urlopen(f"http://127.0.0.1:{status}/metrics", timeout=10) as answer:
        return sum(int(float(number)) for number in _STORED.findall(answer.read().decode()))


def learned(store: Store) -> bool:
    """Whether the pipeline has built the engine for these events."""
    return any(beat.body.get("engine", {}).get("learned") for beat in store.heartbeats())


def report(rounds: Sequence[Round]) -> None:
    """Print the figures: medians of the rounds."""
    names = sorted(rounds[0].spent, key=lambda name: -rounds[0].spent[name])
    for name in names:
        print(f"  {name:14} {statistics.median(one.spent[name] for one in rounds):8.1f} µs/event")
    total, floor, ratio, rate = (
        statistics.median(figures)
        for figures in zip(*((one.total, one.floor, one.ratio, one.rate) for one in rounds), strict=True)
    )
    each = ", ".join(f"{one.ratio:.2f}" for one in rounds)
    print(f"  {'all':14} {total:8.1f} µs/event, bare bulk {floor:.1f}, ratio {ratio:.2f} (bar 2.5; rounds: {each})")
    print(f"  throughput     {rate:8.0f} events/s, sender on the same machine (for information: 10,000)")


def bare(server: Elasticsearch, documents: Sequence[tuple[bytes, bytes]]) -> float:
    """µs of CPU per document, here and there, for the same bytes into an index of the same template."""
    token = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    headers = {"authorization": f"Basic {token}", "content-type": "application/x-ndjson"}
    context = ssl.create_default_context(cafile=server.ca)
    connection = http.client.HTTPSConnection(server.host, server.http, context=context)
    index = f"/vedette-events.{NAMESPACE}.7d.1999.01.01"
    lines = [b'{"create":{"_id":' + name + b"}}\n" + source + b"\n" for name, source in documents]
    bodies = [b"".join(lines[at : at + BULK]) for at in range(0, len(lines), BULK)]
    server.ask("PUT", index)
    here, there = own_cpu(), cpu([server.pid])
    for body in bodies:
        connection.request("POST", f"{index}/_bulk?filter_path=errors", body, headers)
        assert orjson.loads(connection.getresponse().read()) == {"errors": False}
    server.ask("POST", f"{index}/_refresh")
    spent = own_cpu() - here + cpu([server.pid]) - there
    server.ask("DELETE", index)
    connection.close()
    return spent / len(documents) * 1e6


def documents_of(server: Elasticsearch, since: int) -> list[tuple[bytes, bytes]]:
    """(id, source) of the events that were ingested since a time (ms), as JSON, in the order of arrival."""
    order = [{field: "asc"} for field in ("vedette.ingested", "vedette.high", "vedette.low")]
    query = {"range": {"vedette.ingested": {"gte": since}}}
    body: dict[str, object] = {"size": 1000, "sort": order, "query": query, "track_total_hits": False}
    found: list[tuple[bytes, bytes]] = []
    while True:
        hits = server.ask("POST", f"/vedette-events.{NAMESPACE}.7d.*/_search", body)["hits"]["hits"]
        if not hits:
            return found
        found += [(orjson.dumps(hit["_id"]), orjson.dumps(hit["_source"])) for hit in hits]
        body["search_after"] = hits[-1]["sort"]


@dataclass(frozen=True, slots=True)
class Way:
    """The way of an event as it runs: gateway's port, pipeline's status port, the store, and all processes."""

    port: int
    status: int
    store: Store
    pids: dict[str, list[int]]

    def send(self, lines: list[bytes]) -> tuple[dict[str, float], float]:
        """Send events and await that they can be searched: µs of CPU per event, and events per second."""
        before = {name: cpu(group) for name, group in self.pids.items()}
        goal, begun = stored(self.status) + len(lines), time.monotonic()
        send(self.port, batches(lines))
        wait(_seldom(lambda: stored(self.status) >= goal), 300, "all events")
        self.store.count_events(MatchAll(), TimeRange())
        seconds = time.monotonic() - begun
        spent = {name: (cpu(group) - before[name]) / len(lines) * 1e6 for name, group in self.pids.items()}
        return spent, len(lines) / seconds


def _seldom(condition: Callable[[], bool]) -> Callable[[], bool]:
    def asked() -> bool:
        time.sleep(0.2)
        return condition()

    return asked


def one_round(server: Elasticsearch, way: Way, lines: list[bytes]) -> Round:
    """The way of these events, then bare bulk of what came out."""
    since = time.time_ns() // 1_000_000
    spent, rate = way.send(lines)
    documents = documents_of(server, since)
    assert len(documents) == len(lines), f"{len(documents)} of {len(lines)} events are stored"
    return Round(spent, bare(server, documents), rate)


def measure(root: Path, events: int, rounds: int) -> None:
    """One run."""
    rules = windows_rules()
    write_manifests(root / "manifests", rules)
    (root / "data").mkdir()
    server = elasticsearch.start(root / "elasticsearch")
    broker = rabbitmq.start(root / "rabbitmq")
    settings = write_settings(root / "settings", broker.settings, server.settings)
    admin = ElasticsearchAdmin(server.settings)
    admin.ensure_templates(SYSTEM, ())
    admin.ensure_templates(NAMESPACE, ("7d",))
    RabbitMQAdmin(broker.settings).ensure_vhost(NAMESPACE)
    stores = connect(server.settings)
    store = stores.store(NAMESPACE)
    publish(root / "manifests", root / "data", stores, broker.settings)
    lines = windows_events(WARM + (WARM_ROUNDS + rounds) * events)
    port, status = free_port(), free_port()
    common = ("--backends", str(settings))
    scratch = ("--scratch", str(root / "scratch"))
    with (
        worker("pipeline", *common, "--namespace", NAMESPACE, *scratch, status=status) as pipeline,
        worker("gateway", *common, "--system", SYSTEM, "--port", str(port)) as gateway,
    ):
        wait(store.heartbeats, 120, "the pipeline")
        head = store.head("bundle")
        wait(lambda: any(beat.body.get("bundle") == head for beat in store.heartbeats()), 120, "the bundle")
        wait(lambda: _knows(port), 60, "the gateway")
        pids = {
            "pipeline": tree(pipeline.pid),
            "gateway": tree(gateway.pid),
            "rabbitmq": tree(broker.pid),
            "elasticsearch": [server.pid],
        }
        way = Way(port, status, store, pids)
        way.send(lines[:WARM])
        wait(lambda: learned(store), 60, "the engine that is built for these events")
        # Each round gets events from all over the set.
        parts = [lines[at :: WARM_ROUNDS + rounds] for at in range(WARM, WARM + WARM_ROUNDS + rounds)]
        measured = [one_round(server, way, part) for part in parts][WARM_ROUNDS:]
        memory = resident(pipeline.pid)
    print(f"\ngateway → RabbitMQ → pipeline → Elasticsearch, {len(rules)} rules, {rounds} times {events} events")
    report(measured)
    print(f"  memory of the pipeline worker {memory:.0f} MB")
    stores.close()
    broker.stop(kill=True)
    server.stop(kill=True)


def _knows(port: int) -> bool:
    try:
        send(port, [b"{}"])
    except (OSError, SystemExit):
        return False
    return True


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="of a round")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        Path(folder).chmod(0o755)
        measure(Path(folder), arguments.events, arguments.rounds)


if __name__ == "__main__":
    main()
