"""What a pod says of itself over HTTP: `/livez`, `/readyz`, `/metrics`, served by a thread beside the work.

Live means that the main loop goes on, not that this thread answers: a worker that hangs is killed and its messages are
delivered to others. Waiting for a backend is no hanging. Ready means that it does its work: the bundle is loaded, the
backends answered lately, the queues are consumed.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final

from vedette_backends.broker.protocol import Broker
from vedette_backends.errors import BackendError, NotFoundError
from vedette_engine.wire import ALERT_QUEUE

log = logging.getLogger(__name__)

STORE: Final = "store"
BROKER: Final = "broker"
CLUSTER: Final = "cluster"
BUNDLE: Final = "bundle"
CONSUMING: Final = "consuming"

LIVE_WITHIN: Final = 90.0
"""Seconds without a sign of life after which a worker counts as hanging; loading many rules takes some of them."""
READY_WITHIN: Final = 30.0
"""Seconds for which a backend that stopped answering counts as there: shorter faults need nobody's attention."""
_LASTING: Final = frozenset({BUNDLE, CONSUMING})
"""What stays true until it is said to have ended; all else has to be seen again and again."""
REQUEST_SECONDS: Final = 5.0

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Vitals:
    """What probes ask for. Any thread may call anything.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._alive_at = clock()
        self._seen: dict[str, float | None] = {}
        self._why: dict[str, str] = {}

    def expect(self, *names: str) -> None:
        """Ready only when each of these was reached."""
        for name in names:
            self._seen.setdefault(name, None)

    def alive(self) -> None:
        """The main loop goes on."""
        self._alive_at = self._clock()

    def reached(self, name: str) -> None:
        """It answered, or came about."""
        self._why.pop(name, None)
        self._seen[name] = self._clock()

    def failed(self, name: str, why: str) -> None:
        """It did not answer, or is no more; `why` for people."""
        self._why[name] = why[:300]
        if name in _LASTING:
            self._seen[name] = None

    def hanging(self) -> str:
        """Why the worker is not alive; empty when it is."""
        silent = self._clock() - self._alive_at
        return "" if silent <= LIVE_WITHIN else f"the main loop has not moved for {silent:.0f} s"

    def unready(self) -> dict[str, str]:
        """What is expected and not there → why."""
        now = self._clock()
        problems = {}
        for name, seen in list(self._seen.items()):
            if seen is None:
                problems[name] = self._why.get(name, "not yet")
            elif name not in _LASTING and now - seen > READY_WITHIN:
                problems[name] = self._why.get(name) or f"no answer for {now - seen:.0f} s"
        return problems


def look_for_broker(broker: Broker, vitals: Vitals) -> None:
    """Ask the broker, and note whether it answered.

    Where nothing is fetched there may be nothing, no queue to fetch from, enough at hand, or no broker.
    """
    try:
        broker.stats(ALERT_QUEUE)
    except NotFoundError:
        vitals.reached(BROKER)
    except BackendError as error:
        vitals.failed(BROKER, str(error))
    else:
        vitals.reached(BROKER)


class StatusServer:
    """Answers probes and scrapes until it is closed.

    Args:
        vitals: what is probed.
        metrics: the metrics in Prometheus' text format.
        host, port: to listen on; port 0 takes a free one, which `port` tells.

    Raises:
        OSError: the address cannot be used.
    """

    def __init__(self, vitals: Vitals, metrics: Callable[[], bytes], *, host: str = "", port: int = 9090) -> None:
        handler = type("Handler", (_Handler,), {"vitals": vitals, "metrics": staticmethod(metrics)})
        self._server = _server(host, port, handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and release the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 # the base class's own shape
        """A client that went away is no event."""
        log.debug("status: a request from %s was not answered: %s", client_address, sys.exception())


class _ServerOnBoth(_Server):
    """Takes IPv4 and IPv6."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Also for mapped addresses, whatever the machine's default is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _server(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    if host and ":" not in host:
        return _Server((host, port), handler)
    try:
        return _ServerOnBoth((host or "::", port), handler)
    except OSError:
        if host:
            raise
        return _Server(("0.0.0.0", port), handler)  # noqa: S104 # kubelet and Prometheus come from other machines


class _Handler(BaseHTTPRequestHandler):
    vitals: ClassVar[Vitals]
    metrics: ClassVar[Callable[[], bytes]]
    timeout = REQUEST_SECONDS
    server_version = "vedette"
    sys_version = ""

    def do_GET(self) -> None:
        """One of the three pages."""
        path = self.path.partition("?")[0]
        if path == "/livez":
            hanging = self.vitals.hanging()
            self._say({"main": hanging} if hanging else {})
        elif path == "/readyz":
            self._say(self.vitals.unready())
        elif path == "/metrics":
            self._answer(200, PROMETHEUS, type(self).metrics())
        else:
            self._answer(404, "text/plain", b"/livez /readyz /metrics\n")

    def _say(self, problems: dict[str, str]) -> None:
        body = json.dumps({"ok": not problems, "problems": problems}).encode() + b"\n"
        self._answer(503 if problems else 200, "application/json", body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class names it so
        """Probes come every few seconds: only for those who look for them."""
        log.debug(format, *args)
