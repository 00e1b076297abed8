"""`Broker` in a cluster: quorum queues of RabbitMQ, one virtual host per namespace.

The one module that imports pika. What it is used for stands in the modules beside it whose names begin the same.
"""

from __future__ import annotations

import logging
import ssl
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError, ConnectionClosedByClient

from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin, tls_context, vhost_of
from vedette_backends.broker.rabbitmq_broker import RabbitMQBroker
from vedette_backends.broker.rabbitmq_channels import Events, translated
from vedette_backends.broker.rabbitmq_messages import UNREADABLE
from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_backends.settings import RabbitMQSettings

__all__ = ["CONFIRM_SECONDS", "Connection", "RabbitMQBroker", "open_broker"]

CONFIRM_SECONDS = 10.0
CONNECT_SECONDS = 10.0
HEARTBEAT_SECONDS = 20
CLOSE_SECONDS = 5.0

_HEADER_FRAME = 2
_FRAME_HEAD = struct.Struct(">BHL")
_CONTENT_HEAD = struct.Struct(">HHQ")

_log = logging.getLogger(__name__)

# It tells every failure on several levels at once, and each reaches the code above as an error already.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def open_broker(
    settings: RabbitMQSettings, namespace: str, *, name: str = "vedette", confirm_seconds: float = CONFIRM_SECONDS
) -> RabbitMQBroker:
    """The queues of a namespace's virtual host. Connects when it is first used, and again after every loss.

    Args:
        settings: with `management_url`, limits and bindings can be declared, queues listed, and `stats` are complete.
        namespace: whose virtual host, which must exist (`RabbitMQAdmin.ensure_vhost`).
        name: shown for the connections in RabbitMQ's management.
        confirm_seconds: how long `publish` waits.

    Raises:
        RefusedError: the settings cannot be right.
    """
    parameters = _parameters(settings, vhost_of(namespace), name)
    admin = RabbitMQAdmin(settings) if settings.management_url else None
    connect = partial(_connect, parameters)
    user = parameters.credentials.username
    return RabbitMQBroker(connect, vhost_of(namespace), user, admin, confirm_seconds=confirm_seconds)


def _parameters(settings: RabbitMQSettings, vhost: str, name: str) -> pika.ConnectionParameters:
    try:
        address = urlsplit(settings.url)
        port = address.port
    except ValueError:
        # Not with its text: it may hold a part of the password.
        raise RefusedError("rabbitmq-url is no address") from None
    if address.scheme not in {"amqp", "amqps"} or not address.hostname or not address.username:
        raise RefusedError("rabbitmq-url must look like amqps://USER:PASSWORD@HOST:5671")
    secure = address.scheme == "amqps"
    return pika.ConnectionParameters(
        host=address.hostname,
        port=port or (5671 if secure else 5672),
        virtual_host=vhost,
        credentials=pika.PlainCredentials(
            unquote(address.username), unquote(address.password or ""), erase_on_connect=False
        ),
        ssl_options=pika.SSLOptions(tls_context(settings), address.hostname) if secure else None,
        heartbeat=HEARTBEAT_SECONDS,
        socket_timeout=CONNECT_SECONDS / 2,
        stack_timeout=CONNECT_SECONDS,
        connection_attempts=1,
        client_properties={"connection_name": name},
    )


def _connect(parameters: pika.ConnectionParameters, events: Events) -> Connection:
    connection = Connection(parameters, events)
    connection.start()
    return connection


class _Connection(pika.SelectConnection):  # type: ignore[misc] # pika is Any to mypy
    """pika's, with three things it lacks."""

    def abort(self, error: Exception) -> None:
        """End it without the server's help."""
        self._terminate_stream(error)

    def end(self) -> None:
        """End it in good order, channels and consumers with it.

        pika would cancel the consumers first. Another consumer of a queue would then get the next message before the
        one that is given back here.
        """
        if not self.is_open:
            self.close()
            return
        self._error = ConnectionClosedByClient(200, "Normal shutdown")
        self._set_connection_state(self.CONNECTION_CLOSING)
        self._on_close_ready()

    def _read_frame(self) -> tuple[int, Any]:
        """The next frame.

        A publisher's headers that pika cannot decode (a time past the year 9999, a table too deep) would end the
        connection, and the next one that the message is delivered to: they are left out.
        """
        try:
            found: tuple[int, Any] = super()._read_frame()
        except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError, struct.error, AMQPError):
            kind, channel, size = _FRAME_HEAD.unpack_from(self._frame_buffer)
            if kind != _HEADER_FRAME:
                raise
            _, _, body_size = _CONTENT_HEAD.unpack_from(self._frame_buffer, _FRAME_HEAD.size)
            properties = pika.BasicProperties(headers={UNREADABLE: "true"})
            return _FRAME_HEAD.size + size + 1, pika.frame.Header(channel, body_size, properties)
        return found


class Connection:
    """One connection and the thread that serves it (`rabbitmq_channels.Link`).

    Heartbeats are answered and messages taken in whatever the owner's threads do.
    """

    def __init__(self, parameters: pika.ConnectionParameters, events: Events) -> None:
        self._parameters = parameters
        self._events = events
        self._loop = IOLoop()
        self._connection: _Connection | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._error: BackendError | None = None
        self._thread = threading.Thread(target=self._serve, name="rabbitmq", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    # from any thread ------------------------------------------------------------------------------------------------
    def run(self, work: Callable[[], None]) -> bool:
        """Have it done in the connection's thread soon; False when the connection is gone."""
        with self._lock:
            if self._ended:
                return False
            self._loop.add_callback_threadsafe(work)
            return True

    def drop(self, error: BackendError) -> None:
        """End the connection without the server's help."""
        self.run(lambda: self._abort(error))

    def close(self) -> None:
        """End the connection in good order, or without the server's help when it does not answer in time."""
        self.run(self._close)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self.drop(UnavailableError("RabbitMQ did not answer"))
            self._thread.join(CLOSE_SECONDS)

    # in the connection's thread -------------------------------------------------------------------------------------
    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have it done after a while."""
        self._loop.call_later(seconds, work)

    def channel(self, opened: Callable[[Any], None], closed: Callable[[BackendError], None]) -> None:
        """Open a channel; `closed` also when that fails or the connection is lost."""
        assert self._connection is not None
        if not self._connection.is_open:
            closed(self._error or UnavailableError("the connection to RabbitMQ was lost"))
            return
        channel = self._connection.channel(on_open_callback=opened)
        channel.add_on_close_callback(lambda _, reason: closed(self._error or translated(reason)))

    @staticmethod
    def properties(fields: dict[str, Any]) -> pika.BasicProperties:
        """A message's properties."""
        return pika.BasicProperties(**fields)

    def _serve(self) -> None:
        try:
            self._connection = _Connection(
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_end,
                on_close_callback=self._on_end,
                custom_ioloop=self._loop,
            )
            self._loop.start()
        except Exception as error:  # noqa: BLE001 # whatever it is: the owner must hear of it and connect again
            _log.exception("the connection to RabbitMQ failed unexpectedly")
            self._error = self._error or UnavailableError(f"{type(error).__name__}: {error}")
        with self._lock:
            self._ended = True
        try:
            self._release()
        except Exception:  # noqa: BLE001 # the owner must hear of the loss whatever happens here
            _log.exception("a lost connection to RabbitMQ could not be put away")
        finally:
            self._events.lost(self, self._error or UnavailableError("the connection to RabbitMQ ended"))

    def _release(self) -> None:
        """Close the socket, if a failure left it open, and do what was asked for too late: it hears of the loss."""
        if self._connection is not None and not self._connection.is_closed:
            self._connection.abort(ConnectionError("failed"))
        self._loop.process_timeouts()
        self._loop.close()

    def _on_open(self, connection: _Connection) -> None:
        connection.add_on_connection_blocked_callback(
            lambda _, frame: self._events.blocked(str(frame.method.reason) or "no reason given")
        )
        connection.add_on_connection_unblocked_callback(lambda *_: self._events.blocked(""))
        self._events.opened(self)

    def _on_end(self, _connection: _Connection, reason: BaseException) -> None:
        self._error = self._error or _ended(reason)
        self._loop.stop()

    def _abort(self, error: BackendError) -> None:
        if self._connection is not None and not self._connection.is_closed:
            self._error = self._error or error
            self._connection.abort(error)

    def _close(self) -> None:
        assert self._connection is not None
        if not (self._connection.is_closing or self._connection.is_closed):
            self._error = self._error or UnavailableError("the connection was closed")
            self._connection.end()


def _ended(reason: BaseException) -> BackendError:
    """Why a connection could not be made, or ended. pika wraps the cause several times."""
    cause: Any = reason
    while True:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RefusedError(f"RabbitMQ's certificate: {cause.verify_message}")
        inner = getattr(cause, "exceptions", None) or [getattr(cause, "exception", None)]
        inner = [*inner, *(each for each in getattr(cause, "args", ()) if isinstance(each, BaseException))]
        found = next((each for each in reversed(inner) if isinstance(each, BaseException)), None)
        if found is None:
            break
        cause = found
    kind = type(cause).__name__
    if kind in {"ProbableAuthenticationError", "ProbableAccessDeniedError", "AuthenticationError"}:
        return RefusedError("RabbitMQ refuses the user, the password or the virtual host")
    if getattr(cause, "reply_code", None) is None:
        return UnavailableError(f"RabbitMQ: {str(cause) or kind}")
    return translated(cause)
