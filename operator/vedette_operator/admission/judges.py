"""The children that judge, and who of them is asked: a rule that takes for ever delays nobody but itself.

So many judgements run at once as there are lanes. A child lowers its own priority when it has used the processor for
longer than ordinary rules do; then its judgement gives its lane to the next and goes on beside it until its time is up:
the child is killed, and another is forked.

On a machine that is too busy nothing is begun that could not be finished: whoever waits for a lane for half of its time
is told at once. Otherwise all would be begun, late, and none be done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Final

from vedette_operator.admission import child

log = logging.getLogger(__name__)

SLOW_AFTER: Final = 0.1
SLOW_MOST: Final = 8
SECONDS_TO_START: Final = 60.0
SECONDS_TO_END: Final = 5.0
MAX_ANSWER: Final = 16 << 20
_WARM: Final = "vedette_operator.admission.warm"


class UnjudgedError(Exception):
    """There is no judgement; the text says why, for whoever applies the object."""


class OverrunError(UnjudgedError):
    """The judgement would have taken too long."""


class Judges:
    """Asks children for judgements; everything runs in one event loop.

    Args:
        seconds: that a judgement may take at most.
        lanes: judgements that run at once.
        slow_after: seconds between two looks whether a judgement is slow, and gives its lane away.
        slow_most: slow ones that go on at once; beyond it the oldest is given up.
        replaced: called when a child was ended in the middle of a judgement.
    """

    def __init__(
        self,
        *,
        seconds: float = 2.0,
        lanes: int | None = None,
        slow_after: float = SLOW_AFTER,
        slow_most: int = SLOW_MOST,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self.seconds = seconds
        self._lanes = lanes or min(max(2, len(os.sched_getaffinity(0))), 8)
        self._free = asyncio.Semaphore(self._lanes)
        self._slow_after = slow_after
        self._slow_most = slow_most
        self._replaced = replaced
        self._idle: list[_Child] = []
        self._slow: list[_Run] = []
        self._dying: list[_Child] = []
        # Starting and reaping wait for other processes; one thread, since multiprocessing is used by one at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="children")
        self._context = multiprocessing.get_context("forkserver")
        self._started = self._closed = False

    async def start(self) -> None:
        """Fork the first children; raises UnjudgedError when they do not come to work."""
        self._context.set_forkserver_preload([_WARM])
        for _ in range(self._lanes):
            self._idle.append(await self._begin())
        async with asyncio.timeout(SECONDS_TO_START):
            await asyncio.gather(*(one.ask(b"") for one in self._idle))
        self._started = True

    @property
    def ready(self) -> bool:
        """Whether `start` has done its work, and `close` has not."""
        return self._started and not self._closed

    async def judge(self, manifest: bytes, seconds: float | None = None) -> bytes:
        """The judgement on a manifest, JSON for `Judgement.from_json`.

        Args:
            manifest: JSON.
            seconds: to wait at most, never more than the judges' own.

        Raises:
            OverrunError: there was none in time.
            UnjudgedError: there can be none.
        """
        budget = min(self.seconds, seconds or self.seconds)
        try:
            async with asyncio.timeout(budget):
                answer = await self._judged(manifest, budget / 2)
        except TimeoutError:
            raise OverrunError(f"judging it takes longer than {budget:.3g} s") from None
        if answer.startswith(child.FAULT):
            raise UnjudgedError(answer[len(child.FAULT) :].decode("utf-8", "replace"))
        return answer

    async def close(self) -> None:
        """End all children."""
        self._closed = True
        children = [*self._idle, *(run.child for run in self._slow)]
        self._idle.clear()
        await asyncio.gather(*(self._end(one) for one in children))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._mourn)
        self._thread.shutdown(wait=False)

    async def _judged(self, manifest: bytes, patience: float) -> bytes:
        try:
            await asyncio.wait_for(self._free.acquire(), patience)
        except TimeoutError:
            raise OverrunError("too many others wait") from None
        with contextlib.ExitStack() as stack:
            lane = stack.enter_context(_once(self._free.release))
            one = await self._child()
            run = _Run(one, lane, asyncio.get_running_loop().time() + patience)
            self._look_later(run)
            stack.callback(self._not_slow, run)
            try:
                answer = await one.ask(manifest)
            except BaseException as error:
                self._replaced()
                ending = asyncio.ensure_future(self._end(one))
                await asyncio.shield(ending)
                if isinstance(error, OSError | EOFError):
                    why = "others take long too, and there is no room" if run.given_up else "it ended the process"
                    raise (OverrunError if run.given_up else UnjudgedError)(why) from error
                raise
            await self._keep(run)
            return answer

    async def _child(self) -> _Child:
        while self._idle:
            one = self._idle.pop()
            if one.alive:
                return one
            log.warning("a process that judges ended while it had nothing to do")
            await self._end(one)
        return await self._begin()

    def _look_later(self, run: _Run) -> None:
        run.timer = asyncio.get_running_loop().call_later(self._slow_after, self._look, run)

    def _look(self, run: _Run) -> None:
        """Take the lane of a judgement that is slow by the processor's time, or, late, by the clock's."""
        if run.child.stepped_back or asyncio.get_running_loop().time() >= run.patient_until:
            self._give_way(run)
        else:
            self._look_later(run)

    def _give_way(self, run: _Run) -> None:
        self._slow.append(run)
        run.lane()
        if len(self._slow) > self._slow_most:
            oldest = self._slow.pop(0)
            oldest.given_up = True
            oldest.child.kill()

    def _not_slow(self, run: _Run) -> None:
        if run.timer is not None:
            run.timer.cancel()
        if run in self._slow:
            self._slow.remove(run)

    async def _keep(self, run: _Run) -> None:
        """Back among the idle ones, unless there are enough, or it has lowered its priority."""
        if self._closed or run.child.stepped_back or len(self._idle) >= self._lanes:
            await self._end(run.child)
        else:
            self._idle.append(run.child)

    async def _begin(self) -> _Child:
        starting = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._thread, self._fork))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._adopt)
            raise
        except OSError as error:
            raise UnjudgedError(f"no process can be started: {error}") from error

    def _adopt(self, starting: asyncio.Future[_Child]) -> None:
        """A child that nobody waits for any more."""
        if starting.exception() is not None:
            log.warning("no process could be started: %s", starting.exception())
        elif self._closed or len(self._idle) >= self._lanes:
            self._thread.submit(self._bury, starting.result())
        else:
            self._idle.append(starting.result())

    async def _end(self, one: _Child) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._bury, one)

    # In the thread:

    def _fork(self) -> _Child:
        self._dying = [one for one in self._dying if not one.reaped()]
        return _Child(self._context, self.seconds + 1)

    def _bury(self, one: _Child) -> None:
        """End it. It is not waited for: at its low priority it may need a while to go, and others wait to be forked."""
        one.end()
        self._dying.append(one)

    def _mourn(self) -> None:
        for one in self._dying:
            if not one.reaped(SECONDS_TO_END):
                log.error("a process that was killed does not end")
        self._dying.clear()


@dataclass(slots=True, eq=False)
class _Run:
    """A judgement on its way. `lane`: gives its lane to the next, once; it keeps it until `patient_until`."""

    child: _Child
    lane: Callable[[], None]
    patient_until: float
    timer: asyncio.TimerHandle | None = None
    given_up: bool = field(default=False)


@contextlib.contextmanager
def _once(call: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """A call that is made once: by whoever is first, at the latest at the end."""
    pending = [call]

    def first() -> None:
        if pending:
            pending.pop()()

    try:
        yield first
    finally:
        first()


class _Child:
    """One child and the way to it; made and ended in a thread, asked in the loop."""

    def __init__(self, context: multiprocessing.context.ForkServerContext, seconds: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process: ForkServerProcess = context.Process(target=child.serve, args=(theirs, seconds), daemon=True)
            try:
                self._process.start()
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._channel = ours

    async def ask(self, manifest: bytes) -> bytes:
        """Its answer. Raises OSError or EOFError when it ended; after a cancellation it is of no more use."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._channel, child.HEADER.pack(len(manifest)) + manifest)
        size = child.HEADER.unpack(await self._exactly(child.HEADER.size))[0]
        if size > MAX_ANSWER:
            raise OSError(f"an answer of {size} bytes")
        return await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        parts = bytearray()
        while len(parts) < size:
            part = await loop.sock_recv(self._channel, min(size - len(parts), 1 << 16))
            if not part:
                raise EOFError("the child ended")
            parts += part
        return bytes(parts)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    @property
    def stepped_back(self) -> bool:
        """Whether it runs at a lower priority than this process."""
        try:
            priority = os.getpriority(os.PRIO_PROCESS, self._process.pid or 0)
        except ProcessLookupError:
            return True
        return priority > os.getpriority(os.PRIO_PROCESS, 0)

    def kill(self) -> None:
        """End it at once; who waits for its answer gets an EOFError."""
        self._process.kill()

    def end(self) -> None:
        """Close the way to it and end it; `reaped` follows."""
        self._channel.close()
        self._process.kill()

    def reaped(self, seconds: float = 0.0) -> bool:
        """Whether it is gone, at the latest after so many seconds; then nothing of it is left here."""
        self._process.join(seconds)
        if self._process.is_alive():
            return False
        self._process.close()
        return True
