from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_workers.gateway.errors import Refusal, TooMany, Unavailable
from vedette_workers.gateway.limits import Bucket, Failures, InFlight
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Limits


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(rate: float, burst: float) -> Limits:
    return Limits.model_validate({"eventsPerSecond": rate, "burst": burst})


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=60))
def test_a_bucket_lets_no_more_through_than_rate_and_burst_and_one_request_allow(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    bucket = Bucket(limits(10, 20), clock)
    taken = largest = 0
    for pause, events in steps:
        clock.now += pause
        try:
            bucket.take(events)
        except TooMany:
            continue
        taken += events
        largest = max(largest, events)
        assert taken <= 20 + 10 * clock.now + max(0, largest - 20) + 1e-6


@given(st.integers(1, 200), st.integers(1, 200))
def test_whoever_waits_as_long_as_told_is_let_in(first: int, second: int) -> None:
    clock = Clock()
    bucket = Bucket(limits(10, 20), clock)
    bucket.take(first)
    try:
        bucket.take(second)
    except TooMany as refusal:
        clock.now += refusal.retry_after or 0
        bucket.take(second)


def test_a_rate_is_refused_with_429_and_the_time_to_wait(site: Any) -> None:
    with site.client("slow-token") as client:
        assert client.post("/events", b"{}\n" * 9).status_code == 200
        refused = client.post("/events", b"{}\n" * 5)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert client.post("/events", b"{}\n").status_code == 200
        bulk = client.post("/_bulk", b'{"create":{}}\n{}\n' * 8)
        assert bulk.status_code == 429
        assert bulk.json()["error"]["type"] == "es_rejected_execution_exception"
        assert client.gateway.metrics.get("refused_requests_total", "bank", "slow", "429") == 2
    assert len(site.drain("bank", "slow")) == 10


def test_new_limits_count_from_the_next_request() -> None:
    clock = Clock()
    bucket = Bucket(limits(1, 10), clock)
    bucket.take(10)
    bucket.adopt(limits(1, 100))
    with pytest.raises(TooMany):
        bucket.take(1)
    bucket.adopt(Limits())
    bucket.take(1_000_000)


def test_one_source_cannot_hold_more_than_its_share_and_the_others_go_on() -> None:
    flight = InFlight(Settings(in_flight=100, source_share=0.5))
    first, second, other = flight.open(("a", "x")), flight.open(("a", "x")), flight.open(("a", "y"))
    first.grow(40)
    with pytest.raises(TooMany):
        second.grow(20)
    other.grow(50)
    with pytest.raises(Unavailable):
        other.grow(20)
    first.release()
    first.release()
    second.grow(20)
    assert flight.total == 70


def test_the_first_request_of_a_source_is_bound_by_the_whole_only() -> None:
    flight = InFlight(Settings(in_flight=100, source_share=0.5))
    held = flight.open(("a", "x"))
    for _ in range(9):
        held.grow(10)
    held.release()
    assert flight.total == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.booleans()), max_size=60))
def test_what_is_held_is_never_more_than_allowed_and_all_given_back(steps: list[tuple[int, int, bool]]) -> None:
    flight = InFlight(Settings(in_flight=100, source_share=0.5))
    holders = [flight.open(("ns", str(number // 2))) for number in range(4)]
    for number, size, release in steps:
        try:
            holders[number].grow(size)
        except Refusal:
            holders[number].release()
        if release:
            holders[number].release()
        assert 0 <= flight.total <= 100
    for holder in holders:
        holder.release()
    assert flight.total == 0


def test_failures_are_forgiven_with_time_and_the_memory_for_them_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    failures = Failures(Settings(failures=2, failure_interval=10), clock)
    monkeypatch.setattr(Failures, "_SIZE", 50)
    for _ in range(2):
        failures.check("evil", [])
        failures.failed("evil")
    with pytest.raises(TooMany) as refused:
        failures.check("evil", [])
    assert refused.value.retry_after == 10
    clock.now += 10
    failures.check("evil", [])
    for number in range(1000):
        failures.failed(str(number))
        failures.succeeded(str(number), b"digest")
    assert len(failures._failed) == len(failures._known) == 50


def test_a_full_gateway_answers_503_and_closes(site: Any) -> None:
    with site.client(in_flight=1000) as client:
        other = client.gateway._in_flight.open(("bank", "slow"))
        other.grow(900)
        refused = client.post("/events", orjson.dumps({"a": "x" * 200}))
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        other.release()
        assert client.post("/events", orjson.dumps({"a": "x" * 200})).status_code == 200
