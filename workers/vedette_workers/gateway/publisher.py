"""From requests to durable messages: group commit per namespace.

A namespace has one call of its broker under way at a time, in a thread of its own. What arrives meanwhile waits and
goes out together in the next call, records of one source side by side in one message. A single request that finds the
broker idle does not wait at all; several wait for company, `Settings.gather` seconds at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.errors import BackendError, FullError, NotFoundError, RefusedError
from vedette_engine.wire import MAX_BYTES, MAX_RECORDS, Run, encode, pack
from vedette_workers.gateway.errors import Unavailable
from vedette_workers.gateway.limits import Held
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.records import Parsed
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Source

_log = logging.getLogger(__name__)

QUIET = 10.0
"""Seconds between two lines of the log on failures in one namespace: while the broker is away, every request fails."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One request. `done` holds None, or what the broker raised."""

    source: Source
    parsed: Parsed
    since: float
    done: asyncio.Future[BaseException | None]


def messages(requests: Sequence[tuple[Source, Parsed]], ingested: int) -> list[Message]:
    """Messages that hold all records of the requests, the order within each source kept. Pure."""
    groups: dict[tuple[str, str, str], tuple[list[bytes], list[Run]]] = {}
    for source, parsed in requests:
        records, runs = groups.setdefault((source.queue, source.name, parsed.kind), ([], []))
        records += parsed.records
        runs += parsed.runs
    made = []
    for (queue, name, kind), (records, runs) in groups.items():
        for part, part_runs in pack(records, runs):
            body, headers = encode(
                source=name,
                ingested=ingested,
                kind="text" if kind == "text" else "json",
                records=part,
                runs=part_runs,
            )
            made.append(Message(queue, body, headers))
    return made


class Publisher:
    """Publishes requests in the brokers of their namespaces.

    Args:
        brokers: opens the broker of a namespace; called in that namespace's thread, until it succeeds once.
        settings: limits.
        metrics: what happened.
        now: ms since the epoch, for `ingested`.
    """

    def __init__(
        self,
        brokers: Callable[[str], Broker],
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._brokers = brokers
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._lanes: dict[str, _Lane] = {}
        self._closing = False

    async def submit(self, source: Source, parsed: Parsed, held: Held) -> None:
        """Returns when all records are durable. Takes over `held` and releases it when the bytes are let go of.

        Raises:
            Unavailable: the broker refused them, cannot be reached, or did not confirm in time; in the last case they
                may be stored nevertheless.
        """
        if self._closing:
            held.release()
            raise Unavailable("the gateway is stopping", retry_after=1)
        lane = self._lanes.get(source.namespace)
        if lane is None:
            lane = _Lane(source.namespace, self._brokers, self._settings, self._metrics, self._now)
            self._lanes[source.namespace] = lane
        await lane.submit(source, parsed, held)

    def retain(self, namespaces: Iterable[str]) -> None:
        """Closes idle brokers of namespaces that are gone."""
        for namespace in self._lanes.keys() - set(namespaces):
            if self._lanes[namespace].idle:
                self._lanes.pop(namespace).stop()

    async def idle(self) -> None:
        """Waits until nothing is under way, but not longer than a request would."""
        await asyncio.gather(*(lane.drain() for lane in self._lanes.values()))

    async def close(self) -> None:
        """Waits for what is under way, as long as a request would, then closes the brokers."""
        self._closing = True
        await self.idle()
        for lane in self._lanes.values():
            lane.stop()
        self._lanes.clear()


class _Lane:
    """The waiting requests of one namespace and the task that publishes them."""

    def __init__(
        self,
        namespace: str,
        brokers: Callable[[str], Broker],
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._namespace = namespace
        self._caller = _Caller(namespace, brokers, metrics, now)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"publish-{namespace}")
        self._pending: list[_Waiting] = []
        self._records = 0
        self._bytes = 0
        self._under_way: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._busy_since: float | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def idle(self) -> bool:
        return not self._pending and self._busy_since is None

    async def submit(self, source: Source, parsed: Parsed, held: Held) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._busy_since is not None and now - self._busy_since > self._settings.confirm:
            held.release()
            raise Unavailable("the broker does not confirm", retry_after=5)
        waiting = _Waiting(source, parsed, now, loop.create_future())
        waiting.done.add_done_callback(lambda _: held.release())
        self._pending.append(waiting)
        self._count(waiting, 1)
        self._arrived.set()
        if self._is_full():
            self._full.set()
        await asyncio.wait({waiting.done}, timeout=self._settings.confirm)
        if not waiting.done.done():
            if waiting in self._pending:
                self._pending.remove(waiting)
                self._count(waiting, -1)
                waiting.done.set_result(None)
            raise Unavailable(
                f"the broker did not confirm within {self._settings.confirm:g} s; the events may be stored or not",
                retry_after=5,
            )
        error = waiting.done.result()
        if isinstance(error, FullError):
            raise Unavailable("the queue of this source is full", retry_after=10) from error
        if error is not None:
            raise Unavailable("the broker cannot take events now", retry_after=2) from error

    async def drain(self) -> None:
        waiting = [each.done for each in (*self._under_way, *self._pending)]
        if waiting:
            await asyncio.wait(waiting, timeout=self._settings.confirm)

    def stop(self) -> None:
        self._task.cancel()
        self._thread.submit(self._caller.close)
        self._thread.shutdown(wait=self._busy_since is None)

    def _is_full(self) -> bool:
        return self._records >= MAX_RECORDS or self._bytes >= MAX_BYTES

    def _count(self, waiting: _Waiting, sign: int) -> None:
        self._records += sign * len(waiting.parsed.records)
        self._bytes += sign * waiting.parsed.size

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._gather(loop)
            self._under_way = self._take()
            if not self._under_way:
                continue
            self._busy_since = loop.time()
            requests = [(each.source, each.parsed) for each in self._under_way]
            outcomes = await loop.run_in_executor(self._thread, self._caller.publish, requests)
            for waiting, outcome in zip(self._under_way, outcomes, strict=True):
                waiting.done.set_result(outcome)
            self._under_way, self._busy_since = [], None

    async def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        if len(self._pending) < 2 or self._is_full():
            return
        left = self._pending[0].since + self._settings.gather - loop.time()
        if left <= 0:
            return
        self._full.clear()
        try:
            async with asyncio.timeout(left):
                await self._full.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Waiting]:
        """What goes into the next call: requests in order, whole, up to `max_publish` bytes but one at least."""
        size = taken = 0
        for waiting in self._pending:
            size += waiting.parsed.size
            if taken and size > self._settings.max_publish:
                break
            taken += 1
        batch, self._pending = self._pending[:taken], self._pending[taken:]
        for waiting in batch:
            self._count(waiting, -1)
        if not self._pending:
            self._arrived.clear()
        return batch


class _Caller:
    """Talks to the broker; lives in the lane's thread."""

    def __init__(
        self, namespace: str, brokers: Callable[[str], Broker], metrics: Metrics, now: Callable[[], int]
    ) -> None:
        self._namespace = namespace
        self._brokers = brokers
        self._metrics = metrics
        self._now = now
        self._broker: Broker | None = None
        self._warn_again = 0.0
        self._untold = 0

    def publish(self, requests: Sequence[tuple[Source, Parsed]]) -> list[BaseException | None]:
        """One outcome per request. A full or missing queue, or a refused message, fails its own source only."""
        error = self._call(requests)
        if not isinstance(error, (FullError, NotFoundError, RefusedError)):
            return [error] * len(requests)
        names = list(dict.fromkeys(source.name for source, _ in requests))
        if len(names) == 1:
            return [error] * len(requests)
        by_name = {name: self._call([each for each in requests if each[0].name == name]) for name in names}
        return [by_name[source.name] for source, _ in requests]

    def _call(self, requests: Sequence[tuple[Source, Parsed]]) -> BaseException | None:
        started = time.monotonic()
        try:
            if self._broker is None:
                self._broker = self._brokers(self._namespace)
            batch = messages(requests, self._now())
            self._broker.publish(batch)
        except BackendError as error:
            self._metrics.add("publish_errors_total", self._namespace, type(error).__name__)
            self._warn(error)
            return error
        except Exception as error:  # noqa: BLE001 # whatever it is: requests must be answered, the lane must live on
            self._metrics.add("publish_errors_total", self._namespace, type(error).__name__)
            _log.exception("publishing in %s failed unexpectedly", self._namespace)
            return error
        self._metrics.published(time.monotonic() - started)
        self._metrics.add("messages_total", self._namespace, by=len(batch))
        return None

    def _warn(self, error: BackendError) -> None:
        now = time.monotonic()
        if now < self._warn_again:
            self._untold += 1
            return
        _log.warning("publishing in %s failed (and %d times before): %s", self._namespace, self._untold, error)
        self._warn_again, self._untold = now + QUIET, 0

    def close(self) -> None:
        if self._broker is not None:
            self._broker.close()
            self._broker = None
