"""Secrets with addresses and credentials: what workers mount, and what foreign publishers are given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote, unquote, urlsplit

import orjson

from vedette_operator.desired import names
from vedette_operator.desired.names import Document, Manifest
from vedette_operator.desired.source import Source, example_key
from vedette_operator.desired.workloads import KEDA_TLS


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the backends are, as seen from pods. `…_ca`: PEM, empty for the system's authorities.

    Attributes:
        rabbitmq: `amqps://host:5671`, without credentials and without a virtual host.
        elasticsearch: URLs divided by commas.
    """

    rabbitmq: str
    elasticsearch: str
    rabbitmq_ca: str = ""
    elasticsearch_ca: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a component is at the backends; empty parts are not known (yet)."""

    user: str
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)


def without_credentials(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def amqp_url(endpoints: Endpoints, user: str, password: str, vhost: str = "") -> str:
    """URL with credentials, percent-encoded, and perhaps with a virtual host."""
    scheme, _, place = endpoints.rabbitmq.partition("://")
    path = f"/{quote(vhost, safe='')}" if vhost else ""
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{place}{path}"


def backends_data(endpoints: Endpoints, account: Account) -> dict[str, str]:
    """Keys and values as `vedette_backends.settings` reads them from a mounted folder."""
    found = {
        "rabbitmq-url": amqp_url(endpoints, account.user, account.password),
        "elasticsearch-url": endpoints.elasticsearch,
        "elasticsearch-api-key": account.api_key,
    }
    if endpoints.rabbitmq_ca:
        found["rabbitmq-ca.crt"] = endpoints.rabbitmq_ca
        found[KEDA_TLS] = "enable"
    if endpoints.elasticsearch_ca:
        found["elasticsearch-ca.crt"] = endpoints.elasticsearch_ca
    return found


def publisher_data(endpoints: Endpoints, namespace: str, source: Source, password: str) -> dict[str, str]:
    """What somebody needs who publishes events of a source from outside."""
    user, vhost = names.publisher_user(namespace, source.name), names.worker_user(namespace)
    found = {
        "url": amqp_url(endpoints, user, password, vhost),
        "username": user,
        "password": password,
        "vhost": vhost,
        "exchange": source.exchange,
        "routing-key": example_key(source.routing_keys[0]) if source.routing_keys else "",
    }
    if endpoints.rabbitmq_ca:
        found["ca.crt"] = endpoints.rabbitmq_ca
    return found


def account_in(secret: Manifest | None, user: str) -> Account:
    """The account that a backends Secret was made for; its parts are empty where the Secret is another's or broken."""
    data = decoded(secret)
    try:
        parts = urlsplit(data.get("rabbitmq-url", ""))
        known = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        known = "", ""
    if known[0] != user:
        return Account(user)
    return Account(user, known[1], data.get("elasticsearch-api-key", ""))


def decoded(secret: Manifest | None) -> dict[str, str]:
    """Values of a Secret; those that are no text are left out."""
    found: dict[str, str] = {}
    for name, value in ((secret or {}).get("data") or {}).items():
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError):
            continue
    return found


def secret(
    namespace: str, name: str, labelled: Mapping[str, str], data: Mapping[str, str], owners: Sequence[Document] = ()
) -> Document:
    """The manifest of a Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(namespace, name, labelled, owners),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())},
    }


def data_hash(data: Mapping[str, str]) -> str:
    """Changes when a value does. It may be seen by who may not see the Secret: passwords in it are long and random."""
    return sha256(orjson.dumps(dict(data), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
