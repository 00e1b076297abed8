from __future__ import annotations

import copy
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from vedette_workers.gateway.server import file_poll
from vedette_workers.gateway.sources import digest

Serve = Callable[..., Any]


def write(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").rename(path)


def bundle(site: Any) -> tuple[Path, dict[str, Any]]:
    path = site.data / "run" / "gateway.json"
    return path, copy.deepcopy(orjson.loads(path.read_bytes()))


def raw(port: int, data: bytes, wait: float = 10) -> bytes:
    """What the server answers before it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        answer = b""
        with suppress(ConnectionError):  # a server that stops reading may reset the connection
            connection.sendall(data)
            while chunk := connection.recv(65536):
                answer += chunk
    return answer


def test_a_new_bundle_is_in_force_without_a_restart(serve: Serve, site: Any, wait_until: Callable[..., None]) -> None:
    server = serve(failures=1_000_000)
    path, content = bundle(site)
    with server.client("new-token") as client:
        assert client.post("/events", content=b"{}").status_code == 401
        content["sources"][0]["tokens"] = [digest("new-token").hex()]
        write(path, orjson.dumps(content))
        wait_until(lambda: client.post("/events", content=b"{}").status_code == 200, "the new token is accepted")
    with server.client("web-token") as client:
        assert client.post("/events", content=b"{}").status_code == 401


@pytest.mark.parametrize("broken", [b"no JSON", b"[]", b'{"v":7,"sources":[]}'])
def test_a_broken_bundle_leaves_the_last_good_one(
    serve: Serve, site: Any, wait_until: Callable[..., None], broken: bytes
) -> None:
    server = serve()
    path, _ = bundle(site)
    write(path, broken)
    with server.client() as client:
        wait_until(
            lambda: "vedette_gateway_bundle_errors_total 1\n" in client.get("/metrics").text, "the bundle is refused"
        )
        assert client.post("/events", content=b"{}").status_code == 200
        assert client.get("/readyz").status_code == 200


def test_many_senders_at_once_lose_and_double_nothing(serve: Serve, site: Any) -> None:
    server = serve()

    def send(sender: int) -> int:
        with server.client() as client:
            for request in range(20):
                body = b"\n".join(orjson.dumps({"s": sender, "r": request, "n": number}) for number in range(10))
                assert client.post("/events", content=body).status_code == 200
        return sender

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(send, range(8)))) == 8
    records = site.drain()
    found = sorted(tuple(orjson.loads(record.raw).values()) for record in records)
    assert found == [(sender, request, number) for sender in range(8) for request in range(20) for number in range(10)]
    assert len({record.id for record in records}) == 1600


@pytest.mark.slow
def test_what_was_answered_before_a_kill_is_in_the_queue(spawn: Serve, site: Any) -> None:
    answered: set[int] = set()
    lock = threading.Lock()
    for round_ in range(3):
        server = spawn()
        enough = threading.Event()

        def send(sender: int, server: Any = server, round_: int = round_, enough: Any = enough) -> None:
            with server.client() as client:
                for request in range(100_000):
                    number = round_ * 10**7 + sender * 10**6 + request
                    try:
                        response = client.post("/events", content=orjson.dumps({"n": number}))
                    except httpx.TransportError:
                        return
                    assert response.status_code == 200
                    with lock:
                        answered.add(number)
                        if len(answered) >= 200 * (round_ + 1):
                            enough.set()

        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(send, sender) for sender in range(4)]
            assert enough.wait(60)
            os.kill(server.process.pid, signal.SIGKILL)
            for each in work:
                each.result()
    stored = [orjson.loads(record.raw)["n"] for record in site.drain()]
    assert answered <= set(stored)
    assert len(stored) == len(set(stored))


@pytest.mark.slow
def test_sigterm_finishes_the_requests_that_were_begun(spawn: Serve, site: Any) -> None:
    server = spawn()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = b"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer web-token\r\nContent-Length: 7\r\n\r\n"
        connection.sendall(head + b'{"a"')
        with server.client() as client:
            client.get("/healthz")
        server.process.terminate()
        connection.sendall(b":1}")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.process.wait(20) == 0
    assert [record.raw for record in site.drain()] == [b'{"a":1}']


def test_a_head_that_is_too_large_is_refused(serve: Serve) -> None:
    server = serve(head_bytes=5000)
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(101))
    for head in (b"X: " + b"x" * 300_000, many + b"\r\n"):
        answer = raw(server.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT", b"POST /events HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_never_ends_is_cut_off(serve: Serve, begun: bytes) -> None:
    server = serve(head_time=0.2)
    assert raw(server.port, begun) == b""


def test_a_body_that_never_ends_is_answered_408(serve: Serve) -> None:
    server = serve(body_time=0.2)
    head = b"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer web-token\r\nContent-Length: 700\r\n\r\n{"
    assert raw(server.port, head).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    ],
    ids=["TLS", "version", "negative length", "length and chunks"],
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(serve: Serve, data: bytes) -> None:
    server = serve()
    assert raw(server.port, data).startswith(b"HTTP/1.1 400")
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def test_a_chunked_body_is_bounded_too(serve: Serve, site: Any) -> None:
    server = serve(max_request=100_000)

    def chunks() -> Any:
        while True:
            yield b" " * 10_000

    with server.client() as client:
        with suppress(httpx.TransportError):  # the server may close before the client has read its answer
            assert client.post("/events", content=chunks()).status_code == 413
        assert client.post("/events", content=iter([b'{"a"', b":1}"])).status_code == 200
    assert [record.raw for record in site.drain()] == [b'{"a":1}']


def test_the_bundle_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    poll = file_poll(path)
    assert poll("") is None
    write(path, b'{"v":1,"sources":[]}')
    found = poll("")
    assert found is not None
    name, content = found
    assert content == {"v": 1, "sources": []}
    assert poll(name) is None
    write(path, b'{"v": 1,"sources":[]}')
    changed = poll(name)
    assert changed is not None
    assert changed[0] != name
