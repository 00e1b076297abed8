"""Requests to a Kubernetes API server: time limits, second tries where they do no harm, and our own errors."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import orjson

from vedette_backends.cluster.kube_kinds import ResourceType
from vedette_backends.errors import BackendError, ConflictError, NotFoundError, RefusedError, UnavailableError

PAGE = 500
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
_TRIES = 3
_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 2.0
# A page of large objects makes the next page smaller: so much of a list is in memory as text at a time.
_PAGE_BYTES = 8 * 1024 * 1024
_LINE_BYTES = 32 * 1024 * 1024
_MESSAGE_CHARACTERS = 2000
_PASSING = frozenset({429, 500, 502, 503, 504})

Query = Mapping[str, str | int]


class ExpiredError(UnavailableError):
    """The server no longer knows that resource version: list anew."""


class Reply(Protocol):
    """A response, of which the body is not read yet."""

    status: int
    headers: Mapping[str, str]

    def read(self) -> bytes:
        """The whole body; raises UnavailableError."""

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises UnavailableError."""

    def abort(self) -> None:
        """Make a read that waits in another thread end."""

    def close(self) -> None:
        """Give the connection back, or close it when something is left to read."""


class Transport(Protocol):
    """Sends requests to one server, as one user; threads share it."""

    def send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: tuple[float, float],
    ) -> Reply:
        """One request; `timeout` is for connecting and for each read, in seconds. Raises UnavailableError."""

    def close(self) -> None:
        """Close idle connections."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `version` is the resource version of the whole list."""

    items: Sequence[dict[str, Any]]
    version: int


class Api:
    """Requests as the code above sees them. Threads share it.

    Every method raises UnavailableError (no connection, 429, 5xx, closed), RefusedError (401, 403, 422 and other
    refusals, with the server's message), ConflictError (409) and NotFoundError (404).
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._closed = threading.Event()

    def get(self, path: str, query: Query | None = None) -> dict[str, Any]:
        """One object, or what else the path stands for."""
        return self.request("GET", path, query=query)

    def find(self, path: str) -> dict[str, Any] | None:
        """One object; None when there is none."""
        try:
            return self.get(path)
        except NotFoundError:
            return None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Query | None = None,
        content: str = JSON,
        accept: str = JSON,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """One request with a JSON answer.

        `repeatable` says whether a second try does no harm when the first one's answer was lost.
        """
        return self._decoded(self._sent(method, path, body, query or {}, content, accept, repeatable=repeatable))

    def pages(self, path: str, query: Query | None = None, *, accept: str = JSON) -> Iterator[Page]:
        """A list, page by page, all of one moment. Raises ExpiredError when reading it took too long."""
        limit = PAGE
        going_on: dict[str, str | int] = {}
        while True:
            asked = {**(query or {}), **going_on, "limit": limit}
            text = self._sent("GET", path, None, asked, JSON, accept, repeatable=True)
            size = len(text)
            found = self._decoded(text)
            del text
            metadata = found.get("metadata") or {}
            yield Page(found.get("items") or [], version_of(found))
            if not metadata.get("continue"):
                return
            going_on = {"continue": metadata["continue"]}
            limit = max(1, min(PAGE, limit * _PAGE_BYTES // max(size, 1)))

    def has_any(self, path: str) -> bool:
        """Whether a list holds anything; reads one item at most."""
        text = self._sent("GET", path, None, {"limit": 1}, JSON, JSON, repeatable=True)
        return bool(self._decoded(text).get("items"))

    def items(self, kind: ResourceType, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, by namespace and name."""
        query = {"labelSelector": labels} if labels else {}
        for tries_left in range(_TRIES - 1, -1, -1):
            found: list[dict[str, Any]] = []
            try:
                for page in self.pages(kind.path(namespace), query):
                    found += page.items
            except ExpiredError:
                if not tries_left:
                    raise
                continue
            break
        for item in found:
            # Lists of built-in kinds say this once, for all their items.
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return sorted(found, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))

    def stream(self, path: str, query: Query, read_seconds: float) -> Stream:
        """A watch's events as they come; no second tries."""
        self._refuse_when_closed()
        headers = {"Accept": JSON}
        reply = self._transport.send("GET", path, query, headers, None, (CONNECT_SECONDS, read_seconds))
        if reply.status != 200:
            with contextlib.closing(reply):
                self._fail(reply.status, reply.read())
        return Stream(reply)

    def close(self) -> None:
        """Close idle connections; later calls raise UnavailableError."""
        self._closed.set()
        self._transport.close()

    def _sent(
        self, method: str, path: str, body: Any, query: Query, content: str, accept: str, *, repeatable: bool
    ) -> bytes:
        headers = {"Accept": accept, **({} if body is None else {"Content-Type": content})}
        data = None if body is None else encode(body)
        tries_left = _TRIES
        pause = _PAUSE_SECONDS
        while True:
            tries_left -= 1
            self._refuse_when_closed()
            try:
                reply = self._transport.send(method, path, query, headers, data, (CONNECT_SECONDS, READ_SECONDS))
                with contextlib.closing(reply):
                    text = reply.read()
            except UnavailableError:
                if not (tries_left and repeatable):
                    raise
            else:
                if reply.status < 300:
                    return text
                # 429 says that the server did nothing.
                again = reply.status == 429 or (repeatable and reply.status in _PASSING)
                if not (tries_left and again):
                    self._fail(reply.status, text)
                pause = max(pause, _seconds(reply.headers.get("Retry-After", "")))
            self._closed.wait(min(pause, _MAX_PAUSE_SECONDS) * random.uniform(0.8, 1.2))  # noqa: S311 # no secret
            pause *= 3

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise UnavailableError("the connection to the Kubernetes API is closed")

    @staticmethod
    def _decoded(text: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UnavailableError("the Kubernetes API answered with something that is not JSON") from error
        if not isinstance(found, dict):
            raise UnavailableError("the Kubernetes API answered with something that is no object")
        return found

    @staticmethod
    def _fail(code: int, text: bytes) -> NoReturn:
        try:
            status = orjson.loads(text)
        except orjson.JSONDecodeError:
            status = {}
        status = status if isinstance(status, dict) else {}
        message = str(status.get("message") or text.decode(errors="replace").strip() or "no message")
        raise failure(code, message[:_MESSAGE_CHARACTERS], status)


class Stream:
    """Events of a watch: one JSON object per line. One thread iterates; any thread may `abort`."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events until the server ends the watch; raises UnavailableError when the connection breaks."""
        pending = bytearray()
        for chunk in self._reply.chunks():
            if len(pending) + len(chunk) > _LINE_BYTES:
                raise UnavailableError(f"an event of a watch has more than {_LINE_BYTES} bytes")
            pending += chunk
            *lines, rest = pending.split(b"\n")
            if lines:
                pending = rest
                for line in lines:
                    if line:
                        yield Api._decoded(bytes(line))  # noqa: SLF001 # one boundary in two classes

    def abort(self) -> None:
        """End the iteration, whoever waits in it."""
        self._reply.abort()

    def close(self) -> None:
        """Close the connection."""
        self._reply.close()


def failure(code: int, message: str, status: Mapping[str, Any]) -> BackendError:
    """The error that stands for an answer of the API server (a `Status` object)."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    too_new = any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes or ())
    # "Too new" is what a server says whose data were restored from a backup: nothing but a new list helps there either.
    if code == 410 or too_new:
        return ExpiredError(message)
    if code == 404:
        return NotFoundError(message)
    if code == 409:
        return ConflictError(message)
    if code in _PASSING or code >= 500:
        return UnavailableError(f"the Kubernetes API answered {code}: {message}")
    return RefusedError(message)


def encode(value: Any) -> bytes:
    """JSON as bytes; raises RefusedError for what JSON cannot hold."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise RefusedError(f"this cannot be written as JSON: {error}") from error


def version_of(manifest: Mapping[str, Any]) -> int:
    """The resource version; since Kubernetes 1.35 these are documented to be comparable integers."""
    return int((manifest.get("metadata") or {}).get("resourceVersion") or 0)


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() and len(text) < 6 else 0.0
