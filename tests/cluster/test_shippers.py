"""Debian's rsyslog and syslog-ng, as they come, send to a cluster: over HTTP to the gateway, over AMQP past it."""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.cluster.release import SHOP, TOKEN, Release, sshd
from tests.helpers import until

LINES = 300

AMQP = """
  amqp(
    host("{host}") port({port}) vhost("{vhost}") username("{user}") password("{password}")
    exchange("{exchange}") exchange-type("topic") exchange-declare(no) routing-key("{key}") persistent(yes)
    tls(ca-file("{ca}") peer-verify(yes))
    body("$(format-json timestamp=$ISODATE hostname={name} category=authentication summary=$MESSAGE)")
  );
"""


def lines(host: str) -> list[str]:
    """Lines that differ, of a host that no other test has."""
    now = time.time()
    return [sshd(f"user{number}", "192.0.2.90", host=host, when=now - number % 60) for number in range(LINES)]


def users(shop: Release, host: str) -> int:
    """How many of the lines are stored."""
    return shop.count(f"host.name:{host}")


def delivered(shop: Release, host: str, log: Path) -> None:
    """Every line arrives, and once."""
    try:
        until(lambda: users(shop, host) >= LINES, seconds=60, what=f"{LINES} events of {host}", pause=0.3)
    except AssertionError:
        pytest.fail(f"{users(shop, host)} of {LINES} arrived; the shipper says:\n{log.read_text()[-3000:]}")
    assert users(shop, host) == LINES
    assert [shop.count(f"host.name:{host} AND user.name:user{number}") for number in (0, LINES - 1)] == [1, 1]


@pytest.fixture
def by_name() -> Iterator[Callable[..., int]]:
    """A port of `localhost` behind which an address is: syslog-ng takes a certificate for names only."""
    running: list[socketserver.ThreadingTCPServer] = []

    def listen(host: str, port: int) -> int:
        class Relay(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((host, port)) as server:
                    back = threading.Thread(target=pump, args=(server, self.request), daemon=True)
                    back.start()
                    pump(self.request, server)
                    back.join(20)

        relay = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay)
        relay.daemon_threads = True
        running.append(relay)
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        return int(relay.server_address[1])

    yield listen
    for relay in running:
        relay.shutdown()
        relay.server_close()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on what arrives until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def gateway(shop: Release) -> tuple[str, int]:
    """Address and port of the gateway's Service."""
    parts = urlsplit(shop.service("gateway", 8421))
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_rsyslog_sends_to_the_gateway_as_to_elasticsearch(shop: Release, rsyslog: Callable[..., Path]) -> None:
    delivered(shop, "rsyslog1", rsyslog(lines("rsyslog1"), *gateway(shop), TOKEN))


def test_syslog_ng_sends_to_the_gateway_over_http(shop: Release, syslog_ng_http: Callable[..., Path]) -> None:
    delivered(shop, "syslog-ng1", syslog_ng_http(lines("syslog-ng1"), shop.service("gateway", 8421), TOKEN))


def test_syslog_ng_publishes_to_the_exchange_of_a_source(
    shop: Release, syslog_ng: Callable[..., Path], by_name: Callable[..., int], tmp_path: Path
) -> None:
    shop.node.kubectl("apply", "--server-side", "-f", str(SHOP.with_name("mozdef.yaml")))
    shop.wait_ready("logsource/mozdef")
    found = shop.get("secret", "mozdef-publisher")["data"]
    secret = {name: base64.b64decode(value).decode() for name, value in found.items()}
    url = urlsplit(secret["url"])
    assert url.password is not None
    ca = tmp_path / "ca.crt"
    ca.write_text(secret["ca.crt"])
    destination = AMQP.format(
        host="localhost",
        port=by_name(url.hostname, url.port),
        vhost=unquote(url.path.removeprefix("/")),
        user=secret["username"],
        password=unquote(url.password),
        exchange=secret["exchange"],
        key=secret["routing-key"],
        ca=ca,
        name="syslog-ng2",
    )
    log = syslog_ng([f"legacy message {number}" for number in range(LINES)], destination)
    try:
        until(lambda: users(shop, "syslog-ng2") >= LINES, seconds=60, what="all messages", pause=0.3)
    except AssertionError:
        pytest.fail(f"{users(shop, 'syslog-ng2')} arrived; the shipper says:\n{log.read_text()[-3000:]}")
    assert users(shop, "syslog-ng2") == LINES
