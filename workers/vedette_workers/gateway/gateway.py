"""What happens to a request: who sends it, may it come now, what does it hold, and is that durable."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from starlette.requests import Request

from vedette_workers.gateway.auth import authenticate
from vedette_workers.gateway.body import read_body
from vedette_workers.gateway.errors import BadRequest, Refusal, Unavailable
from vedette_workers.gateway.limits import Bucket, Failures, Held, InFlight
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.publisher import Publisher
from vedette_workers.gateway.records import Key, Parsed
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Source, SourceTable

T = TypeVar("T")
_INLINE: Final = 1 << 20
"""Bodies up to this size are parsed at once; larger ones in a thread, so that small requests need not wait for them."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Gateway:
    """The state of one gateway process.

    Args:
        settings: limits.
        table: sources that may send; `swap` replaces it.
        publisher: where records go.
        metrics: what happened.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        table: SourceTable,
        publisher: Publisher,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.ready = False
        self.stopping = False
        self.bundle = ""
        self.started = time.time_ns() // 1_000_000
        self._publisher = publisher
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._in_flight = InFlight(settings)
        self._failures = Failures(settings, clock)
        self._parsers = ThreadPoolExecutor(2, thread_name_prefix="parse")
        self._table = SourceTable()
        self.swap(table)

    def swap(self, table: SourceTable, bundle: str = "") -> None:
        """New sources from the next request on; what each has used up of its rate stays."""
        sources = table.sources()
        buckets = {}
        for source in sources:
            bucket = self._buckets.get(source.key)
            if bucket is None:
                bucket = Bucket(source.limits, self._clock)
            else:
                bucket.adopt(source.limits)
            buckets[source.key] = bucket
        self._table, self._buckets, self.bundle = table, buckets, bundle
        self._publisher.retain({source.namespace for source in sources})
        self.metrics.set("sources", len(sources))
        self.metrics.set("source_problems", len(table.problems))

    def authenticate(self, request: Request) -> Source:
        """The source that sends this request; raises Unauthorized, TooMany, or Unavailable before the first bundle."""
        if not self.ready and not self._buckets:
            # Some shippers give up for good on 401, and nobody can say yet whether the token is one.
            raise Unavailable("the gateway has just started and does not know its sources yet", retry_after=1)
        address = request.client.host if request.client else ""
        try:
            return authenticate(request.headers, address, self._table, self._failures)
        except Refusal:
            self.metrics.add("authentication_failures_total")
            raise

    async def receive(
        self, request: Request, parse: Callable[[Source, bytes, Key], T], parsed_of: Callable[[T], Parsed]
    ) -> tuple[Source, T]:
        """Takes a request with events; returns when all of them are durable.

        Args:
            request: its body is read here.
            parse: makes records of the body; pure, as it may run in a thread.
            parsed_of: finds them in what `parse` returned.

        Raises:
            Refusal: nothing was taken (or, after a time-out of the broker, nobody knows).
        """
        source = self.authenticate(request)
        try:
            result, parsed, held = await self._read(request, source, parse, parsed_of)
            if parsed.records:
                await self._publisher.submit(source, parsed, held)
            else:
                held.release()
        except Refusal as refusal:
            self.metrics.add("refused_requests_total", *source.key, str(refusal.status))
            raise
        self.metrics.add("events_total", *source.key, by=len(parsed.records))
        self.metrics.add("bytes_total", *source.key, by=parsed.size)
        self._last[source.key] = time.time_ns() // 1_000_000
        return source, result

    async def _read(
        self,
        request: Request,
        source: Source,
        parse: Callable[[Source, bytes, Key], T],
        parsed_of: Callable[[T], Parsed],
    ) -> tuple[T, Parsed, Held]:
        bucket = self._buckets[source.key]
        bucket.take(0)
        key = _key(request)
        held = self._in_flight.open(source.key)
        try:
            body = await read_body(request, held, self.settings)
            if len(body) <= _INLINE:
                result = parse(source, body, key)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._parsers, parse, source, body, key)
            parsed = parsed_of(result)
            bucket.take(len(parsed.records))
        except BaseException:
            held.release()
            raise
        return result, parsed, held

    def render_metrics(self) -> str:
        """Prometheus text."""
        self.metrics.set("in_flight_bytes", self._in_flight.total)
        return self.metrics.render()

    def heartbeat(self, namespace: str) -> dict[str, Any]:
        """What this process reports of one namespace: cumulative counters since `started` (ms since the epoch)."""
        events = self.metrics.by_source("events_total", namespace)
        size = self.metrics.by_source("bytes_total", namespace)
        rejected = self.metrics.by_source("rejected_events_total", namespace)
        refused = self.metrics.by_source("refused_requests_total", namespace)
        names = sorted(source.name for source in self._table.sources() if source.namespace == namespace)
        return {
            "role": "gateway",
            "bundle": self.bundle,
            "started": self.started,
            "counters": {
                "events": int(sum(events.values())),
                "bytes": int(sum(size.values())),
                "rejected": int(sum(rejected.values())),
                "refused_requests": int(sum(refused.values())),
            },
            "sources": {
                name: {
                    "events": int(events.get(name, 0)),
                    "last_ingested": self._last.get((namespace, name)),
                    "rejected": int(rejected.get(name, 0)),
                    "refused_requests": int(refused.get(name, 0)),
                }
                for name in names
            },
            "errors": [str(problem) for problem in self._table.problems if f" {namespace}/" in problem.object],
        }

    def namespaces(self) -> list[str]:
        """Those that have a source here."""
        return sorted({source.namespace for source in self._table.sources()})

    async def close(self) -> None:
        """Finishes what is under way."""
        self.stopping = True
        with suppress(asyncio.CancelledError):
            await self._publisher.close()
        self._parsers.shutdown(wait=False, cancel_futures=True)


def _key(request: Request) -> Key:
    given = request.headers.get("idempotency-key")
    if given is None:
        return Key(secrets.token_hex(16), given=False)
    if not _KEY.fullmatch(given):
        raise BadRequest("Idempotency-Key must have 1 to 255 visible ASCII characters")
    return Key(given, given=True)
