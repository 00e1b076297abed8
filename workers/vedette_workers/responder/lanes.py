"""Many notices at a time: a lane for each group, in which notices are handled one after the other, in order.

A bounded number of threads goes round the lanes that have something to do, one notice at each, so that a group with
very many alerts does not keep the others waiting. What fails stays at the head of its lane, which rests for a while.
While a backend is away nothing is begun: it is away for the other lanes too.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vedette_backends.errors import UnavailableError
from vedette_engine.alerting.notices import Notice

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
AWAY_PAUSE = 5.0
"""The longest pause in seconds after a backend did not answer: it is nobody's fault, and all want to go on soon."""
THREADS: Final = 8

Handle = Callable[[Notice], Exception | None]
"""Handles a notice; returns why it could not be done now. It does not raise."""


@dataclass(slots=True, eq=False)
class Work:
    """A message that is not done.

    Attributes:
        tag: of its delivery.
        left: how many of its notices are not handled.
        refused: why it is none of ours; empty for those that are.
    """

    tag: int
    left: int = 0
    refused: str = ""


@dataclass(slots=True)
class _Pause:
    """Grows with every failure."""

    longest: float
    seconds: float = 0.0

    def grow(self) -> float:
        self.seconds = min(self.seconds * 2 or FIRST_PAUSE, self.longest)
        return self.seconds


@dataclass(slots=True, eq=False)
class _Lane:
    key: tuple[str, str]
    waiting: deque[tuple[Notice, Work]] = field(default_factory=deque)
    pause: _Pause = field(default_factory=lambda: _Pause(LONGEST_PAUSE))


class Lanes:
    """Handles notices until it is closed. `put`, `done` and `close` are of one thread.

    Args:
        handle: called from several threads, never twice at once for one rule and group.
        threads: at most so many; each is started when it is first needed.
    """

    def __init__(self, handle: Handle, threads: int = THREADS) -> None:
        self._handle = handle
        self._most = threads
        self._threads: list[threading.Thread] = []
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._finished = threading.Condition(lock)
        # Guarded by the lock of both:
        self._closed = False
        self._idle = 0
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._resting: list[tuple[float, int, _Lane]] = []
        self._rests = 0
        self._away = _Pause(AWAY_PAUSE)
        self._away_until = 0.0
        self._busy: dict[int, float] = {}
        self._done: list[Work] = []

    def put(self, work: Work, notices: Sequence[Notice]) -> None:
        """Handle the notices of a message."""
        with self._changed:
            work.left = len(notices)
            if not notices:
                self._done.append(work)
                self._finished.notify_all()
            for notice in notices:
                key = (notice.rule, notice.group)
                lane = self._lanes.get(key)
                if lane is None:
                    lane = self._lanes[key] = _Lane(key)
                    self._ready.append(lane)
                lane.waiting.append((notice, work))
            self._changed.notify_all()
            wanted = min(len(self._ready) - self._idle, self._most - len(self._threads))
        for _ in range(wanted):
            thread = threading.Thread(target=self._run, name="responder-lane", daemon=True)
            self._threads.append(thread)
            thread.start()

    def done(self, timeout: float = 0.0) -> list[Work]:
        """Messages whose notices are all handled; waits at most `timeout` seconds for the first. Each is told once."""
        with self._finished:
            self._finished.wait_for(lambda: self._done, timeout)
            found, self._done = self._done, []
            return found

    def waiting(self) -> int:
        """How many notices are not handled."""
        with self._changed:
            return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def failing(self) -> bool:
        """Whether a notice failed and is to be tried again."""
        with self._changed:
            return any(lane.pause.seconds for lane in self._lanes.values())

    @property
    def longest(self) -> float:
        """For how many seconds the slowest of the notices at hand has been at hand."""
        with self._changed:
            return time.monotonic() - min(self._busy.values()) if self._busy else 0.0

    def close(self) -> None:
        """Finish the notices at hand, begin no other."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # threads of its own ---------------------------------------------------------------------------------------------
    def _run(self) -> None:
        me = threading.get_ident()
        while (lane := self._next(me)) is not None:
            error = self._handle(lane.waiting[0][0])
            with self._changed:
                del self._busy[me]
                self._handled(lane, error)

    def _next(self, me: int) -> _Lane | None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._resting and self._resting[0][0] <= now:
                    self._ready.append(heapq.heappop(self._resting)[2])
                if self._ready and now >= self._away_until:
                    self._busy[me] = now
                    lane = self._ready.popleft()
                    if self._ready and self._idle:
                        self._changed.notify()
                    return lane
                self._idle += 1
                self._changed.wait(self._pause_from(now))
                self._idle -= 1
            return None

    def _pause_from(self, now: float) -> float | None:
        if self._ready:
            return max(self._away_until - now, 0.0)
        return max(self._resting[0][0] - now, 0.0) if self._resting else None

    def _handled(self, lane: _Lane, error: Exception | None) -> None:
        now = time.monotonic()
        if error is None:
            self._away.seconds = lane.pause.seconds = 0.0
            _, work = lane.waiting.popleft()
            work.left -= 1
            if not work.left:
                self._done.append(work)
                self._finished.notify_all()
            if lane.waiting:
                self._ready.append(lane)
            else:
                del self._lanes[lane.key]
            return
        pause = lane.pause.grow()
        if isinstance(error, UnavailableError):
            pause = min(pause, AWAY_PAUSE)
            if now >= self._away_until:  # the first to notice; the others failed for the same reason
                self._away_until = now + self._away.grow()
        self._rests += 1
        heapq.heappush(self._resting, (now + pause, self._rests, lane))
