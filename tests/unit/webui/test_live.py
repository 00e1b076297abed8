"""The live stream: nothing is missed between the page and the stream, or while a reader is away."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import uvicorn
from tests.helpers import until

from vedette_backends.errors import UnavailableError
from vedette_webui import live as module
from vedette_webui.app import Server
from vedette_webui.live import Live, Watch


async def next_event(stream: AsyncGenerator[bytes], name: str) -> tuple[str, Any]:
    """The id and data of the next event of this name."""
    async with asyncio.timeout(10):
        async for raw in stream:
            for block in raw.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                if fields.get("event") == name:
                    return fields.get("id", ""), json.loads(fields["data"])
    raise AssertionError(f"the stream ended without {name}")


def test_an_alert_is_told_as_soon_as_it_is_stored(world: Any) -> None:
    async def scene() -> None:
        stream = Live().stream("shop", world.store, None, None, "")
        await next_event(stream, "hello")
        await asyncio.to_thread(world.alert, 1)
        number, data = await next_event(stream, "alerts")
        assert data["ids"] == ["alert-1"]
        assert data["new"] == 1
        assert int(number) == data["change"] == world.store.latest_change()
        await stream.aclose()

    asyncio.run(scene())


def test_a_reader_that_comes_back_gets_what_it_missed(world: Any) -> None:
    async def scene() -> None:
        live = Live()
        stream = live.stream("shop", world.store, None, None, "")
        last, _ = await next_event(stream, "hello")
        await stream.aclose()
        for number in (1, 2, 3):
            world.alert(number)
        world.store.update_alert("alert-2", 1, {"status": "closed"})
        stream = live.stream("shop", world.store, int(last), None, "")
        _, data = await next_event(stream, "alerts")
        assert set(data["ids"]) == {"alert-1", "alert-2", "alert-3"}
        await stream.aclose()
        assert live.streams == 0

    asyncio.run(scene())


def test_a_browser_resumes_by_the_last_id_that_it_heard(world: Any, free_port: int) -> None:
    config = uvicorn.Config(world.app, port=free_port, log_level="error", timeout_graceful_shutdown=3)
    server = Server(config, world.app.state.live)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, seconds=20, what="the server")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", trust_env=False, timeout=10) as client:
            client.get("/?token=ana-token")
            first = _first(client, "hello")
            world.alert(1)
            world.alert(2)
            assert _first(client, "alerts", {"last-event-id": first["id"]})["data"]["ids"] == ["alert-1", "alert-2"]
            after_one = str(int(first["id"]) + 1)
            assert _first(client, "alerts", {"last-event-id": after_one})["data"]["ids"] == ["alert-2"]
            # What the browser heard is newer than what the page was made with.
            newer = {"last-event-id": after_one}
            assert _first(client, "alerts", newer, "/live?after=0")["data"]["ids"] == ["alert-2"]
            assert _first(client, "alerts", {}, "/live?after=0")["data"]["ids"] == ["alert-1", "alert-2"]
    finally:
        server.should_exit = True
        thread.join(15)
    assert not thread.is_alive()


def _first(
    client: httpx.Client, name: str, headers: dict[str, str] | None = None, path: str = "/live"
) -> dict[str, Any]:
    """The first event of this name that the server sends."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            key, _, value = line.partition(": ")
            event[key] = json.loads(value) if key == "data" else value
            if key == "data" and event["event"] == name:
                return event
    raise AssertionError(f"the stream ended without {name}")


def test_more_changes_than_fit_are_told_in_several_steps(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDS", 10)

    async def scene() -> None:
        start = world.store.latest_change()
        for number in range(25):
            world.alert(number)
        stream = Live().stream("shop", world.store, start, None, "")
        seen: set[str] = set()
        while len(seen) < 25:
            _, data = await next_event(stream, "alerts")
            assert len(data["ids"]) <= 10
            seen |= set(data["ids"])
        await stream.aclose()

    asyncio.run(scene())


def test_a_change_number_of_another_store_starts_at_the_present(world: Any) -> None:
    async def scene() -> None:
        stream = Live().stream("shop", world.store, 10**12, None, "")
        _, data = await next_event(stream, "hello")
        assert data["change"] == world.store.latest_change()
        await stream.aclose()

    asyncio.run(scene())


def test_a_silent_stream_says_that_it_lives(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING", 0.05)

    async def scene() -> None:
        stream = Live().stream("shop", world.store, None, None, "")
        await next_event(stream, "ping")
        await stream.aclose()

    asyncio.run(scene())


def test_closing_ends_every_stream(world: Any) -> None:
    async def scene() -> None:
        live = Live()
        streams = [live.stream("shop", world.store, None, None, "") for _ in range(3)]
        for stream in streams:
            await next_event(stream, "hello")
        live.close()
        async with asyncio.timeout(10):
            for stream in streams:
                assert [event async for event in stream if b"event: alerts" in event] == []
        assert live.streams == 0

    asyncio.run(scene())


def test_what_else_a_page_shows_is_told_when_it_changes() -> None:
    async def scene() -> None:
        values = ["a"]
        watch = Watch(lambda: values[0], 0.01)
        assert await watch.news("a", 0.05) == "a"
        waiting = asyncio.create_task(watch.news("a", 10))
        values[0] = "b"
        assert await waiting == "b"
        assert watch.idle

    asyncio.run(scene())


def test_one_look_serves_all_that_wait() -> None:
    async def scene() -> None:
        looks = 0

        def look() -> int:
            nonlocal looks
            looks += 1
            return int(looks >= 5)

        watch = Watch(look, 0.01)
        assert await asyncio.gather(*(watch.news(0, 10) for _ in range(50))) == [1] * 50
        assert looks < 20

    asyncio.run(scene())


def test_a_store_that_fails_ends_the_stream_so_that_the_page_comes_back(world: Any) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def latest_change(self) -> int:
            if self.__dict__.setdefault("calls", 0) > 1:
                raise UnavailableError("gone")
            self.__dict__["calls"] += 1
            return 0

    async def scene() -> None:
        live = Live()
        async with asyncio.timeout(10):
            events = [event async for event in live.stream("shop", Failing(), None, None, "")]
        assert b"hello" in events[0]
        assert live.streams == 0

    asyncio.run(scene())


def test_a_reader_whose_right_was_taken_away_hears_no_more(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING", 0.05)
    monkeypatch.setattr(module, "CHECK", 0.0)
    allowed = True

    async def scene() -> None:
        nonlocal allowed
        live = Live()
        stream = live.stream("shop", world.store, None, None, "", lambda: allowed)
        await next_event(stream, "ping")
        allowed = False
        async with asyncio.timeout(10):
            assert [event async for event in stream] == []
        assert live.streams == 0

    asyncio.run(scene())
