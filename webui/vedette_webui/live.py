"""What is pushed to open pages: server-sent events that say what changed; pages fetch the parts they show.

`Watch` looks at one thing at a fixed interval however many pages wait for it, and only while one does. `Feed` reads
what happened to alerts, once for all of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import operator
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store

log = logging.getLogger(__name__)

INTERVAL = 0.15
"""Seconds between two looks: an alert is on the page well under a second after it was committed."""
PING = 10.0
"""Seconds after which a silent stream says that it lives."""
STREAM = 3600.0
"""Seconds after which a stream ends and the page comes back, so that rights are looked at again."""
CHECK = 15.0
"""Seconds after which it is asked again whether the stream's reader may see it."""
STREAMS = 256
IDS = 500
STEPS = 64
"""Steps of a feed that are kept for pages that are behind others."""
PAUSED = 5.0
"""Seconds after which a feed that nobody read begins anew at the present, rather than catch up for nobody."""
_UNKNOWN = object()


class Watch:
    """Waits until a value differs from the one that the caller has seen."""

    def __init__(self, look: Callable[[], Any], interval: float = INTERVAL) -> None:
        self._look = look
        self._interval = interval
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._value: Any = _UNKNOWN
        self._error: BackendError | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return self._waiting == 0

    async def news(self, seen: Any, patience: float, differs: Callable[[Any, Any], bool] = operator.ne) -> Any:
        """The value once it `differs` from `seen`, or `seen` after `patience` seconds; raises what looking raised."""
        async with self._changed:
            self._waiting += 1
            try:
                if self._task is None or self._task.done():
                    self._value, self._error = _UNKNOWN, None
                    self._task = asyncio.create_task(self._poll())
                async with asyncio.timeout(patience):
                    await self._changed.wait_for(
                        lambda: self._error is not None or (self._value is not _UNKNOWN and differs(self._value, seen))
                    )
            except TimeoutError:
                return seen
            finally:
                self._waiting -= 1
            if self._error is not None:
                raise self._error
            return self._value

    async def _poll(self) -> None:
        while self._waiting:
            try:
                value, error = await run_in_threadpool(self._look), None
            except BackendError as problem:
                value, error = self._value, problem
            async with self._changed:
                if error is not None or value != self._value:
                    self._value, self._error = value, error
                    self._changed.notify_all()
                if error is not None:
                    return
            await asyncio.sleep(self._interval)


@dataclass(frozen=True, slots=True)
class Step:
    """The alerts that changed after one change number, up to another."""

    after: int
    until: int
    ids: list[str]


class Feed:
    """What happened to the alerts of a namespace lately. One thread at a time looks; any thread may ask.

    Args:
        store: of the namespace.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._looked = float("-inf")
        self._position = 0
        self._steps: tuple[Step, ...] = ()

    def look(self) -> int:
        """Read what is new; the number of the newest change that was read."""
        if self._clock() - self._looked > PAUSED:
            self._position, self._steps = self._store.latest_change(), ()
        else:
            after = self._position
            changed, until = self._store.alert_changes(after, IDS)
            if until > after:
                self._steps = (*self._steps[1 - STEPS :], Step(after, until, [alert.id for alert in changed]))
            elif until < after:
                self._steps = ()  # another index under the same name
            self._position = until
        self._looked = self._clock()
        return self._position

    def after(self, position: int) -> Step:
        """What changed next after this number; from the store where it is not kept.

        A page that comes back between two steps is told of what it knows once more, and keeps step from then on.
        """
        for step in self._steps:
            if step.after <= position < step.until:
                return step
        changed, until = self._store.alert_changes(position, IDS)
        return Step(position, until, [alert.id for alert in changed])


class Live:
    """All watches of the process, and the streams on them."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._watches: dict[str, Watch] = {}
        self._feeds: dict[str, Feed] = {}
        self._closing = asyncio.Event()
        self.streams = 0

    def close(self) -> None:
        """End all streams: the process stops."""
        self._closing.set()

    @property
    def full(self) -> bool:
        """Whether no further stream is accepted."""
        return self.streams >= STREAMS

    def watch(self, name: str, look: Callable[[], Any]) -> Watch:
        """The one watch of this name."""
        if name not in self._watches:
            idle = [key for key, watch in self._watches.items() if watch.idle]
            for key in idle[: max(len(self._watches) - 2 * STREAMS, 0)]:
                del self._watches[key]
            self._watches[name] = Watch(look, self._interval)
        return self._watches[name]

    async def stream(
        self,
        namespace: str,
        store: Store,
        after: int | None,
        extra: Watch | None,
        seen: Any,
        still: Callable[[], bool] = lambda: True,
    ) -> AsyncGenerator[bytes]:
        """Server-sent events of one page.

        `alerts`: alerts were created or changed; its id is the store's change number, its data their ids.
        `page`: what else the page shows has changed; its data is the new state, to be fetched.
        `ping`: nothing happened.

        Args:
            namespace: whose alerts.
            store: of that namespace.
            after: change number that the page has seen; None starts now.
            extra: what else to wait for.
            seen: state of `extra` that the page has.
            still: whether the reader may go on reading; asked every `CHECK` seconds, in a thread.
        """
        self.streams += 1
        try:
            checked = asyncio.get_running_loop().time()
            async for event in self._events(namespace, store, after, extra, seen):
                if asyncio.get_running_loop().time() - checked >= CHECK:
                    if not await run_in_threadpool(still):
                        return
                    checked = asyncio.get_running_loop().time()
                yield event
        except BackendError as error:
            # The browser comes back by itself with the last id, and gets what it missed.
            log.warning("live stream of %s ends: %s", namespace, error)
        finally:
            self.streams -= 1

    async def _events(
        self, namespace: str, store: Store, after: int | None, extra: Watch | None, seen: Any
    ) -> AsyncGenerator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + STREAM
        latest = await run_in_threadpool(store.latest_change)
        position = latest if after is None or after > latest else after
        yield b"retry: 1000\n\n" + _event("hello", {"change": position}, position)
        feed = self._feeds.setdefault(namespace, Feed(store))
        alerts = self.watch(f"alerts {namespace}", feed.look)
        while loop.time() < end and not self._closing.is_set():
            waits: dict[asyncio.Task[Any], str] = {
                asyncio.create_task(alerts.news(position, PING, operator.gt)): "alerts",
                asyncio.create_task(self._closing.wait()): "closing",
            }
            if extra is not None:
                waits[asyncio.create_task(extra.news(seen, PING))] = "page"
            try:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
            told = False
            for task in done:
                if waits[task] == "alerts" and task.result() != position:
                    step = await run_in_threadpool(feed.after, position)
                    position = step.until
                    told = True
                    yield _event("alerts", {"change": position, "ids": step.ids}, position)
                elif waits[task] == "page" and task.result() != seen:
                    seen = task.result()
                    told = True
                    yield _event("page", {"state": seen})
            if not told:
                yield _event("ping", {})


def _event(name: str, data: Any, number: int | None = None) -> bytes:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
