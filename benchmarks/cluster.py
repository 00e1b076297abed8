"""The cluster's way of an event on real servers: CPU of all processes per event, against bare bulk indexing.

    python -m benchmarks.cluster [--events N]

Gateway, RabbitMQ (quorum queues, confirms, TLS), pipeline with SigmaHQ's Windows rules and Elasticsearch (TLS) run as
processes of this machine. "Bare" sends the documents that came out to the same server again, with the same mapping, as
ready-made bulk requests over one connection. Events and rules come from ../shared/data.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
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
BULK = 500


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
def worker(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`vedette worker …` until the block ends."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["VEDETTE_LOG_LEVEL"] = "warning"
    command = [sys.executable, "-m", "vedette_cli", "worker", *arguments, "--status-port", str(free_port())]
    process = subprocess.Popen(command, env=env)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def learned(store: Store) -> bool:
    """Whether the pipeline has built the engine for these events."""
    return any(beat.body.get("engine", {}).get("learned") for beat in store.heartbeats())


def report(spent: Mapping[str, float], number: int, floor: float, seconds: float) -> None:
    """Print the figures; `floor` in µs per event."""
    for name, used in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:14} {used / number * 1e6:8.1f} µs/event")
    total = sum(spent.values()) / number * 1e6
    print(f"  {'all':14} {total:8.1f} µs/event, bare bulk {floor:.1f}, ratio {total / floor:.2f} (bar 2.5)")
    print(f"  throughput     {number / seconds:8.0f} events/s, sender on the same machine (for information: 10,000)")


def bare(server: Elasticsearch, documents: list[tuple[bytes, bytes]]) -> float:
    """µs of CPU per document, here and there, for the same bytes into an index of the same template."""
    token = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    headers = {"authorization": f"Basic {token}", "content-type": "application/x-ndjson"}
    context = ssl.create_default_context(cafile=server.ca)
    connection = http.client.HTTPSConnection(server.host, server.http, context=context)
    figures = []
    for day in ("1999.01.01", "1999.01.02", "1999.01.03"):
        target = f"/vedette-events.{NAMESPACE}.7d.{day}/_bulk?filter_path=errors"
        lines = [b'{"create":{"_id":' + name + b"}}\n" + source + b"\n" for name, source in documents]
        bodies = [b"".join(lines[at : at + BULK]) for at in range(0, len(lines), BULK)]
        here, there = own_cpu(), cpu([server.pid])
        for body in bodies:
            connection.request("POST", target, body, headers)
            assert orjson.loads(connection.getresponse().read()) == {"errors": False}
        server.ask("POST", f"/vedette-events.{NAMESPACE}.7d.{day}/_refresh")
        figures.append((own_cpu() - here + cpu([server.pid]) - there) / len(documents) * 1e6)
        server.ask("DELETE", f"/vedette-events.{NAMESPACE}.7d.{day}")
    connection.close()
    return min(figures[1:])  # the first round pays for the server's compiler


def documents_of(server: Elasticsearch, number: int) -> list[tuple[bytes, bytes]]:
    """(id, source) of stored events, as JSON."""
    found: list[tuple[bytes, bytes]] = []
    after: object = None
    while len(found) < number:
        body = {"size": 5000, "sort": ["_doc"], "query": {"match_all": {}}, "track_total_hits": False}
        body["sort"] = [{"vedette.time": "asc"}, {"vedette.high": "asc"}, {"vedette.low": "asc"}]
        if after is not None:
            body["search_after"] = after
        hits = server.ask("POST", f"/vedette-events.{NAMESPACE}.7d.*/_search", body)["hits"]["hits"]
        if not hits:
            break
        found += [(orjson.dumps(hit["_id"]), orjson.dumps(hit["_source"])) for hit in hits]
        after = hits[-1]["sort"]
    return found[:number]


def measure(root: Path, events: int) -> None:
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
    lines = windows_events(events + WARM)
    warm, lines = lines[:WARM], lines[WARM:]
    port = free_port()
    common = ("--backends", str(settings))
    scratch = ("--scratch", str(root / "scratch"))
    with (
        worker("pipeline", *common, "--namespace", NAMESPACE, *scratch) as pipeline,
        worker("gateway", *common, "--system", SYSTEM, "--port", str(port)) as gateway,
    ):
        wait(store.heartbeats, 120, "the pipeline")
        head = store.head("bundle")
        wait(lambda: any(beat.body.get("bundle") == head for beat in store.heartbeats()), 120, "the bundle")
        wait(lambda: _knows(port), 60, "the gateway")
        send(port, batches(warm))
        wait(lambda: _count(store) >= len(warm), 180, "the warm-up")
        wait(lambda: learned(store), 60, "the engine that is built for these events")
        # The server compiles what it does often: it has done as much before either side is measured.
        bare(server, documents_of(server, WARM))
        bare(server, documents_of(server, WARM))
        pids = {
            "pipeline": tree(pipeline.pid),
            "gateway": tree(gateway.pid),
            "rabbitmq": tree(broker.pid),
            "elasticsearch": [server.pid],
        }
        before, begun = {name: cpu(group) for name, group in pids.items()}, time.monotonic()
        send(port, batches(lines))
        wait(lambda: _count(store) >= len(warm) + len(lines), 300, "all events")
        seconds = time.monotonic() - begun
        spent = {name: cpu(group) - before[name] for name, group in pids.items()}
        memory = resident(pipeline.pid)
    floor = bare(server, documents_of(server, min(len(lines), 20_000)))
    print(f"\ngateway → RabbitMQ → pipeline → Elasticsearch, {len(rules)} rules, {len(lines)} Windows events")
    report(spent, len(lines), floor, seconds)
    print(f"  memory of the pipeline worker {memory:.0f} MB")
    stores.close()
    broker.stop(kill=True)
    server.stop(kill=True)


def _count(store: Store) -> int:
    time.sleep(0.4)  # asking costs the server CPU that is measured
    return store.count_events(MatchAll(), TimeRange())


def _knows(port: int) -> bool:
    try:
        send(port, [b"{}"])
    except (OSError, SystemExit):
        return False
    return True


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        Path(folder).chmod(0o755)
        measure(Path(folder), arguments.events)


if __name__ == "__main__":
    main()
