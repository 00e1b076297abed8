"""Places where a cluster of each kind lives: a database, and a Kubernetes API server."""

import contextlib
import functools
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import helpers
from tests.contract.cluster.definitions import DEFINITIONS, Send, manifest
from tests.contract.cluster.definitions import path as path_of
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, RequestError

from vedette_backends.cluster.folder import FolderSync, SyncResult
from vedette_backends.cluster.kube_kinds import ResourceType
from vedette_backends.cluster.kubernetes import KubernetesCluster, connect
from vedette_backends.cluster.local import LocalCluster


@dataclass
class Place:
    """Opens clusters that share their objects, as other processes do."""

    path: Path
    clusters: list[LocalCluster] = field(default_factory=list)

    def open(self) -> LocalCluster:
        cluster = LocalCluster(self.path)
        self.clusters.append(cluster)
        return cluster

    def close(self) -> None:
        for cluster in self.clusters:
            cluster.close()


@pytest.fixture
def local_place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "data" / "cluster.db")
    yield place
    place.close()


@pytest.fixture
def place(local_place: Place) -> Place:
    """Where a test runs that says nothing else."""
    return local_place


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> ApiServer:
    """The session's API server, with the namespaces that tests use."""
    root = tmp_path_factory.getbasetemp()
    server = apiserver.shared(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)
    for name in ("shop", "other", "a", "b"):
        server.namespace(name)
    return server


@dataclass
class KubernetesPlace:
    """Opens clusters on the API server, with an Incident of this test alone: its own group, and any content."""

    server: ApiServer
    kinds: Mapping[str, ResourceType]
    clusters: list[KubernetesCluster] = field(default_factory=list)

    def open(self) -> KubernetesCluster:
        cluster = KubernetesCluster(connect(self.server.kubeconfig), kinds=self.kinds)
        self.clusters.append(cluster)
        return cluster

    def close(self) -> None:
        for cluster in self.clusters:
            cluster.close()


@pytest.fixture(scope="session")
def any_incident(api_server: ApiServer) -> ResourceType:
    """Incidents that may hold anything, in a group of this test process alone."""
    definition = permissive_definition(f"t{secrets.token_hex(6)}.vedette.test")
    api_server.definitions(definition)
    return ResourceType(f"{definition['spec']['group']}/v1", "Incident", "incidents")


@pytest.fixture
def kubernetes_place(api_server: ApiServer, any_incident: ResourceType) -> Iterator[KubernetesPlace]:
    """An API server without any Incident."""
    left = [
        any_incident.path(item["metadata"]["namespace"], item["metadata"]["name"])
        for item in api_server.request("GET", any_incident.path(None))["items"]
    ]
    values = [f"/api/v1/namespaces/{path}" for path in ("shop/secrets/s", "a/secrets/s", "shop/configmaps/c")]
    for path in (*left, *values):
        with contextlib.suppress(RequestError):
            api_server.request("DELETE", path)
    kubernetes = KubernetesPlace(api_server, {"Incident": any_incident})
    yield kubernetes
    kubernetes.close()


def permissive_definition(group: str) -> dict[str, Any]:
    """Incidents that may hold anything: what a cluster does with objects does not depend on what is in them."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"incidents.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Incident", "listKind": "IncidentList", "plural": "incidents", "singular": "incident"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": anything, "status": anything},
                        }
                    },
                }
            ],
        },
    }


@pytest.fixture
def cluster(place: Any) -> Any:
    return place.open()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of manifests."""
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Callable[..., None]:
    """Writes a file of some documents, given as text, and makes its folders."""

    def write_file(name: str, *documents: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(documents))

    return write_file


@pytest.fixture
def sync(folder: Path, cluster: LocalCluster) -> Callable[[], SyncResult]:
    """One look at the folder, as a new process does it."""
    return lambda: FolderSync(folder, cluster).sync()


@pytest.fixture
def following(folder: Path, cluster: LocalCluster) -> Iterator[Path]:
    """The folder, followed by a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=FolderSync(folder, cluster).run, args=(stop,))
    thread.start()
    yield folder
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition, with a deadline."""

    return functools.partial(helpers.until, seconds=30, what="the condition", pause=0.005)


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """One of this test alone."""
    name = f"t-{secrets.token_hex(5)}"
    api_server.namespace(name)
    return name


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> ApiServer:
    """The session's API server with our definitions, read from the files that people apply."""
    api_server.definitions(*DEFINITIONS.values())
    return api_server


@pytest.fixture
def send(server: ApiServer, namespace: str) -> Send:
    """Creates an object of a kind, with a spec; `query` as `dryRun=All`."""

    def create(kind: str, spec: Any, name: str = "x", query: str = "dryRun=All") -> dict[str, Any]:
        found: dict[str, Any] = server.request(
            "POST", f"{path_of(kind, namespace)}?fieldValidation=Strict&{query}", manifest(kind, spec, name)
        )
        return found

    return create
