"""Statuses on their way to the API server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.cluster.protocol import Key
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_operator.status_writer import Rates, StatusWriter

FAST = Rates(steady=2000, burst=2000)
NAMES = ("a", "b", "c")


def key(name: str) -> Key:
    return Key("AlertRule", "shop", name)


def status(ready: str, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": ""}], **more}


class Server:
    """Takes statuses; `down` and `refuses` say how it answers, `gate` holds every answer back while it is clear."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Mapping[str, Any]]] = []
        self.turned: list[tuple[str, str | None, str]] = []
        self.down = 0
        self.refuses: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def patch(self, about: Key, told: Mapping[str, Any]) -> None:
        self.asked.set()
        assert self.gate.wait(20)
        if self.down:
            self.down -= 1
            raise UnavailableError("down")
        if about.name in self.refuses:
            raise RefusedError("no")
        self.written.append((about.name, told))

    def note(self, about: Key, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
        self.turned.append((about.name, None if before is None else before["status"], now["status"]))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def make(server: Server) -> Iterator[Callable[[], StatusWriter]]:
    made: list[StatusWriter] = []

    def started() -> StatusWriter:
        writer = StatusWriter(server.patch, server.note, FAST)
        writer.start()
        made.append(writer)
        return writer

    yield started
    server.gate.set()
    for writer in made:
        writer.stop()


def written(server: Server, count: int) -> list[tuple[str, Mapping[str, Any]]]:
    until(lambda: len(server.written) >= count, seconds=20, what=f"{count} statuses")
    return server.written


def test_the_newest_status_of_an_object_is_what_is_written(server: Server, make: Callable[[], StatusWriter]) -> None:
    server.gate.clear()
    writer = make()
    writer.put([(key("a"), {"n": 1})])
    assert server.asked.wait(20)  # the first is on its way: nobody can change that
    for number in (2, 3, 4):
        writer.put([(key("a"), {"n": number}), (key("b"), {"n": number})])
    assert writer.waiting() == 2
    server.gate.set()
    assert written(server, 3) == [("a", {"n": 1}), ("a", {"n": 4}), ("b", {"n": 4})]
    writer.stop()
    assert (writer.written, writer.failed, writer.waiting()) == (3, 0, 0)


def test_what_waits_is_written_before_the_writer_ends(server: Server, make: Callable[[], StatusWriter]) -> None:
    writer = make()
    writer.put([(key(name), {}) for name in NAMES])
    writer.stop(20)
    assert [name for name, _ in server.written] == list(NAMES)


def test_a_status_outlives_an_api_server_that_does_not_answer(server: Server, make: Callable[[], StatusWriter]) -> None:
    server.down = 1
    writer = make()
    writer.put([(key("a"), {"n": 1})])
    assert written(server, 1) == [("a", {"n": 1})]
    until(lambda: writer.written == 1, seconds=20, what="the count")
    assert writer.failed == 0


def test_a_newer_status_is_not_replaced_by_one_that_could_not_be_written(
    server: Server, make: Callable[[], StatusWriter]
) -> None:
    server.down = 1
    server.gate.clear()
    writer = make()
    writer.put([(key("a"), {"n": 1})])
    assert server.asked.wait(20)
    writer.put([(key("a"), {"n": 2})])
    server.gate.set()
    assert written(server, 1) == [("a", {"n": 2})]
    writer.stop()
    assert len(server.written) == 1


def test_a_refused_status_is_given_up_and_the_others_go_on(
    server: Server, make: Callable[[], StatusWriter], caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = {"a"}
    writer = make()
    writer.put([(key("a"), {}), (key("b"), {})])
    writer.stop(20)
    assert [name for name, _ in server.written] == ["b"]
    assert (writer.written, writer.failed) == (1, 1)
    assert "AlertRule shop/a is refused" in caplog.text


def test_an_object_that_is_gone_needs_no_status(server: Server, make: Callable[[], StatusWriter]) -> None:
    server.gate.clear()
    writer = make()
    writer.put([(key("a"), {})])
    assert server.asked.wait(20)
    writer.put([(key("b"), {}), (key("c"), {})])
    writer.forget(key("b"))
    server.gate.set()
    writer.stop(20)
    assert [name for name, _ in server.written] == ["a", "c"]


def test_only_turns_of_ready_are_told(server: Server, make: Callable[[], StatusWriter]) -> None:
    writer = make()
    steps = [
        status("False", "TestsFailed"),
        status("False", "TestsFailed", stats={}),
        {"stats": {}},
        status("True", "AllGood"),
        status("True", "AllGood", stats={}),
    ]
    for number, step in enumerate(steps, 1):
        writer.put([(key("a"), step)])
        written(server, number)
    writer.stop(20)
    assert server.turned == [("a", None, "False"), ("a", "False", "True")]


def test_the_first_status_of_an_object_that_was_made_again_is_a_turn(
    server: Server, make: Callable[[], StatusWriter]
) -> None:
    writer = make()
    for number in (1, 2):
        writer.put([(key("a"), status("True", "AllGood"))])
        until(lambda number=number: writer.written == number, seconds=20, what="the status")  # type: ignore[misc] # binds the number
        writer.forget(key("a"))
    writer.stop(20)
    assert server.turned == [("a", None, "True")] * 2
