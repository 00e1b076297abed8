"""Connections to a Kubernetes API server: the one module that imports the `kubernetes` client.

Of the client it uses what is hard to do well: kubeconfig and in-cluster credentials, which it reads again when they
rotate, TLS, proxies and pooled connections. Requests are plain JSON: the client's typed models cost several times the
memory and the time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from vedette_backends.cluster.kube_api import Api, Query
from vedette_backends.cluster.kube_cluster import KubernetesCluster
from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.errors import RefusedError, UnavailableError

__all__ = ["KubernetesCluster", "KubernetesResources", "connect"]

POOL = 16
_HOST_VARIABLE = "KUBERNETES_SERVICE_HOST"


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Api:
    """A connection; nothing is sent yet. Threads share it, processes open their own.

    Args:
        kubeconfig: a file; without it the pod's own ServiceAccount where there is one, else `$KUBECONFIG` or the file
            in the user's home.
        context: another one of the file than its current one.

    Raises:
        RefusedError: there are no usable credentials.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and context is None and os.environ.get(_HOST_VARIABLE):
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(
                config_file=None if kubeconfig is None else str(kubeconfig),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (config.ConfigException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        # The client meets a file of another shape without asking.
        raise RefusedError(f"no credentials for a Kubernetes API: {error}") from error
    # The code above knows which requests may be sent twice.
    configuration.retries = False
    configuration.connection_pool_maxsize = POOL
    # A server that vanished without a word is noticed.
    configuration.keep_alive = True
    return Api(ClientTransport(ApiClient(configuration)))


class ClientTransport:
    """`Transport` by the client's own credentials and connections."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._host = client.configuration.host
        client.user_agent = "vedette"

    def send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: tuple[float, float],
    ) -> ClientReply:
        """One request; raises UnavailableError."""
        with _translated(self._host):
            _, url, complete, _, _ = self._client.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params=dict(headers),
                auth_settings=["BearerToken"],
            )
            response = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=body,
                headers=complete,
                timeout=Timeout(connect=timeout[0], read=timeout[1]),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        return ClientReply(response, self._host)

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


class ClientReply:
    """`Reply` of the client's connections."""

    def __init__(self, response: BaseHTTPResponse, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self) -> bytes:
        """The whole body."""
        with _translated(self._host):
            return self._response.read()

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes."""
        with _translated(self._host):
            yield from self._response.stream(None)

    def abort(self) -> None:
        """Make a read that waits in another thread end."""
        # When nobody reads any more, there is nothing to end.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def close(self) -> None:
        """Close the connection, if it was not given back because something is left to read."""
        self._response.close()


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    try:
        yield
    except (HTTPError, ApiException, config.ConfigException, OSError, HTTPException) as error:
        raise UnavailableError(f"the Kubernetes API at {host} cannot be reached: {error}") from error
