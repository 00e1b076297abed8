"""Elasticsearch and RabbitMQ beside a node: where its pods reach them, and as what the operator knows them.

Pods reach both by a port in front of each, so that tests can do harm on the way; tests themselves go straight.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.servers.elasticsearch import Elasticsearch
from tests.servers.front import Front
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.settings import ElasticsearchSettings, RabbitMQSettings


@dataclass(frozen=True, slots=True)
class Fronts:
    """What stands in front of both servers."""

    elasticsearch: Front
    rabbitmq: Front

    def close(self) -> None:
        """End all connections."""
        self.elasticsearch.close()
        self.rabbitmq.close()


def elastic_front(server: Elasticsearch) -> Front:
    """A port in front of Elasticsearch."""
    return Front(server.host, (server.host, server.http), server.identity)


def elastic_through(settings: ElasticsearchSettings, front: Front) -> ElasticsearchSettings:
    """The same settings, by way of a front."""
    return replace(settings, urls=(f"https://{front.host}:{front.port}",))


def rabbit_front(server: RabbitMQ) -> Front:
    """A port in front of RabbitMQ; its management has none."""
    return Front(server.host, (server.host, server.tls), server.identity)


def rabbit_through(settings: RabbitMQSettings, front: Front) -> RabbitMQSettings:
    """The same settings, by way of a front."""
    return replace(settings, url=f"{settings.url.rpartition(':')[0]}:{front.port}")


@dataclass(frozen=True, slots=True)
class Backends:
    """Both servers, and the administrator's settings of both in `settings`, a folder as the operator reads it."""

    elasticsearch: Elasticsearch
    rabbitmq: RabbitMQ
    settings: Path

    def secret(self, name: str, namespace: str) -> dict[str, Any]:
        """The manifest of a Secret with these settings."""
        files = {path.name: base64.b64encode(path.read_bytes()).decode() for path in sorted(self.settings.iterdir())}
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": files}


def write_settings(folder: Path, rabbitmq: RabbitMQSettings, elasticsearch: ElasticsearchSettings) -> Path:
    """Write settings as files, the way `vedette_backends.settings` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "rabbitmq-url": rabbitmq.url,
        "rabbitmq-management-url": rabbitmq.management_url,
        "rabbitmq-ca.crt": rabbitmq.ca.read_text() if rabbitmq.ca else "",
        "elasticsearch-url": ",".join(elasticsearch.urls),
        "elasticsearch-api-key": elasticsearch.api_key,
        "elasticsearch-username": elasticsearch.username,
        "elasticsearch-password": elasticsearch.password,
        "elasticsearch-ca.crt": elasticsearch.ca.read_text() if elasticsearch.ca else "",
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text)
    return folder
