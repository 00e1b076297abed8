"""RabbitMQ's management API: virtual hosts, users, permissions and policies, which AMQP cannot make.

Source: the HTTP API reference that every server shows at `/api/index.html`. Works with 3.10 to 4.x.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import json
import secrets
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from vedette_backends.errors import BackendError, ConflictError, NotFoundError, RefusedError, UnavailableError
from vedette_backends.settings import VHOST_PREFIX, RabbitMQSettings

TIMEOUT = 10.0
"""Seconds for one request."""

_HASHING = "rabbit_password_hashing_sha256"
_SALT_BYTES = 4
_MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """What the management API tells of a queue, some seconds late. `bytes`: of all bodies, unacked ones included."""

    name: str
    ready: int
    unacked: int
    bytes: int
    consumers: int
    kind: str


def vhost_of(namespace: str) -> str:
    """The virtual host of a namespace."""
    return VHOST_PREFIX + namespace


class RabbitMQAdmin:
    """An administrator's view; threads may share it. All that ensures something writes only what differs.

    Every method may raise UnavailableError (no answer, or the server cannot now) and RefusedError (not allowed, or not
    understood). No message of them holds a password.
    """

    def __init__(self, settings: RabbitMQSettings, *, timeout: float = TIMEOUT) -> None:
        """Connects at the first call; RefusedError when the settings cannot be right."""
        address = urlsplit(settings.management_url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise RefusedError("rabbitmq-management-url is missing, or is no http:// or https:// address")
        self._name = f"{address.scheme}://{address.hostname}:{address.port or _port(address.scheme)}"
        self._prefix = address.path.rstrip("/") + "/api/"
        self._headers = {"Authorization": _authorization(settings), "Content-Type": "application/json"}
        self._lock = threading.Lock()
        if address.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.hostname, address.port or 443, timeout=timeout, context=tls_context(settings)
            )
        else:
            self._connection = http.client.HTTPConnection(address.hostname, address.port or 80, timeout=timeout)

    # virtual hosts --------------------------------------------------------------------------------------------------
    def vhosts(self) -> list[str]:
        """Names of all virtual hosts, sorted."""
        return sorted(each["name"] for each in self._get("vhosts?columns=name"))

    def ensure_vhost(self, namespace: str) -> str:
        """The namespace's virtual host exists; its name."""
        name = vhost_of(namespace)
        if self._find(f"vhosts/{_quoted(name)}") is None:
            self._send("PUT", f"vhosts/{_quoted(name)}", {"description": f"Vedette, namespace {namespace}"})
        return name

    def delete_vhost(self, namespace: str) -> None:
        """Remove it with all queues and messages; no error when there is none."""
        self._delete(f"vhosts/{_quoted(vhost_of(namespace))}")

    # users ----------------------------------------------------------------------------------------------------------
    def users(self) -> list[str]:
        """Names of all users, sorted."""
        return sorted(each["name"] for each in self._get("users?columns=name"))

    def ensure_user(self, name: str, password: str) -> None:
        """The user exists, has this password, and no right to the management API."""
        found = self._find(f"users/{_quoted(name)}")
        if found is not None and not _tags(found) and _is_hash_of(found, password):
            return
        body = {"password_hash": _hash(password), "hashing_algorithm": _HASHING, "tags": ""}
        self._send("PUT", f"users/{_quoted(name)}", body)

    def delete_user(self, name: str) -> None:
        """No error when there is none. The user's connections end."""
        self._delete(f"users/{_quoted(name)}")

    def ensure_permissions(self, name: str, vhost: str, configure: str, write: str, read: str) -> None:
        """The user may do exactly this in the virtual host: three regular expressions over names of resources."""
        wanted = {"configure": configure, "write": write, "read": read}
        path = f"permissions/{_quoted(vhost)}/{_quoted(name)}"
        found = self._find(path)
        if found is None or {part: found.get(part) for part in wanted} != wanted:
            self._send("PUT", path, wanted)

    def delete_permissions(self, name: str, vhost: str) -> None:
        """The user may do nothing in the virtual host; no error when that is so already."""
        self._delete(f"permissions/{_quoted(vhost)}/{_quoted(name)}")

    def permissions(self, name: str) -> dict[str, tuple[str, str, str]]:
        """What a user may do: virtual host → configure, write, read. NotFoundError for an unknown user."""
        found = self._get(f"users/{_quoted(name)}/permissions")
        return {each["vhost"]: (each["configure"], each["write"], each["read"]) for each in found}

    # queues ---------------------------------------------------------------------------------------------------------
    def queues(self, vhost: str) -> list[QueueInfo]:
        """All queues of a virtual host, sorted by name. NotFoundError for an unknown virtual host."""
        return sorted(map(_queue_info, self._get(f"queues/{_quoted(vhost)}")), key=lambda queue: queue.name)

    def queue(self, vhost: str, name: str) -> QueueInfo:
        """One queue; NotFoundError."""
        return _queue_info(self._get(f"queues/{_quoted(vhost)}/{_quoted(name)}"))

    def bindings(self, vhost: str, queue: str) -> list[tuple[str, str, dict[str, Any]]]:
        """How a queue is bound, the default exchange left out: (exchange, routing key, arguments)."""
        found = self._get(f"queues/{_quoted(vhost)}/{_quoted(queue)}/bindings")
        return [(each["source"], each["routing_key"], each["arguments"]) for each in found if each["source"]]

    # policies -------------------------------------------------------------------------------------------------------
    def set_policy(
        self,
        vhost: str,
        name: str,
        pattern: str,
        definition: Mapping[str, Any],
        *,
        apply_to: str = "queues",
        priority: int = 0,
    ) -> None:
        """The policy exists and says exactly this. Of several that fit a queue, the highest priority alone counts."""
        wanted = {"pattern": pattern, "definition": dict(definition), "apply-to": apply_to, "priority": priority}
        path = f"policies/{_quoted(vhost)}/{_quoted(name)}"
        found = self._find(path)
        if found is None or {part: found.get(part) for part in wanted} != wanted:
            self._send("PUT", path, wanted)

    def has_policy(self, vhost: str, name: str) -> bool:
        """Whether there is such a policy."""
        return self._find(f"policies/{_quoted(vhost)}/{_quoted(name)}") is not None

    def delete_policy(self, vhost: str, name: str) -> None:
        """No error when there is none."""
        self._delete(f"policies/{_quoted(vhost)}/{_quoted(name)}")

    def close(self) -> None:
        """End the connection. Harmless when repeated; the next call would open it again."""
        with self._lock:
            self._connection.close()

    # requests -------------------------------------------------------------------------------------------------------
    def _get(self, path: str) -> Any:
        return json.loads(self._send("GET", path))

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._get(path)
        except NotFoundError:
            return None
        return found

    def _delete(self, path: str) -> None:
        try:
            self._send("DELETE", path)
        except NotFoundError:
            return

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        encoded = None if body is None else json.dumps(body).encode()
        with self._lock:
            # A kept connection may have been closed by the server meanwhile; all that is sent here can be repeated.
            kept = self._connection.sock is not None
            try:
                status, answer = self._once(method, path, encoded)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not kept or isinstance(error, TimeoutError):
                    raise self._unreachable(error) from error
                try:
                    status, answer = self._once(method, path, encoded)
                except (OSError, http.client.HTTPException) as again:
                    self._connection.close()
                    raise self._unreachable(again) from again
        if 200 <= status < 300:
            return answer
        raise _refusal(status, f"{method} {path.partition('?')[0]} at {self._name}", answer)

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, self._prefix + path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(_MAX_ANSWER_BYTES)
        if response.read(1):
            raise http.client.HTTPException(f"an answer of more than {_MAX_ANSWER_BYTES} bytes")
        return response.status, answer

    def _unreachable(self, error: Exception) -> BackendError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return RefusedError(f"{self._name}: {error.verify_message}")
        return UnavailableError(f"{self._name}: {str(error) or type(error).__name__}")


def tls_context(settings: RabbitMQSettings) -> ssl.SSLContext:
    """Verifies the server's certificate and its name. RefusedError when the authority's file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise RefusedError(f"rabbitmq-ca.crt cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _authorization(settings: RabbitMQSettings) -> str:
    user = urlsplit(settings.url)
    pair = f"{unquote(user.username or '')}:{unquote(user.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _refusal(status: int, what: str, answer: bytes) -> BackendError:
    try:
        told = json.loads(answer)
        reason = str(told.get("reason") or told.get("error") or "")
    except (ValueError, AttributeError):
        reason = ""
    text = f"{what}: HTTP {status} {reason[:500]}".rstrip()
    if status == 404:
        return NotFoundError(text)
    if status == 409:
        return ConflictError(text)
    if status >= 500 or status in {408, 429}:
        return UnavailableError(text)
    return RefusedError(text)


def _tags(user: Mapping[str, Any]) -> list[str]:
    # A list since 3.9, one string divided by commas before.
    tags = user.get("tags") or []
    return tags if isinstance(tags, list) else [tag for tag in str(tags).split(",") if tag]


def _salted(salt: bytes, password: str) -> bytes:
    return salt + hashlib.sha256(salt + password.encode()).digest()


def _hash(password: str) -> str:
    """As RabbitMQ keeps it: https://www.rabbitmq.com/docs/passwords#computing-password-hash."""
    return base64.b64encode(_salted(secrets.token_bytes(_SALT_BYTES), password)).decode()


def _is_hash_of(user: Mapping[str, Any], password: str) -> bool:
    if user.get("hashing_algorithm") != _HASHING:
        return False
    try:
        kept = base64.b64decode(str(user.get("password_hash", "")), validate=True)
    except binascii.Error:
        return False
    return secrets.compare_digest(kept, _salted(kept[:_SALT_BYTES], password))


def _queue_info(found: Mapping[str, Any]) -> QueueInfo:
    return QueueInfo(
        name=found["name"],
        ready=int(found.get("messages_ready") or 0),
        unacked=int(found.get("messages_unacknowledged") or 0),
        bytes=int(found.get("message_bytes") or 0),
        consumers=int(found.get("consumers") or 0),
        kind=str(found.get("type") or ""),
    )
