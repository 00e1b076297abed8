"""Sending: batches, keys, repeats, and what the user is told, against a real HTTP server on the loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vedette_cli.demo.send import Clock, Gateway, Progress, SendError, batches, rounds, send
from vedette_cli.demo.shapes import SOURCES, Moment
from vedette_cli.demo.story import expected_alerts, play

START = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
TOKENS = {source: f"token of {source}" for source in SOURCES}


@dataclass
class Server:
    """Answers with what `answers` holds, then with 200; keeps what it was sent.

    An answer of 0 takes the request and drops the connection without a word.
    """

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes here; the client's delayed ACK would cost 40 ms each

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status, extra = state.answers.pop(0) if state.answers else (200, {})
            state.taken.append((headers | {"path": self.path, "status": str(status)}, body))
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


class Time:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def gateway(server: Server, time: Time) -> Iterator[Gateway]:
    made = Gateway(server.url, TOKENS, sleep=time.sleep, now=time.now)
    yield made
    made.close()


def nothing(_: Progress) -> None:
    pass


def test_every_event_of_the_story_arrives_once_under_its_sources_token(server: Server, gateway: Gateway) -> None:
    moments = list(play(1, 700))
    progress = send(moments, Clock(START), gateway, "run", live=False, tell=nothing)
    lines = [(headers["authorization"], line) for headers, body in server.taken for line in body.splitlines()]
    assert len(lines) == len(moments) == progress.sent
    assert {token for token, _ in lines} == {f"Bearer token of {source}" for source in SOURCES}
    assert server.connections == 1
    assert progress.alerts == len(expected_alerts(1))


def test_batch_keys_never_repeat(server: Server, gateway: Gateway) -> None:
    send(play(1, 700), Clock(START), gateway, "run", live=False, tell=nothing)
    keys = [headers["idempotency-key"] for headers, _ in server.taken]
    assert len(set(keys)) == len(keys)


def test_syslog_goes_as_text_and_all_else_as_ndjson(server: Server, gateway: Gateway) -> None:
    send(play(1, 300), Clock(START), gateway, "run", live=False, tell=nothing)
    kinds = {headers["authorization"][16:]: headers["content-type"] for headers, _ in server.taken}
    assert kinds.pop("linux-auth").startswith("text/plain")
    assert set(kinds.values()) == {"application/x-ndjson"}


def test_a_busy_gateway_is_asked_again_after_the_time_it_names(server: Server, gateway: Gateway, time: Time) -> None:
    server.answers = [(429, {"Retry-After": "3"}), (503, {"Retry-After": "1.5"})]
    gateway.post("windows", [b"{}"], "key", text=False)
    assert time.waits == [3.0, 1.5]
    assert [headers["idempotency-key"] for headers, _ in server.taken] == ["key"] * 3


def test_an_answer_lost_on_the_way_is_repeated_under_the_same_key(server: Server, gateway: Gateway) -> None:
    server.answers = [(0, {})]
    gateway.post("windows", [b'{"a":1}', b'{"a":2}'], "key", text=False)
    first, second = server.taken
    assert first[0]["idempotency-key"] == second[0]["idempotency-key"]
    assert first[1] == second[1]
    assert gateway.repeats == 1


def test_whoever_waits_is_told_why(server: Server, gateway: Gateway) -> None:
    heard: list[str] = []
    gateway.notice = heard.append
    server.answers = [(503, {"Retry-After": "1"})]
    gateway.post("windows", [b"{}"], "key", text=False)
    assert len(heard) == 1
    assert "answered 503 for source 'windows'" in heard[0]


def test_a_refusal_is_not_repeated(server: Server, gateway: Gateway) -> None:
    server.answers = [(400, {})]
    with pytest.raises(SendError, match="answered 400 for source 'windows'"):
        gateway.post("windows", [b"{"], "key", text=False)
    assert len(server.taken) == 1


def test_an_unknown_token_says_where_tokens_come_from(server: Server, gateway: Gateway) -> None:
    server.answers = [(401, {})]
    with pytest.raises(SendError, match="--dir"):
        gateway.post("windows", [b"{}"], "key", text=False)


def test_a_gateway_that_is_not_there_is_given_up_after_a_minute(time: Time) -> None:
    gateway = Gateway("http://127.0.0.1:9", TOKENS, sleep=time.sleep, now=time.now)
    with pytest.raises(SendError, match="is `vedette up` running"):
        gateway.post("windows", [b"{}"], "key", text=False)
    assert 60 <= time.seconds < 80


@pytest.mark.parametrize("url", ["", "127.0.0.1:8421", "ftp://example.org", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str, time: Time) -> None:
    with pytest.raises(SendError, match="no address of a gateway"):
        Gateway(url, TOKENS, sleep=time.sleep, now=time.now).post("windows", [b"{}"], "key", text=False)


def test_a_batch_is_bounded_in_events_and_bytes() -> None:
    def moment(size: int) -> Moment:
        return Moment(0.0, "windows", lambda _: {"x": "y" * size})

    by_count = [len(records) for _, _, records in batches([moment(1)] * 1201, Clock(START))]
    assert by_count == [500, 500, 201]
    by_bytes = [len(records) for _, _, records in batches([moment(300_000)] * 5, Clock(START))]
    assert by_bytes == [2, 2, 1]


def test_a_live_story_is_sent_when_it_has_happened(server: Server, gateway: Gateway, time: Time) -> None:
    moments = [Moment(offset, "windows", lambda at: {"at": at.isoformat()}) for offset in (1.0, 100.0, 7000.0)]
    send(moments, Clock(START, 60), gateway, "run", live=True, tell=nothing)
    assert time.seconds == pytest.approx(7008 / 60)
    assert len(server.taken) == 3


def test_rounds_keep_every_moment_in_order() -> None:
    moments = list(play(1, 500))
    assert [moment for _, part in rounds(iter(moments), 12.0) for moment in part] == moments
