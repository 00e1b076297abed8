"""An event that kills whoever processes it is found, and no other one is blamed."""

from __future__ import annotations

import pytest
from tests.unit.pipeline.poison import deadly, still_born

from vedette_engine.wire import Record
from vedette_workers.pipeline.effects import Arrival
from vedette_workers.pipeline.isolation import Isolation

DIED = "ended the process that tried it"
ARRIVAL = Arrival("app", 1, 2, repeat=True)


def record(raw: bytes) -> Record:
    return Record("0" * 32, raw, "k", 0, keyed=True)


def test_events_that_end_the_child_are_poison_and_their_neighbours_are_not() -> None:
    with Isolation(deadly) as isolation:
        verdicts = [isolation.verdict(record(raw), ARRIVAL) for raw in (b"good", b"segfault", b"good")]
    assert verdicts == ["", DIED, ""]


@pytest.mark.slow
@pytest.mark.parametrize("raw", [b"exit", b"memory"])
def test_an_event_is_poison_however_it_ends_the_child(raw: bytes) -> None:
    with Isolation(deadly) as isolation:
        assert isolation.verdict(record(raw), ARRIVAL) == DIED


def test_an_event_that_never_ends_is_poison() -> None:
    with Isolation(deadly, seconds=0.3) as isolation:
        assert "not done" in isolation.verdict(record(b"hang"), ARRIVAL)


def test_no_event_is_blamed_for_a_child_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    with Isolation(still_born) as isolation:
        assert [isolation.verdict(record(b"good"), ARRIVAL) for _ in range(3)] == ["", "", ""]
    assert sum("does not start" in message for message in caplog.messages) == 1


def test_nothing_is_left_behind() -> None:
    with Isolation(deadly) as isolation:
        isolation.verdict(record(b"good"), ARRIVAL)
        child = isolation._child
        assert child is not None
        assert child.is_alive()
    with pytest.raises(ValueError, match="closed"):
        child.is_alive()
