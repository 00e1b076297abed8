"""The children that judge: what becomes of them, and of those who ask."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from tests.helpers import until

from vedette_operator.admission.judgement import Judgement
from vedette_operator.admission.judges import Judges, OverrunError, UnjudgedError


def scene(play: Callable[[Judges], Awaitable[None]], **settings: float) -> None:
    """Judges with one lane; afterwards none of their children is left."""

    async def run() -> None:
        judges = Judges(lanes=1, **settings)  # type: ignore[arg-type] # numbers as the test writes them
        await judges.start()
        try:
            await play(judges)
        finally:
            await judges.close()
        assert not judges.ready

    asyncio.run(run())


def pids(judges: Judges) -> list[int]:
    return [one._process.pid or 0 for one in judges._idle]


def test_one_child_judges_again_and_again(make: SimpleNamespace) -> None:
    async def play(judges: Judges) -> None:
        before = pids(judges)
        for alerts in (1, 2, 1):
            answer = await judges.judge(json.dumps(make.rule(alerts=alerts)).encode())
            assert bool(Judgement.from_json(answer).problems) == (alerts == 2)
        assert pids(judges) == before

    scene(play)


def test_a_child_that_died_of_idleness_is_replaced_before_anybody_asks_it(make: SimpleNamespace) -> None:
    async def play(judges: Judges) -> None:
        (child,) = judges._idle
        os.kill(pids(judges)[0], signal.SIGKILL)
        until(lambda: not child.alive, seconds=10, what="its end")
        assert Judgement.from_json(await judges.judge(json.dumps(make.rule()).encode())) == Judgement()

    scene(play)


def test_a_child_that_dies_over_a_rule_costs_this_rule_alone(make: SimpleNamespace) -> None:
    replaced: list[bool] = []

    async def play(judges: Judges) -> None:
        judges._replaced = lambda: replaced.append(True)
        (child,) = judges._idle
        begun, ask = asyncio.Event(), child.ask

        async def told(manifest: bytes) -> bytes:
            begun.set()
            return await ask(manifest)

        child.ask = told  # type: ignore[method-assign] # to know when it is at work
        asked = asyncio.create_task(judges.judge(json.dumps(make.endless_rule()).encode()))
        await asyncio.wait_for(begun.wait(), 30)
        child.kill()
        with pytest.raises(UnjudgedError, match="ended the process"):
            await asked
        assert replaced == [True]
        assert await judges.judge(json.dumps(make.rule()).encode())

    scene(play)


def test_ordinary_rules_overtake_more_endless_ones_than_there_are_lanes(make: SimpleNamespace) -> None:
    async def play(judges: Judges) -> None:
        endless = json.dumps(make.endless_rule()).encode()
        asked = [asyncio.create_task(judges.judge(endless)) for _ in range(3)]
        ordinary = [judges.judge(json.dumps(make.rule(alerts=alerts)).encode()) for alerts in (1, 2) * 10]
        answers = [Judgement.from_json(answer) for answer in await asyncio.gather(*ordinary)]
        assert [bool(answer.problems) for answer in answers] == [False, True] * 10
        assert not any(task.done() for task in asked)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)

    scene(play, seconds=60.0)


def test_beyond_the_number_of_slow_ones_the_oldest_is_given_up(make: SimpleNamespace) -> None:
    async def play(judges: Judges) -> None:
        endless = json.dumps(make.endless_rule()).encode()
        asked = [asyncio.create_task(judges.judge(endless)) for _ in range(3)]
        with pytest.raises(OverrunError, match="no room"):
            await asked[0]
        assert await judges.judge(json.dumps(make.rule()).encode())
        for task in asked[1:]:
            task.cancel()
        await asyncio.wait(asked)

    scene(play, slow_most=2, slow_after=0.02, seconds=60.0)


def test_whoever_waits_for_too_long_is_told_before_anything_is_begun(make: SimpleNamespace) -> None:
    async def play(judges: Judges) -> None:
        before = pids(judges)
        await judges._free.acquire()
        with pytest.raises(OverrunError, match="too many others wait"):
            await judges.judge(json.dumps(make.rule()).encode(), 0.1)
        judges._free.release()
        assert pids(judges) == before
        assert await judges.judge(json.dumps(make.rule()).encode())

    scene(play)


def test_what_no_child_can_read_is_a_fault_and_costs_no_child() -> None:
    async def play(judges: Judges) -> None:
        before = pids(judges)
        with pytest.raises(UnjudgedError, match="JSONDecodeError"):
            await judges.judge(b"{")
        assert pids(judges) == before

    scene(play)
