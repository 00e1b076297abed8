"""Figures of a worker; times are given, never measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vedette_workers.pipeline.counters import RATE_WINDOW, Counters, SourceCounters


def test_the_rate_is_that_of_the_last_seconds() -> None:
    source = SourceCounters()
    assert source.to_json(0)["rate"] == 0.0
    for second in range(1, 31):
        source.seen(100, second, second * 1000)
        assert source.to_json(second * 1000)["rate"] == 100.0
    for second in range(31, 45):
        last = source.to_json(second * 1000)["rate"]
    assert last == 0.0


def test_times_never_go_back() -> None:
    source = SourceCounters()
    source.seen(1, 500, 900)
    source.seen(1, 300, 700)
    figures = source.to_json(1000)
    assert (figures["last_event"], figures["last_ingested"], figures["events"]) == (500, 900, 2)


@given(
    steps=st.lists(st.integers(0, 3 * RATE_WINDOW), max_size=30), numbers=st.lists(st.integers(0, 10**9), max_size=30)
)
def test_rates_are_never_negative_and_memory_stays_bounded(steps: list[int], numbers: list[int]) -> None:
    source, now = SourceCounters(), 0
    for step, number in zip(steps, numbers, strict=False):
        now += step
        source.seen(number, now, now)
        assert source.to_json(now)["rate"] >= 0
    assert len(source._marks) <= 31


def test_repeats_are_matches_but_not_alerts() -> None:
    counters = Counters()
    for _ in range(2):
        counters.rule_matched("r", 7)
    counters.rule_alerted("r")
    assert counters.to_json(1)["rules"] == {"r": {"matches": 2, "alerts": 1, "errors": 0, "last": 7}}
