"""A namespace in a real RabbitMQ and a real Elasticsearch, and pipelines on it as processes of their own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pika
import pytest
from tests.chaos.streams import MANIFESTS, RULE, SOURCE, Stream
from tests.cluster.release import Release
from tests.servers import elasticsearch as elastic_server
from tests.servers import rabbitmq as rabbit_server
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker import rabbitmq
from vedette_backends.broker import rabbitmq_roles as broker_roles
from vedette_backends.broker.protocol import Binding, Broker, Message
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin, vhost_of
from vedette_backends.store import elastic_roles as store_roles
from vedette_backends.store import elasticsearch
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.protocol import Store
from vedette_crds.alertrule import AlertRule
from vedette_crds.load import load_text
from vedette_crds.logsource import LogSource
from vedette_engine.alerting.bundle import HEAD, Bundle, BundledRule, encode
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.wire import ALERT_QUEUE, QUEUE_PREFIX, Run
from vedette_engine.wire import encode as encode_message
from vedette_operator import rules
from vedette_operator.cache import object_key

RECOVERY: pytest.StashKey[dict[str, float]] = pytest.StashKey()

PIPELINE = """
import sys
from pathlib import Path
from vedette_cli.pods import Pod, pipeline
namespace, backends, scratch, name = sys.argv[1:]
import socket
socket.gethostname = lambda: name
pipeline(Pod("pipeline", namespace, Path(backends), 0), Path(scratch), None, (), ())
"""


@dataclass
class Tenant:
    """One namespace. `store` and `broker` are the administrator's, as the operator has them."""

    name: str
    folder: Path
    store: Store
    broker: Broker
    publisher_url: str
    ca: Path
    _pods: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def publish_bundle(self, manifests: str) -> str:
        """Declare queues and put the manifests into force, as the operator does; hash of the bundle."""
        sources, made = {}, []
        for document in load_text(manifests).documents:
            if isinstance(document.model, LogSource):
                spec, source = document.model.spec, document.name
                amqp = spec.input.amqp
                bindings = [] if amqp is None else [[amqp.exchange, key] for key in amqp.routing_keys]
                sources[source] = {
                    **SourceConfig.from_spec(self.name, source, spec).to_json(),
                    "bindings": bindings,
                }
                self.broker.declare(QUEUE_PREFIX + source, bindings=[Binding(*pair) for pair in bindings])
            if isinstance(document.model, AlertRule):
                verdict = rules.judge(document.model, object_key(document.manifest))
                assert verdict.part is not None, verdict
                made.append(BundledRule(**verdict.part))
        self.broker.declare(ALERT_QUEUE, single_active_consumer=True)
        head = self.store.put_blob(encode(Bundle(self.name, sources, (), tuple(made))))
        self.store.set_head(HEAD, head)
        return head

    def send(self, source: str, *records: bytes, key: str) -> None:
        """One message as the gateway publishes it."""
        body, headers = encode_message(
            source=source,
            ingested=time.time_ns() // 1_000_000,
            kind="json",
            records=records,
            runs=[Run(len(records), key, 0, keyed=False)],
        )
        self.broker.publish([Message(QUEUE_PREFIX + source, body, headers)])

    def pod(self, *, scratch: Path | None = None, **changes: str) -> subprocess.Popen[bytes]:
        """Start a pipeline with the tenant's own rights; `changes`: keys of its Secret, `_` for `-`."""
        name = f"pod-{len(self._pods)}"
        scratch = scratch or self.folder / name
        scratch.mkdir(exist_ok=True)
        backends = self.folder / f"{name}-backends"
        shutil.copytree(self.folder / "backends", backends)
        for key, value in changes.items():
            (backends / key.replace("_", "-")).write_text(value)
        command = [sys.executable, "-c", PIPELINE, self.name, str(backends), str(scratch), name]
        with (self.folder / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(command, stdout=log, stderr=log)
        self._pods.append(made)
        return made

    def name_of(self, pod: subprocess.Popen[bytes]) -> str:
        """The pod's name, which its heartbeats carry."""
        return f"pod-{self._pods.index(pod)}"

    def logs(self) -> str:
        """What the pods said last."""
        return "\n".join(file.read_text()[-2000:] for file in sorted(self.folder.glob("*.log")))

    def drained(self, *sources: str) -> bool:
        """Whether nothing waits any more."""
        stats = [self.broker.stats(QUEUE_PREFIX + source) for source in sources]
        return not any(one.ready or one.unacked for one in stats)

    def close(self) -> None:
        for process in self._pods:
            process.kill()
            process.wait()
        self.broker.close()
        self.store.close()


def _root(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    root = factory.getbasetemp()
    return (root if worker_id == "master" else root.parent) / "servers"


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> RabbitMQ:
    """The RabbitMQ of this test session."""
    return rabbit_server.shared(_root(tmp_path_factory, worker_id))


@pytest.fixture(scope="session")
def elastic(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Elasticsearch:
    """The Elasticsearch of this test session."""
    return elastic_server.shared(_root(tmp_path_factory, worker_id))


@pytest.fixture
def tenant(rabbit: RabbitMQ, elastic: Elasticsearch, tmp_path: Path) -> Iterator[Tenant]:
    """A namespace with users, keys and templates of its own."""
    name = "t" + secrets.token_hex(6)
    with contextlib.ExitStack() as undo:
        queues, indices = RabbitMQAdmin(rabbit.settings), ElasticsearchAdmin(elastic.settings)
        undo.callback(queues.close)
        undo.callback(indices.close)
        undo.callback(indices.drop_namespace, name)
        indices.ensure_templates(name, ["7d"])
        undo.callback(queues.delete_vhost, name)
        vhost = queues.ensure_vhost(name)
        queues.ensure_permissions(rabbit.user, vhost, ".*", ".*", ".*")

        def user(called: str, may: broker_roles.Permissions) -> tuple[str, str]:
            password = secrets.token_urlsafe(16)
            undo.callback(queues.delete_user, called)
            queues.ensure_user(called, password)
            queues.ensure_permissions(called, vhost, may.configure, may.write, may.read)
            return called, password

        worker = user(vhost_of(name), broker_roles.worker())
        publisher = user(f"{name}-publisher", broker_roles.publisher("eventtask"))
        _write(
            tmp_path / "backends",
            {
                "rabbitmq-url": rabbit.settings_of(*worker).url,
                "rabbitmq-ca.crt": rabbit.ca.read_text(),
                "elasticsearch-url": elastic.url,
                "elasticsearch-ca.crt": elastic.ca.read_text(),
                "elasticsearch-api-key": indices.create_key(name, store_roles.worker(name)),
            },
        )
        made = Tenant(
            name,
            tmp_path,
            elasticsearch.open_store(elastic.settings, name),
            rabbitmq.open_broker(rabbit.settings, name),
            f"{rabbit.settings_of(*publisher).url}/{quote(vhost, safe='')}",
            rabbit.ca,
        )
        undo.callback(made.close)
        yield made


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.fixture
def publish_foreign(tenant: Tenant) -> Iterator[Callable[..., None]]:
    """Publishes one event as MozDef's senders do: to the topic exchange, by a client of the sender's own."""
    parameters = pika.URLParameters(f"{tenant.publisher_url}")
    context = ssl.create_default_context(cafile=str(tenant.ca))
    parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()

    def publish(body: bytes, *, headers: dict[str, str] | None = None, **properties: object) -> None:
        about = pika.BasicProperties(headers=headers, **properties)
        channel.basic_publish("eventtask", "eventtask", body, about, mandatory=True)

    yield publish
    connection.close()


@pytest.fixture(scope="session")
def recovery(request: pytest.FixtureRequest) -> dict[str, float]:
    """Seconds that it took after each fault; shown at the end."""
    return request.config.stash.setdefault(RECOVERY, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long it took until everything was well again."""
    for fault, seconds in config.stash.get(RECOVERY, {}).items():
        terminalreporter.write_line(f"recovered after {seconds:5.1f} s: {fault}")


@pytest.fixture(scope="session")
def faults(shop: Release) -> Iterator[Release]:
    """The shop with a source and a rule for streams of numbered events."""
    shop.apply(MANIFESTS)
    shop.wait_ready(f"logsource/{SOURCE}", f"alertrule/{RULE}")
    yield shop
    shop.node.kubectl("delete", f"logsource/{SOURCE}", f"alertrule/{RULE}", f"secret/{SOURCE}", "-n", "shop")


@pytest.fixture
def stream(faults: Release, recovery: dict[str, float]) -> Iterator[Stream]:
    """Events flow during the test."""
    with Stream(faults, recovery).running() as made:
        yield made
