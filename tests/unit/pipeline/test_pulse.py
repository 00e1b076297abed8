from __future__ import annotations

from tests.helpers import until

from vedette_workers.heartbeat import Pulse


def test_a_heartbeat_that_fails_does_not_end_the_following_ones() -> None:
    beats: list[str] = []

    def tick(incarnation: str, _started: int) -> None:
        beats.append(incarnation)
        if len(beats) == 1:
            raise ZeroDivisionError

    pulse = Pulse(0.01, tick)
    pulse.start()
    until(lambda: len(beats) >= 3, seconds=10, what="three beats")
    pulse.stop()
    assert len(set(beats)) == 1
