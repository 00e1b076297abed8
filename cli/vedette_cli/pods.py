"""The workers as pods: backends from a mounted Secret, probes and metrics on a port of their own, logs for machines."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import orjson

from vedette_backends.errors import BackendError, NotFoundError
from vedette_backends.settings import elasticsearch_settings, rabbitmq_settings
from vedette_cli.data import per_namespace
from vedette_workers.heartbeat import Pulse, beat, new_incarnation, pod_worker
from vedette_workers.logs import set_up
from vedette_workers.metrics import Exposition, Role, Sample
from vedette_workers.status import BUNDLE, StatusServer, Vitals

if TYPE_CHECKING:
    from vedette_backends.broker.protocol import Broker
    from vedette_backends.store.protocol import Store
    from vedette_workers.gateway.gateway import Gateway
    from vedette_workers.gateway.server import Poll

log = logging.getLogger(__name__)

BUNDLE_INTERVAL = 1.0
SETTINGS_EVERY = 5.0
GATEWAY_HEAD = "gateway"
GATEWAY_POLL = 1.0
GATEWAY_BEAT = 5.0


@dataclass(slots=True)
class Servers:
    """RabbitMQ and Elasticsearch as the folder of a mounted Secret names them; connections are made when needed."""

    folder: Path
    name: str
    store: Callable[[str], Store] = field(init=False)
    broker: Callable[[str], Broker] = field(init=False)
    open_store: Callable[[str], Store] = field(init=False)
    """A new one at each call, for whoever closes them as namespaces go."""
    open_broker: Callable[[str], Broker] = field(init=False)

    def __post_init__(self) -> None:
        from vedette_backends.broker.rabbitmq import open_broker
        from vedette_backends.store.elasticsearch import connect

        try:
            broker_settings, store_settings = rabbitmq_settings(self.folder), elasticsearch_settings(self.folder)
        except BackendError as error:
            raise click.ClickException(str(error)) from error
        connection = connect(store_settings)
        self.open_store = connection.store
        self.open_broker = lambda namespace: open_broker(broker_settings, namespace, name=self.name)
        self.store = per_namespace(self.open_store)
        self.broker = per_namespace(self.open_broker)


Content = Mapping[str, bytes]
"""Files of a mounted folder by name."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One worker in a pod.

    Attributes:
        namespace: whose it is, or the release's own.
        backends: folder of the mounted Secret.
        settings: what that held before anything was read from it.
    """

    role: str
    namespace: str
    backends: Path
    status_port: int
    incarnation: str = field(default_factory=new_incarnation)
    settings: Content = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", content(self.backends))

    @property
    def worker(self) -> str:
        """Name in heartbeats: pods of one Deployment run side by side."""
        return pod_worker(self.role)

    def servers(self) -> Servers:
        """The backends."""
        return Servers(self.backends, self.worker)


def pipeline(pod: Pod, scratch: Path, claims: Path | None, only: Iterable[str], leave: Iterable[str]) -> None:
    """Consume, normalise, enrich, match and store until SIGTERM."""
    from vedette_workers.pipeline.attempt import make_try_cached
    from vedette_workers.pipeline.worker import PipelineWorker, Settings

    servers = pod.servers()
    settings = Settings(
        pod.namespace,
        bundle_interval=BUNDLE_INTERVAL,
        worker=pod.worker,
        only=frozenset(only),
        leave=frozenset(leave),
        housekeeping=False,
        cache=scratch,
        claims=claims,
    )
    store, broker = servers.store(pod.namespace), servers.broker(pod.namespace)
    made = PipelineWorker(settings, store, broker, make_try_cached, scratch, claims, incarnation=pod.incarnation)
    with _watched(pod, "pipeline", made.vitals, made.samples), _closing(broker, store):
        _on_stop(made.stop)
        made.run()


def responder(pod: Pod) -> None:
    """Open incidents until SIGTERM."""
    from vedette_backends.cluster.kubernetes import KubernetesCluster, connect
    from vedette_workers.responder.worker import ResponderWorker, Settings

    servers = pod.servers()
    cluster = KubernetesCluster(connect(), manager="vedette-responder")
    store, broker = servers.store(pod.namespace), servers.broker(pod.namespace)
    made = ResponderWorker(Settings(pod.namespace, pod.worker), store, broker, cluster, incarnation=pod.incarnation)
    with _watched(pod, "responder", made.vitals, made.samples), _closing(broker, store, cluster):
        _on_stop(made.stop)
        made.run()


def scheduler(pod: Pod) -> None:
    """Run scheduled searches until SIGTERM."""
    from vedette_workers.scheduler.worker import SchedulerWorker, Settings

    servers = pod.servers()
    settings = Settings(pod.namespace, pod.worker, bundle_interval=BUNDLE_INTERVAL)
    store, broker = servers.store(pod.namespace), servers.broker(pod.namespace)
    made = SchedulerWorker(settings, store, broker, incarnation=pod.incarnation)
    with _watched(pod, "scheduler", made.vitals, made.samples), _closing(broker, store):
        _on_stop(made.stop)
        made.run()


def librarian(pod: Pod) -> None:
    """Keep dead letters and drop days that are over until SIGTERM."""
    from vedette_workers.librarian.worker import Librarian, Settings

    servers = pod.servers()
    made = Librarian(
        Settings(pod.worker),
        servers.store(pod.namespace),
        servers.open_store,
        servers.open_broker,
        incarnation=pod.incarnation,
    )
    with _watched(pod, "librarian", made.vitals, made.samples):
        _on_stop(made.stop)
        made.run()


def gateway(pod: Pod, host: str, port: int) -> None:
    """Take events over HTTP until SIGTERM."""
    from vedette_workers.gateway.server import serve
    from vedette_workers.gateway.settings import Settings

    servers = pod.servers()
    system = servers.store(pod.namespace)
    vitals = Vitals()
    vitals.expect(BUNDLE)
    pulses: list[Pulse] = []

    def started(made: Gateway) -> None:
        def report(incarnation: str, since: int) -> None:
            vitals.alive()
            told = {namespace: made.heartbeat(namespace) for namespace in made.namespaces()}
            body = {"namespaces": told, "bundle": made.bundle}
            beat(system, role="gateway", incarnation=incarnation, started=since, body=body, worker=pod.worker)

        pulses.append(Pulse(GATEWAY_BEAT, report, pod.incarnation))
        pulses[0].start()
        server = StatusServer(vitals, lambda: made.metrics.render().encode(), port=pod.status_port)
        server.start()

    _logging(pod)
    end_when_changed(pod.backends, pod.settings)
    serve(
        Path("/nonexistent"),
        host,
        port,
        poll=head_poll(system, vitals),
        every=GATEWAY_POLL,
        # Metrics name tenants and sources: they are on the status port. Nobody has the token for those of this one.
        settings=Settings(metrics_token=secrets.token_hex(32)),
        brokers=servers.broker,
        started=started,
    )
    for pulse in pulses:
        pulse.stop()


def head_poll(system: Store, vitals: Vitals) -> Poll:
    """The gateway's table, as the operator publishes it in the store of the release's own namespace.

    Once it has a table, the gateway stays ready though the store does not answer: what it takes, RabbitMQ keeps.
    """
    seen = ""
    answered = False

    def poll(known: str) -> tuple[str, Any] | None:
        nonlocal seen, answered
        try:
            head = system.head(GATEWAY_HEAD)
            new = head is not None and head not in {known, seen}
            found = (head, orjson.loads(system.get_blob(head))) if new and head is not None else None
        except (BackendError, NotFoundError) as error:
            if not answered:
                vitals.failed(BUNDLE, str(error))
            raise OSError(str(error)) from error
        answered = True
        vitals.reached(BUNDLE)
        seen = found[0] if found is not None else seen
        return found

    return poll


def end_when_changed(folder: Path, before: Content, every: float = SETTINGS_EVERY) -> None:
    """End this process in good order when the mounted settings change: it is started again, with the new ones.

    Args:
        folder: where they are mounted.
        before: its `content` before the settings were read, so that no change in between is missed.
        every: seconds between two looks.
    """

    def look() -> None:
        while True:
            time.sleep(every)
            try:
                now = content(folder)
            except OSError as error:
                log.warning("the settings in %s cannot be read: %s", folder, error)
                continue
            if now != before:
                log.warning("the settings in %s have changed: starting again with the new ones", folder)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=look, name="settings", daemon=True).start()


def content(folder: Path) -> Content:
    """What a mounted folder holds now."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def _watched(pod: Pod, role: Role, vitals: Vitals, samples: Callable[[], Iterable[Sample]]) -> Iterator[None]:
    """Probes and metrics, as long as the worker runs."""
    _logging(pod)
    end_when_changed(pod.backends, pod.settings)
    server = StatusServer(vitals, Exposition(role, samples).render, port=pod.status_port)
    server.start()
    try:
        yield
    finally:
        server.close()


def _logging(pod: Pod) -> None:
    set_up_pod_logs(worker=pod.role, namespace=pod.namespace, incarnation=pod.incarnation)


def set_up_pod_logs(*, worker: str, namespace: str = "", incarnation: str = "") -> None:
    """Logs as `VEDETTE_LOG_FORMAT` (json, text) and `VEDETTE_LOG_LEVEL` say."""
    level = logging.getLevelNamesMapping().get(os.environ.get("VEDETTE_LOG_LEVEL", "info").upper(), logging.INFO)
    form: Literal["json", "text"] = "text" if os.environ.get("VEDETTE_LOG_FORMAT") == "text" else "json"
    set_up(form, level=level, worker=worker, namespace=namespace, incarnation=incarnation)
    for noisy in ("elastic_transport", "urllib3", "kopf", "httpx"):
        logging.getLogger(noisy).setLevel(
            max(level, logging.ERROR if noisy == "elastic_transport" else logging.WARNING)
        )


@contextmanager
def _closing(*opened: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for one in opened:
            one.close()


def _on_stop(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
