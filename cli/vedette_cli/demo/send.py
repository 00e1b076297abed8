"""Sends the story to a gateway: one keyed batch per source and round, repeated until the gateway has taken it.

A batch keeps its `Idempotency-Key` when it is repeated, so that an answer that was lost on the way doubles nothing.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import orjson

from vedette_cli.demo.shapes import Moment

ROUND = 0.2
"""Seconds between two rounds of sending when the story is live: no event waits longer for its batch."""
MAX_EVENTS = 500
MAX_BYTES = 768 * 1024
WORTH_COMPRESSING = 1024
PATIENCE = 60.0
"""Seconds for which a gateway that does not answer, or is busy, is asked again."""
LONGEST_PAUSE = 10.0


class SendError(Exception):
    """The gateway cannot be reached, or refused a batch for good; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Clock:
    """From the story's time to the time that events carry.

    Attributes:
        start: when the story begins.
        speed: story seconds per second.
    """

    start: datetime
    speed: float = 1.0

    def at(self, offset: float) -> datetime:
        """When a moment at this offset happens."""
        return self.start + timedelta(seconds=offset / self.speed)


@dataclass(slots=True)
class Progress:
    """How far the sending is.

    Attributes:
        sent: events that the gateway has answered with 2xx.
        story: seconds on the story's clock.
        alerts: alerts that what was sent must raise.
        scene: the scene that began last.
        repeats: batches that had to be sent again.
    """

    sent: int = 0
    story: float = 0.0
    alerts: int = 0
    scene: str = ""
    repeats: int = 0


@dataclass(slots=True)
class Gateway:
    """A gateway over one kept-alive HTTP connection.

    Attributes:
        url: its address, `http://127.0.0.1:8421`.
        tokens: source name to token.
        sleep: waits; a test gives a clock of its own.
        now: monotonic seconds; likewise.
        notice: told why a batch has to wait, each time before it is sent again.
        repeats: how often batches were sent again.
    """

    url: str
    tokens: Mapping[str, str]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    notice: Callable[[str], None] = lambda _: None
    repeats: int = 0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def post(self, source: str, records: list[bytes], key: str, *, text: bool) -> None:
        """Deliver a batch; returns when the gateway has it.

        Raises:
            SendError: the gateway is silent or busy for `PATIENCE` seconds, or refuses the batch.
        """
        body = b"\n".join(records) + b"\n"
        headers = {
            "Authorization": f"Bearer {self.tokens[source]}",
            "Content-Type": "text/plain; charset=utf-8" if text else "application/x-ndjson",
            "Idempotency-Key": key,
        }
        if len(body) > WORTH_COMPRESSING:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        deadline = self.now() + PATIENCE
        pause = 0.2
        while True:
            try:
                status, answer, wait = self._request(body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                problem, wait = f"cannot reach the gateway at {self.url}: {error or type(error).__name__}", None
            else:
                if 200 <= status < 300:
                    return
                problem = f"the gateway at {self.url} answered {status} for source {source!r}: {answer[:300]}"
                if status not in {429, 503}:
                    raise SendError(problem + _advice(status))
            if self.now() >= deadline:
                raise SendError(f"{problem}; gave up after {PATIENCE:.0f} s (is `vedette up` running?)")
            self.repeats += 1
            self.notice(problem)
            self.sleep(min(pause if wait is None else max(wait, 0.05), LONGEST_PAUSE))
            pause = min(pause * 2, LONGEST_PAUSE)

    def close(self) -> None:
        """Drop the connection; the next batch opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, float | None]:
        if self._connection is None:
            self._connection = _connect(self.url)
        self._connection.request("POST", urlsplit(self.url).path.rstrip("/") + "/events", body, dict(headers))
        response = self._connection.getresponse()
        answer = response.read(65536).decode("utf-8", "replace").strip()
        if not response.isclosed():  # a longer answer than anybody reads: the connection cannot be used again
            self.close()
        return response.status, answer, _seconds(response.headers.get("Retry-After"))


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SendError(f"{url!r} is no address of a gateway: it looks like http://127.0.0.1:8421")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=30)


def _advice(status: int) -> str:
    if status in {401, 403}:
        return " (it does not know the token: is --dir the folder that `vedette up` runs, and is the source Ready?)"
    return ""


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else float(retry_after)
    except ValueError:  # the header's other form, a date: the pause of our own is good enough
        return None


def encode(record: object) -> bytes:
    """One record on one line."""
    return record.encode() if isinstance(record, str) else orjson.dumps(record)


def rounds(moments: Iterable[Moment], seconds: float) -> Iterator[tuple[float, list[Moment]]]:
    """Moments in slices of `seconds` on the story's clock: (the slice's end, its moments)."""
    for number, group in itertools.groupby(moments, key=lambda moment: int(moment.offset // seconds)):
        yield (number + 1) * seconds, list(group)


def batches(moments: Iterable[Moment], clock: Clock) -> Iterator[tuple[str, bool, list[bytes]]]:
    """The slice's events by source, in requests of bounded size: (source, whether it is text, records)."""
    by_source: dict[tuple[str, bool], list[bytes]] = {}
    sizes: dict[tuple[str, bool], int] = {}
    for moment in moments:
        record = moment.make(clock.at(moment.offset))
        kind = (moment.source, isinstance(record, str))
        line = encode(record)
        waiting = by_source.setdefault(kind, [])
        if waiting and (len(waiting) >= MAX_EVENTS or sizes[kind] + len(line) > MAX_BYTES):
            yield (*kind, waiting)
            waiting = by_source[kind] = []
            sizes[kind] = 0
        waiting.append(line)
        sizes[kind] = sizes.get(kind, 0) + len(line) + 1
    for (source, text), records in by_source.items():
        yield source, text, records


def send(
    moments: Iterable[Moment], clock: Clock, gateway: Gateway, run: str, *, live: bool, tell: Callable[[Progress], None]
) -> Progress:
    """Send the story and tell how far it is after every round.

    Args:
        moments: in order of time.
        clock: from story time to the events' time.
        gateway: where to.
        run: what makes this run's batch keys different from those of any other run.
        live: whether to wait until the events have happened; otherwise as fast as the gateway takes them.
        tell: called after each round.

    Raises:
        SendError: the gateway cannot be reached, or refuses.
    """
    progress = Progress()
    number = itertools.count()
    begun = gateway.now()
    for end, slice_ in rounds(moments, ROUND * clock.speed if live else 30.0):
        if live:
            gateway.sleep(max(0.0, begun + end / clock.speed - gateway.now()))
        for source, text, records in batches(slice_, clock):
            gateway.post(source, records, f"demo-{run}-{next(number)}", text=text)
            progress.sent += len(records)
        progress.story = slice_[-1].offset
        for moment in slice_:
            progress.alerts += len(moment.alerts)
            progress.scene = moment.scene or progress.scene
        progress.repeats = gateway.repeats
        tell(progress)
    return progress
