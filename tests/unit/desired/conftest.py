"""Settings, sources, and real servers for tests of what the operator wants and of how it gets there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.servers import apiserver, elasticsearch, rabbitmq
from tests.servers.apiserver import ApiServer
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.rabbitmq import RabbitMQ
from tests.unit.desired.tenants import World

from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.cluster.kubernetes import connect
from vedette_operator.config import OperatorConfig
from vedette_operator.desired.scaling import Scaling
from vedette_operator.desired.source import Source
from vedette_operator.owned import Owned

DEFINITIONS = Path(__file__).resolve().parents[3] / "crds"


@pytest.fixture
def make_config() -> Callable[..., OperatorConfig]:
    def make(**fields: Any) -> OperatorConfig:
        base = {"image": "localhost/vedette:dev", "releaseName": "vedette", "releaseNamespace": "vedette-system"}
        return OperatorConfig.model_validate({**base, "tenants": ["shop"], **fields})

    return make


@pytest.fixture
def config(make_config: Callable[..., OperatorConfig]) -> OperatorConfig:
    return make_config()


@pytest.fixture
def source() -> Source:
    return Source("web", "uid-of-web", dedicated=False, scaling=Scaling(1, 4, 10.0), retention=frozenset({"30d"}))


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test session see."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


@pytest.fixture(scope="session")
def api_server(session_folder: Path) -> ApiServer:
    """A real API server that knows our kinds; nothing runs pods or collects garbage there."""
    server = apiserver.shared(session_folder)
    server.definitions(*(yaml.safe_load(file.read_text()) for file in sorted(DEFINITIONS.glob("*.yaml"))))
    return server


@pytest.fixture(scope="session")
def rabbitmq_server(session_folder: Path) -> RabbitMQ:
    return rabbitmq.shared(session_folder)


@pytest.fixture(scope="session")
def elasticsearch_server(session_folder: Path) -> Elasticsearch:
    return elasticsearch.shared(session_folder)


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """One of this test alone."""
    name = f"t{secrets.token_hex(5)}"
    api_server.namespace(name)
    return name


@pytest.fixture
def resources(api_server: ApiServer) -> Iterator[KubernetesResources]:
    made = KubernetesResources(connect(api_server.kubeconfig))
    yield made
    made.close()


@pytest.fixture
def owned(resources: KubernetesResources) -> Owned:
    return Owned(resources)


@pytest.fixture
def world(
    api_server: ApiServer,
    resources: KubernetesResources,
    rabbitmq_server: RabbitMQ,
    make_config: Callable[..., OperatorConfig],
    namespace: str,
) -> Iterator[World]:
    api_server.namespace("vedette-system")
    config = make_config(tenants=[namespace])
    made = World(api_server, resources, rabbitmq_server, config, namespace)
    yield made
    made.close()
