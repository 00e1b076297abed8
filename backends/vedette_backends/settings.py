"""Where RabbitMQ and Elasticsearch are and who we are there: the keys of one Secret, mounted as a folder of files.

| file | content |
|---|---|
| `rabbitmq-url` | `amqps://USER:PASSWORD@HOST:5671`, percent-encoded; without a virtual host |
| `rabbitmq-management-url` | `https://HOST:15671`; the operator alone needs it |
| `rabbitmq-ca.crt` | PEM; without it the system's authorities count |
| `elasticsearch-url` | `https://HOST:9200`, several divided by commas |
| `elasticsearch-api-key` | as it stands behind `Authorization: ApiKey`; or else: |
| `elasticsearch-username`, `elasticsearch-password` | the operator's: a key cannot create keys of any use |
| `elasticsearch-ca.crt` | PEM; without it the system's authorities count |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vedette_backends.errors import RefusedError

VHOST_PREFIX = "vedette."
"""A namespace's virtual host, and its workers' user, is this and the namespace's name: `vedette.shop`."""


@dataclass(frozen=True, slots=True)
class RabbitMQSettings:
    """How to reach RabbitMQ. `ca`: PEM file, None for the system's authorities."""

    url: str = field(repr=False)
    ca: Path | None = None
    management_url: str = ""


@dataclass(frozen=True, slots=True)
class ElasticsearchSettings:
    """How to reach Elasticsearch: with an API key, or with a name and a password."""

    urls: tuple[str, ...]
    ca: Path | None = None
    api_key: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


def rabbitmq_settings(folder: Path) -> RabbitMQSettings:
    """What the folder says of RabbitMQ.

    Raises:
        RefusedError: `rabbitmq-url` is missing.
    """
    management = _read(folder, "rabbitmq-management-url")
    return RabbitMQSettings(_need(folder, "rabbitmq-url"), _file(folder, "rabbitmq-ca.crt"), management)


def elasticsearch_settings(folder: Path) -> ElasticsearchSettings:
    """What the folder says of Elasticsearch.

    Raises:
        RefusedError: `elasticsearch-url` is missing, or there is neither a key nor a name.
    """
    settings = ElasticsearchSettings(
        tuple(url.strip() for url in _need(folder, "elasticsearch-url").split(",") if url.strip()),
        _file(folder, "elasticsearch-ca.crt"),
        _read(folder, "elasticsearch-api-key"),
        _read(folder, "elasticsearch-username"),
        _read(folder, "elasticsearch-password"),
    )
    if not settings.api_key and not settings.username:
        raise RefusedError(f"{folder} has neither elasticsearch-api-key nor elasticsearch-username")
    return settings


def _file(folder: Path, name: str) -> Path | None:
    path = folder / name
    return path if path.is_file() else None


def _read(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text().strip() if path.is_file() else ""


def _need(folder: Path, name: str) -> str:
    found = _read(folder, name)
    if not found:
        raise RefusedError(f"{folder} has no {name}")
    return found
