"""What only a cluster on the Kubernetes API promises: rights, watches that break, credentials that change."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import incluster_config
from tests.servers.apiserver import ApiServer

from vedette_backends.cluster import kube_log, kube_watch
from vedette_backends.cluster.kube_api import Api, Query, Reply, Transport
from vedette_backends.cluster.kubernetes import KubernetesCluster, connect
from vedette_backends.cluster.protocol import Change, Cluster, Event, Key
from vedette_backends.errors import ConflictError, NotFoundError, RefusedError, UnavailableError


def incident(name: str = "inc-1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


def key(name: str = "inc-1") -> Key:
    return Key("Incident", "shop", name)


def next_events(cluster: Cluster, after: int, count: int) -> list[Event]:
    return list(itertools.islice(cluster.watch(after, 30), count))


@pytest.fixture
def cluster(kubernetes_place: Any) -> KubernetesCluster:
    made: KubernetesCluster = kubernetes_place.open()
    return made


# objects -------------------------------------------------------------------------------------------------------------
def test_a_field_that_somebody_else_wrote_can_be_removed(cluster: KubernetesCluster) -> None:
    """The responder opens an incident, the web UI changes it, and so do people with kubectl."""
    cluster.create(incident(title="a", assignee="ana"), manager="vedette-responder")
    cluster.apply(incident(title="b"), manager="vedette-webui")
    found = cluster.get(key())
    assert found is not None
    assert found.manifest["spec"] == {"title": "b"}


def test_whether_there_is_any_object_of_a_kind_needs_no_list(cluster: KubernetesCluster) -> None:
    assert cluster.has_any("Incident") is bool(cluster.list("Incident"))
    cluster.create(incident(), manager="ui")
    assert cluster.has_any("Incident")
    for found in cluster.list("Incident"):
        cluster.delete(found.key)
    assert not cluster.has_any("Incident")


def test_metadata_of_others_stay(cluster: KubernetesCluster, api_server: ApiServer) -> None:
    made = cluster.create(incident(), manager="ui")
    path = f"/apis/{made.manifest['apiVersion']}/namespaces/shop/incidents/inc-1"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1-2-3"}
    patch = {"metadata": {"finalizers": ["a.b/c"], "ownerReferences": [owner]}}
    api_server.request("PATCH", path, patch, kind="application/merge-patch+json")
    changed = cluster.apply(incident(title="x"), manager="ui")
    metadata = changed.manifest["metadata"]
    assert (metadata["finalizers"], metadata["ownerReferences"]) == (["a.b/c"], [owner])
    assert metadata["uid"] == made.manifest["metadata"]["uid"]
    assert "managedFields" not in metadata
    api_server.request("PATCH", path, {"metadata": {"finalizers": []}}, kind="application/merge-patch+json")


def test_who_wrote_what_is_written_down(cluster: KubernetesCluster, api_server: ApiServer) -> None:
    made = cluster.create(incident(title="a"), manager="vedette-responder")
    cluster.apply(incident(title="b"), manager="vedette-webui")
    cluster.patch_status(key(), {"alerts": 1})
    found = api_server.request("GET", f"/apis/{made.manifest['apiVersion']}/namespaces/shop/incidents/inc-1")
    assert {
        (one["manager"], one["operation"], one.get("subresource")) for one in found["metadata"]["managedFields"]
    } >= {("vedette-webui", "Update", None), ("vedette-operator", "Apply", "status")}


def test_a_namespace_that_is_not_there_is_told(cluster: KubernetesCluster) -> None:
    lost = incident()
    lost["metadata"]["namespace"] = "nowhere"
    with pytest.raises(NotFoundError, match="nowhere"):
        cluster.apply(lost, manager="ui")


def test_kinds_that_are_not_ours_are_refused(cluster: KubernetesCluster) -> None:
    with pytest.raises(RefusedError, match="no kind"):
        cluster.get(Key("Pod", "shop", "x"))
    with pytest.raises(RefusedError, match="not an object of ours"):
        cluster.apply({"kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}}, manager="ui")


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "a?b", "", "x" * 300, "a b", "ü"])
def test_a_name_cannot_lead_elsewhere(cluster: KubernetesCluster, name: str) -> None:
    with pytest.raises(RefusedError):
        cluster.secret("shop", name or "\n", "key")
    with pytest.raises(RefusedError):
        cluster.secret(name, "name", "key")


# rights --------------------------------------------------------------------------------------------------------------
def test_values_of_a_secret_need_only_the_right_to_get_it(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    api_server.apply(
        f"/api/v1/namespaces/{namespace}/secrets/s",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "t"}},
    )
    api_server.role(
        namespace, "reader", {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get"]}
    )
    path = api_server.kubeconfig_of(api_server.token(namespace, "reader"), tmp_path / "kubeconfig")
    cluster = KubernetesCluster(connect(path))
    assert cluster.secret(namespace, "s", "token") == b"t"
    with pytest.raises(RefusedError, match=r'cannot get resource "secrets"'):
        cluster.secret(namespace, "other", "token")
    with pytest.raises(RefusedError, match=r'cannot list resource "logsources"'):
        cluster.version()
    cluster.close()


def test_a_token_that_counts_for_nothing_is_refused(api_server: ApiServer, tmp_path: Path) -> None:
    api = connect(api_server.kubeconfig_of("nobody", tmp_path / "kubeconfig"))
    with pytest.raises(RefusedError, match="Unauthorized"):
        api.get("/api/v1/namespaces")
    api.close()


@pytest.mark.parametrize("content", ["", "[]", "a: b", "clusters: [{name: a}]"])
def test_a_file_without_credentials_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(RefusedError, match="no credentials"):
        connect(path)
    with pytest.raises(RefusedError, match="no credentials"):
        connect(tmp_path / "missing")


def test_a_pod_uses_its_own_account_and_reads_its_token_again(
    api_server: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in ("first", "second"):
        api_server.role(namespace, account)
    token = tmp_path / "token"
    token.write_text(api_server.token(namespace, "first"))
    host, _, port = api_server.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(api_server.folder / "pki" / "ca.crt"))
    loader = incluster_config.InClusterConfigLoader
    begin = loader.__init__

    def without_waiting(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self._token_refresh_period = dt.timedelta(0)

    monkeypatch.setattr(loader, "__init__", without_waiting)
    api = connect()

    def me() -> str:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
        return str(found["status"]["userInfo"]["username"])

    assert me() == f"system:serviceaccount:{namespace}:first"
    token.write_text(api_server.token(namespace, "second"))
    assert me() == f"system:serviceaccount:{namespace}:second"
    api.close()


def test_a_server_that_is_not_there_is_unavailable(api_server: ApiServer, tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "kubeconfig"
    _, _, port = api_server.url.rpartition(":")
    path.write_text(api_server.kubeconfig.read_text().replace(port, str(free_port)))
    cluster = KubernetesCluster(connect(path))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        cluster.get(key())
    with pytest.raises(UnavailableError, match="cannot be reached"):
        cluster.version()
    cluster.close()


# watches that break --------------------------------------------------------------------------------------------------
class Cut:
    """The way to a real server, which can be cut for watches."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.cut = threading.Event()
        self.watches: list[Reply] = []

    def send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: tuple[float, float],
    ) -> Reply:
        watch = "watch" in query
        if watch and self.cut.is_set():
            raise UnavailableError("cut")
        reply = self._transport.send(method, path, query, headers, body, timeout)
        if watch:
            self.watches.append(reply)
            if self.cut.is_set():
                reply.abort()
        return reply

    def begin(self) -> None:
        """Cut."""
        self.cut.set()
        for reply in self.watches:
            reply.abort()

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
def way(api_server: ApiServer) -> Cut:
    return Cut(connect(api_server.kubeconfig)._transport)


@pytest.fixture
def watcher(kubernetes_place: Any, way: Cut, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesCluster]:
    """A cluster on the way that can be cut."""
    monkeypatch.setattr(kube_watch, "_FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(kube_watch, "_MAX_PAUSE_SECONDS", 0.05)
    made = KubernetesCluster(Api(way), kinds=kubernetes_place.kinds)
    yield made
    made.close()


def forget(watcher: KubernetesCluster) -> None:
    """Make the follower ask for a version that the server no longer knows."""
    (stream,) = watcher._follower._streams
    stream._version = 1


@pytest.mark.parametrize("how_long", ["short", "until the version expired"])
def test_nothing_is_missed_when_a_watch_breaks(
    cluster: KubernetesCluster, watcher: KubernetesCluster, way: Cut, how_long: str, until: Any
) -> None:
    for name in ("same", "changed", "judged", "gone", "anew"):
        cluster.create(incident(name, n=1), manager="ui")
    start = watcher.version()
    way.begin()
    until(lambda: watcher._follower._streams[0].fault)
    cluster.delete(key("gone"))
    cluster.delete(key("anew"))
    cluster.create(incident("anew", n=2), manager="ui")
    cluster.apply(incident("changed", n=2), manager="ui")
    cluster.patch_status(key("judged"), {"a": 1})
    cluster.create(incident("new"), manager="ui")
    if how_long != "short":
        forget(watcher)
    way.cut.clear()
    told = {(event.change, event.object.key.name) for event in next_events(watcher, start, 6)}
    assert told == {
        (Change.DELETED, "gone"),
        (Change.DELETED, "anew"),
        (Change.SET, "anew"),
        (Change.SET, "changed"),
        (Change.STATUS, "judged"),
        (Change.SET, "new"),
    }
    assert list(watcher.watch(watcher.version(), 0)) == []


def test_a_deletion_comes_before_the_new_object_of_that_name(
    cluster: KubernetesCluster, watcher: KubernetesCluster, way: Cut, until: Any
) -> None:
    old = cluster.create(incident("anew", n=1), manager="ui")
    start = watcher.version()
    way.begin()
    until(lambda: watcher._follower._streams[0].fault)
    cluster.delete(key("anew"))
    cluster.create(incident("anew", n=2), manager="ui")
    forget(watcher)
    way.cut.clear()
    gone, made = next_events(watcher, start, 2)
    assert (gone.change, made.change) == (Change.DELETED, Change.SET)
    assert gone.object.manifest["metadata"]["uid"] == old.manifest["metadata"]["uid"]
    assert gone.object.version < made.object.version
    assert made.object.manifest["spec"] == {"n": 2}


def test_a_watch_that_cannot_work_says_so_when_its_time_is_up(watcher: KubernetesCluster, way: Cut, until: Any) -> None:
    start = watcher.version()
    assert list(watcher.watch(start, 0)) == []
    way.begin()
    until(lambda: watcher._follower._streams[0].fault)
    with pytest.raises(UnavailableError, match="cut"):
        next(watcher.watch(start, 0))
    way.cut.clear()
    until(lambda: not watcher._follower._streams[0].fault)
    assert list(watcher.watch(start, 0)) == []


def test_a_watch_that_the_server_ends_goes_on(
    cluster: KubernetesCluster, watcher: KubernetesCluster, way: Cut, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(kube_watch, "WATCH_SECONDS", 1)
    start = watcher.version()
    until(lambda: len(way.watches) > 1)
    cluster.create(incident(), manager="ui")
    assert [event.change for event in next_events(watcher, start, 1)] == [Change.SET]


def test_what_is_no_longer_kept_is_asked_for(
    cluster: KubernetesCluster, watcher: KubernetesCluster, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(kube_log, "KEPT_BYTES", 0)
    start = watcher.version()
    for number in range(3):
        cluster.create(incident(f"inc-{number}", n=number), manager="ui")
    cluster.delete(key("inc-1"))
    until(lambda: len(watcher._follower.log.after(start, 10)) == 4)
    told = [
        (event.change, event.object.key.name, event.object.manifest.get("spec")) for event in watcher.watch(start, 0)
    ]
    assert told == [
        (Change.SET, "inc-0", {"n": 0}),
        (Change.SET, "inc-2", {"n": 2}),
        (Change.DELETED, "inc-1", None),
    ]


def test_an_own_write_counts_at_once(cluster: KubernetesCluster, watcher: KubernetesCluster, way: Cut) -> None:
    """Whoever keeps lists by version must not show an old one after he wrote."""
    before = watcher.version()
    way.begin()
    made = watcher.create(incident(), manager="ui")
    assert watcher.version() == made.version > before
    watcher.patch_status(key(), {"a": 1})
    assert watcher.version() > made.version
    version = watcher.version()
    watcher.delete(key())
    assert watcher.version() > version
    assert cluster.get(key()) is None


def test_a_second_writer_of_the_same_version_conflicts(cluster: KubernetesCluster) -> None:
    made = cluster.create(incident(), manager="ui")
    barrier = threading.Barrier(4)
    won: list[str] = []

    def change(title: str) -> None:
        barrier.wait()
        try:
            cluster.apply({**made.manifest, "spec": {"title": title}}, manager="ui")
        except ConflictError:
            return
        won.append(title)

    threads = [threading.Thread(target=change, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = cluster.get(key())
    assert found is not None
    assert [found.manifest["spec"]["title"]] == won
