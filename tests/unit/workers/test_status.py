"""Probes tell whether the work goes on, not whether a thread answers; metrics are those of the written table."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers import until

from vedette_workers import status
from vedette_workers.status import BROKER, BUNDLE, CONSUMING, STORE, StatusServer, Vitals


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    made = Vitals(clock)
    made.expect(STORE, BUNDLE)
    return made


@pytest.fixture
def server(vitals: Vitals) -> Iterator[StatusServer]:
    made = StatusServer(vitals, lambda: b"vedette_worker_live 1\n", host="127.0.0.1", port=0)
    made.start()
    yield made
    made.close()


@pytest.fixture
def get(server: StatusServer) -> Callable[[str], tuple[int, bytes]]:
    def request(path: str, method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    return request


def test_a_main_loop_that_goes_on_is_alive_and_one_that_stands_still_is_not(
    vitals: Vitals, clock: Clock, get: Any
) -> None:
    assert get("/livez")[0] == 200
    clock.now += status.LIVE_WITHIN + 1
    code, body = get("/livez")
    assert code == 503
    assert "has not moved for 91 s" in json.loads(body)["problems"]["main"]
    vitals.alive()
    assert get("/livez")[0] == 200


def test_ready_once_everything_was_reached_and_the_answer_says_what_is_missing(vitals: Vitals, get: Any) -> None:
    assert json.loads(get("/readyz")[1])["problems"] == {"store": "not yet", "bundle": "not yet"}
    vitals.reached(STORE)
    vitals.failed(BUNDLE, "refused")
    assert (get("/readyz")[0], json.loads(get("/readyz")[1])["problems"]) == (503, {"bundle": "refused"})
    vitals.reached(BUNDLE)
    assert get("/readyz")[0] == 200


def test_a_backend_that_was_gone_for_a_moment_is_no_trouble_and_one_that_stays_away_is(
    vitals: Vitals, clock: Clock
) -> None:
    vitals.reached(STORE)
    vitals.reached(BUNDLE)
    vitals.failed(STORE, "connection refused")
    assert vitals.unready() == {}
    clock.now += status.READY_WITHIN + 1
    assert vitals.unready() == {"store": "connection refused"}
    vitals.reached(STORE)
    assert vitals.unready() == {}


def test_what_was_reached_once_for_all_stays_until_it_ends(vitals: Vitals, clock: Clock) -> None:
    vitals.reached(CONSUMING)
    vitals.reached(BUNDLE)
    clock.now += 1e6
    vitals.reached(STORE)
    assert vitals.unready() == {}
    vitals.failed(CONSUMING, "the queue is gone")
    assert vitals.unready() == {"consuming": "the queue is gone"}


def test_what_nobody_expects_is_not_asked_for(vitals: Vitals) -> None:
    vitals.reached(STORE)
    vitals.reached(BUNDLE)
    assert BROKER not in vitals.unready()


def test_metrics_are_served_in_prometheus_format_and_nothing_else_is(get: Any) -> None:
    assert get("/metrics?x=1") == (200, b"vedette_worker_live 1\n")
    assert get("/")[0] == 404
    assert get("/livez", "POST")[0] == 501


def test_a_client_that_says_nothing_does_not_hold_up_the_others(server: StatusServer, get: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"GET /livez HTT")
        assert get("/livez")[0] == 200


def test_a_closed_server_gives_its_port_back_and_leaves_no_thread(vitals: Vitals) -> None:
    made = StatusServer(vitals, bytes, host="127.0.0.1", port=0)
    made.start()
    made.close()
    again = StatusServer(vitals, bytes, host="127.0.0.1", port=made.port)
    again.close()
    until(lambda: all(thread.name != "status" for thread in threading.enumerate()), seconds=5, what="no such thread")


def test_a_port_that_is_taken_is_an_error_at_once(server: StatusServer, vitals: Vitals) -> None:
    with pytest.raises(OSError, match="in use"):
        StatusServer(vitals, bytes, host="127.0.0.1", port=server.port)


def test_without_a_host_it_answers_on_every_address(vitals: Vitals) -> None:
    made = StatusServer(vitals, bytes, port=0)
    made.start()
    with socket.create_connection(("127.0.0.1", made.port), timeout=5):
        made.close()
