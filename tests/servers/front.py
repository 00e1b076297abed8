"""A port in front of a real server, through which a whole release reaches it.

It passes on bytes as they are, TLS and all, and nobody notices it. While a test wants it, a meddler stands on the line
instead: that ends TLS with the server's own certificate, sees what is said, and does harm to it. The server behind it
is a real one all the time.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.servers.pki import Identity

CONNECT_SECONDS: Final = 5.0
_CHUNK: Final = 1 << 16
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed is reset, as by a host that has died."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The server that a meddler stands in front of.

    Attributes:
        host, port: where it is.
        outward: what a client is shown: the server's certificate.
        inward: trusts the server.
    """

    host: str
    port: int
    outward: ssl.SSLContext
    inward: ssl.SSLContext

    def connect(self) -> socket.socket:
        """A connection to the server, TLS not begun."""
        return socket.create_connection((self.host, self.port), CONNECT_SECONDS)


Meddler = Callable[[socket.socket, Behind], None]
"""Serves one connection of a client, TLS not begun, in a thread of its own; the socket is closed behind it."""


class Front:
    """Listens until it is closed, or until its process ends.

    Args:
        host: an address of this machine.
        server: where the server listens.
        identity: the server's own.
    """

    def __init__(self, host: str, server: tuple[str, int], identity: Identity) -> None:
        outward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outward.load_cert_chain(identity.certificate, identity.key)
        self._behind = Behind(*server, outward, ssl.create_default_context(cafile=identity.ca))
        self._meddler: Meddler | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0), backlog=200)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"front-{self.port}", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def meddled(self, meddler: Meddler) -> Iterator[None]:
        """All connections, those that exist included, go through a meddler meanwhile."""
        self._meddler = meddler
        self.cut()
        try:
            yield
        finally:
            self._meddler = None
            self.cut()

    def cut(self) -> None:
        """End every connection."""
        with self._lock:
            for client in self._open:
                _end(client)

    def close(self) -> None:
        """End every connection and take no more."""
        # Closing it would not wake the thread that waits there.
        _end(self._listener)
        self._thread.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Whoever begins TLS takes the socket over: this one stays ours, to end the connection by.
        handle = client.dup()
        with self._lock:
            self._open.add(handle)
        try:
            (self._meddler or splice)(client, self._behind)
        except OSError:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        finally:
            with self._lock:
                self._open.remove(handle)
            client.close()
            _end(handle)
            handle.close()


def splice(client: socket.socket, behind: Behind) -> None:
    """Pass on what comes, both ways, until one side ends. Raises OSError where the server cannot be reached."""
    with behind.connect() as server:
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
