"""The pages in a cluster: objects and rights are Kubernetes', stores and queues those of all tenants."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from urllib.parse import unquote, urlsplit

import orjson

from vedette_backends.cluster.kubernetes import KubernetesCluster, KubernetesResources, connect
from vedette_backends.cluster.resources import Identity
from vedette_backends.errors import BackendError
from vedette_backends.settings import rabbitmq_settings
from vedette_backends.store.protocol import Store
from vedette_cli.operator_metrics import process_metrics
from vedette_cli.pods import Pod, end_when_changed, set_up_pod_logs
from vedette_webui.app import create_app, serve
from vedette_webui.kubernetes import KubernetesAccounts
from vedette_webui.mirror import Mirror
from vedette_webui.settings import Settings
from vedette_webui.visit import MANAGER
from vedette_workers.librarian.replay import replay
from vedette_workers.status import CLUSTER, STORE, StatusServer, Vitals

log = logging.getLogger(__name__)

FLEET = "fleet"
LOOK_EVERY = 5.0
LIVE_INTERVAL = 0.5


def serve_pod(pod: Pod, host: str, port: int, public_url: str) -> None:
    """Answer until SIGTERM."""
    set_up_pod_logs(worker="web", namespace=pod.namespace, incarnation=pod.incarnation)
    servers = pod.servers()
    api = connect()
    cluster = KubernetesCluster(api, manager=MANAGER)
    resources = KubernetesResources(api)
    vitals = Vitals()
    vitals.expect(STORE, CLUSTER)

    def replay_letters(namespace: str, ids: Sequence[str]) -> int:
        return replay(servers.store(namespace), servers.broker(namespace), ids)

    def review(identity: Identity, verb: str, group: str, resource: str, namespace: str, name: str) -> tuple[bool, str]:
        return resources.review_access(identity, verb, group, resource, namespace, name)

    settings = Settings(
        accounts=[],
        public_url=public_url,
        version=version("vedette"),
        hosts=hosts(pod, public_url),
        session_key=_session_key(pod),
        embedded=False,
    )
    app = create_app(
        settings,
        servers.store,
        cluster,
        replay=replay_letters,
        auth=KubernetesAccounts(settings, resources.review_token, review),
        namespaces=_fleet(servers.store(pod.namespace), vitals),
        objects=Mirror(cluster),
        interval=LIVE_INTERVAL,
    )
    watch = threading.Thread(target=_watch, args=(servers.store(pod.namespace), cluster, vitals), daemon=True)
    watch.start()
    status = StatusServer(vitals, process_metrics(), port=pod.status_port)
    status.start()
    end_when_changed(pod.backends, pod.settings)
    serve(app, host=host, port=port)
    status.close()


def hosts(pod: Pod, public_url: str) -> list[str]:
    """Names under which the pages are reached inside the cluster; the public one comes from its address."""
    public = urlsplit(public_url).hostname or ""
    # The web UI's RabbitMQ user is called as its Service is, `<release>-web`.
    user = unquote(urlsplit(rabbitmq_settings(pod.backends).url).username or "")
    service = f"{user}.{pod.namespace}"
    return [public, service, f"{service}.svc", f"{service}.svc.cluster.local"]


def _session_key(pod: Pod) -> bytes:
    """From the web UI's own password, which all replicas share and nobody else has."""
    return hashlib.blake2b(rabbitmq_settings(pod.backends).url.encode(), person=b"vedette session ").digest()[:32]


def _fleet(system: Store, vitals: Vitals) -> Callable[[], Sequence[str]]:
    """The namespaces that the operator serves."""
    known: tuple[str, list[str]] = ("", [])

    def namespaces() -> Sequence[str]:
        nonlocal known
        try:
            head = system.head(FLEET)
            if head is not None and head != known[0]:
                known = head, list(orjson.loads(system.get_blob(head))["namespaces"])
            vitals.reached(STORE)
        except BackendError as error:
            # The page itself says what is wrong with the store.
            log.warning("the list of namespaces stays as it was: %s", error)
        return known[1]

    return namespaces


def _watch(system: Store, cluster: KubernetesCluster, vitals: Vitals) -> None:
    """Tells probes whether what the pages need answers."""
    done = threading.Event()
    while not done.wait(LOOK_EVERY):
        vitals.alive()
        for name, look in ((STORE, lambda: system.head(FLEET)), (CLUSTER, cluster.version)):
            try:
                look()
                vitals.reached(name)
            except BackendError as error:
                vitals.failed(name, str(error))
