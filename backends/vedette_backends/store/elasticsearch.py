"""The connection to Elasticsearch. The only module that imports its client.

The client keeps the pool of nodes and connections, speaks TLS and knows who we are; bodies go through it as bytes in
both directions, because its helpers cost four times what the rest of a bulk request does.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from elasticsearch import ConnectionError as ClientConnectionError
from elasticsearch import ConnectionTimeout, Elasticsearch, SerializationError, TransportError
from elasticsearch.serializer import JsonSerializer

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.settings import ElasticsearchSettings
from vedette_backends.store.elastic_http import READ_SECONDS, Answer
from vedette_backends.store.elastic_store import ElasticsearchStore

__all__ = ["Connection", "ElasticsearchStore", "connect", "now_ms", "open_store"]

CONNECTIONS: Final = 16
"""Per node; a caller beyond these waits."""

_JSON: Final = "application/vnd.elasticsearch+json; compatible-with=9"
_LINES: Final = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class _Bytes(JsonSerializer):
    """Bytes in, bytes out: whoever asks encodes and decodes."""

    mimetype: ClassVar[str] = "application/json"

    def dumps(self, data: Any) -> bytes:
        return bytes(data)

    def loads(self, data: bytes) -> bytes:
        return data


class Connection:
    """One cluster as one user: a pool that all stores of a process share, from any thread.

    Args:
        settings: where it is and who we are.
        clock: milliseconds since the epoch.

    Raises:
        RefusedError: the addresses or the authority's file cannot be used.
    """

    def __init__(self, settings: ElasticsearchSettings, clock: Callable[[], int] = now_ms) -> None:
        self._clock = clock
        self._retries = len(settings.urls) - 1
        self._closed = False
        self._headers = {"accept": _JSON, "authorization": _authorization(settings)}
        serializer = _Bytes()
        kinds = ("application/json", "application/x-ndjson", "text/*")
        compatible = ("application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson")
        options: dict[str, Any] = {"ca_certs": str(settings.ca)} if settings.ca is not None else {}
        try:
            self._client = Elasticsearch(
                [_address(url) for url in settings.urls],
                serializers=dict.fromkeys((*kinds, *compatible), serializer),
                connections_per_node=CONNECTIONS,
                meta_header=False,
                **(options if any(url.startswith("https:") for url in settings.urls) else {}),
            )
        except (ValueError, OSError) as error:
            raise RefusedError(f"Elasticsearch cannot be reached with these settings: {error}") from error

    def call(
        self, method: str, target: str, body: bytes | None = None, *, seconds: float = READ_SECONDS, once: bool = False
    ) -> Answer:
        """See `elastic_http.Api.call`."""
        if self._closed:
            raise RefusedError("the connection to Elasticsearch is closed")
        headers = self._headers
        if body is not None:
            headers = {**headers, "content-type": _LINES if _is_bulk(target) else _JSON}
        try:
            answer = self._client.transport.perform_request(
                method,
                target,
                body=body,
                headers=headers,
                request_timeout=seconds,
                max_retries=0 if once else self._retries,
                retry_on_status=(),
                retry_on_timeout=False,
            )
        except ConnectionTimeout as error:
            raise UnavailableError(f"Elasticsearch did not answer within {seconds:.0f} s") from error
        except (ClientConnectionError, SerializationError, TransportError, OSError) as error:
            why = error.__cause__ or error
            if _UNTRUSTED in str(why):
                raise RefusedError(f"Elasticsearch's certificate is not trusted: {why}") from error
            raise UnavailableError(f"Elasticsearch cannot be reached: {why}") from error
        return Answer(answer.meta.status, answer.body or b"")

    def store(self, namespace: str, *, clock: Callable[[], int] | None = None) -> ElasticsearchStore:
        """The store of a namespace; closing it leaves the connection open. Raises RefusedError for a bad name."""
        return ElasticsearchStore(self, namespace, clock or self._clock)

    def close(self) -> None:
        """Close all connections; further calls fail."""
        if not self._closed:
            self._closed = True
            self._client.close()


def connect(settings: ElasticsearchSettings, *, clock: Callable[[], int] = now_ms) -> Connection:
    """A connection; asks nothing yet, so that a process can start while the cluster is away."""
    return Connection(settings, clock)


def open_store(
    settings: ElasticsearchSettings, namespace: str, *, clock: Callable[[], int] = now_ms
) -> ElasticsearchStore:
    """The store of one namespace, with a connection of its own."""
    connection = connect(settings, clock=clock)
    return ElasticsearchStore(connection, namespace, clock, connection.close)


def _is_bulk(target: str) -> bool:
    return target.partition("?")[0].endswith("_bulk")


def _authorization(settings: ElasticsearchSettings) -> str:
    if settings.api_key:
        return f"ApiKey {settings.api_key}"
    return "Basic " + base64.b64encode(f"{settings.username}:{settings.password}".encode()).decode()


def _address(url: str) -> str:
    """The URL with its port, which the client insists on; names and passwords do not belong into it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
        raise RefusedError("Elasticsearch's address is a URL such as https://es.example:9200, without a name in it")
    if parts.port is not None:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{443 if parts.scheme == 'https' else 80}{parts.path}"
