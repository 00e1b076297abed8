"""The live stream: nothing is missed between the page and the stream, or while a reader is away."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import until

from vedette_backends.errors import UnavailableError
from vedette_webui import live as module
from vedette_webui.app import Server
from vedette_webui.live import Feed, Live, Watch


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
            hello, _ = _told(client, set())
            world.alert(1)
            world.alert(2)
            both = {"alert-1", "alert-2"}
            last, seen = _told(client, both, {"last-event-id": hello})
            assert seen == both
            after_one = str(int(hello) + 1)
            # Perhaps told of one that it knows, together with the other.
            assert _told(client, {"alert-2"}, {"last-event-id": after_one})[1] <= both
            world.alert(3)
            # What the browser heard is newer than what the page was made with.
            assert _told(client, {"alert-3"}, {"last-event-id": last}, "/live?after=0")[1] == {"alert-3"}
            assert _told(client, {*both, "alert-3"}, {}, "/live?after=0")[1] == {*both, "alert-3"}
    finally:
        server.should_exit = True
        thread.join(15)
    assert not thread.is_alive()


def _told(
    client: httpx.Client, wanted: set[str], headers: dict[str, str] | None = None, path: str = "/live"
) -> tuple[str, set[str]]:
    """The last id and all alerts that the server tells of, until these are among them."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        number, name = "", ""
        seen: set[str] = set()
        for line in answer.iter_lines():
            key, _, value = line.partition(": ")
            number, name = (value if key == "id" else number), (value if key == "event" else name)
            if key == "data":
                seen |= set(json.loads(value).get("ids", ()) if name == "alerts" else ())
                if wanted <= seen:
                    return number, seen
    raise AssertionError(f"the stream ended without {wanted}")


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


class Counted:
    """A store that counts how often changes are read."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def alert_changes(self, after: int, limit: int = 500) -> Any:
        self.reads += 1
        return self._store.alert_changes(after, limit)


def test_changes_are_read_once_for_all_pages(world: Any) -> None:
    store = Counted(world.store)
    feed = Feed(store, lambda: 0.0)
    start = feed.look()
    for number in range(1, 4):
        world.alert(number)
        feed.look()
    assert store.reads == 3
    for _ in range(20):
        seen, position = [], start
        while position < feed.look():
            step = feed.after(position)
            seen += step.ids
            position = step.until
        assert seen == ["alert-1", "alert-2", "alert-3"]
    assert store.reads == 3 + 20 * 4  # each look asks what is new; no page asks for itself


class Numbered:
    """Alerts and the numbers of their last changes, as a store tells of them."""

    def __init__(self) -> None:
        self._changes: dict[str, int] = {}
        self._newest = 0

    @property
    def ever(self) -> set[str]:
        """All that ever changed."""
        return set(self._changes)

    def change(self, alert: int) -> None:
        self._newest += 1
        self._changes.pop(f"alert-{alert}", None)
        self._changes[f"alert-{alert}"] = self._newest

    def latest_change(self) -> int:
        return self._newest

    def alert_changes(self, after: int, limit: int) -> tuple[list[Any], int]:
        found = [(name, number) for name, number in self._changes.items() if number > after][:limit]
        reached = found[-1][1] if len(found) == limit else self._newest
        return [SimpleNamespace(id=name) for name, _ in found], reached


@given(st.lists(st.tuples(st.sampled_from(["alert", "look", "pause", "read"]), st.integers(0, 2)), max_size=40))
def test_a_page_that_reads_step_by_step_misses_nothing(steps: list[tuple[str, int]]) -> None:
    """However the feed, its pauses and three pages that are behind each other take turns."""
    store = Numbered()
    now = 0.0
    feed = Feed(store, lambda: now)  # type: ignore[arg-type] # a feed needs no more of a store
    pages = [(0, set[str]()) for _ in range(3)]
    for what, page in steps:
        now += 0.1
        if what == "alert":
            store.change(page)
        elif what == "pause":
            now += module.PAUSED + 1
        elif what == "look":
            feed.look()
        else:
            position, seen = pages[page]
            if feed.look() > position:
                step = feed.after(position)
                assert step.until > position
                pages[page] = step.until, seen | set(step.ids)
    for position, seen in pages:
        at = position
        while feed.look() > at:
            step = feed.after(at)
            at = step.until
            seen |= set(step.ids)
        assert seen == store.ever


def test_a_feed_of_an_index_that_was_made_anew_goes_on() -> None:
    positions = iter([7, 3, 5])

    class Anew:
        def latest_change(self) -> int:
            return 9

        def alert_changes(self, *_: int) -> Any:
            return [], next(positions)

    feed = Feed(Anew(), lambda: 0.0)  # type: ignore[arg-type] # a feed needs no more of a store
    assert [feed.look() for _ in range(4)] == [9, 7, 3, 5]


def test_a_store_that_fails_ends_the_stream_so_that_the_page_comes_back(world: Any) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def alert_changes(self, *_: int, **__: int) -> Any:
            raise UnavailableError("gone")

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
