"""How many workers there should be, by what is seen of the load."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_operator.desired.scaling import DOWN_AFTER, UP_AFTER, Load, Pace, Scaling, replicas, step

bounds = st.tuples(st.integers(0, 5), st.integers(0, 20)).map(lambda pair: (pair[0], max(pair[0] + pair[1], 1)))
scalings = st.builds(lambda pair, target: Scaling(pair[0], pair[1], target), bounds, st.floats(0, 600))
loads = st.builds(Load, st.none() | st.floats(0, 1e6), st.floats(0, 1e6))
TEN = Scaling(1, 10, 10.0)


@given(st.integers(0, 50), loads, scalings, st.none() | st.floats(0, 1e6))
def test_the_number_is_always_within_its_bounds(
    current: int, load: Load, scaling: Scaling, capacity: float | None
) -> None:
    assert scaling.least <= replicas(current, load, scaling, capacity) <= scaling.most


@given(st.integers(1, 10), loads)
def test_one_decision_is_never_a_large_step(current: int, load: Load) -> None:
    assert current - 1 <= replicas(current, load, TEN) <= max(2 * current, current + 1)


@given(st.integers(1, 9), st.floats(10.1, 1e6), st.floats(0, 1e6))
def test_who_lags_gets_more(current: int, lag: float, rate: float) -> None:
    assert replicas(current, Load(lag, rate), TEN) > current


@pytest.mark.parametrize(
    ("current", "load", "scaling", "wanted"),
    [
        pytest.param(3, Load(None, 0), TEN, 3, id="nothing is known"),
        pytest.param(3, Load(5, 100), TEN, 3, id="neither high nor low"),
        pytest.param(3, Load(0, 100), TEN, 2, id="calm"),
        pytest.param(1, Load(0, 0), TEN, 1, id="never below the least"),
        pytest.param(1, Load(0, 0), Scaling(0, 4, 10), 0, id="nothing comes and none are needed"),
        pytest.param(1, Load(0, 3), Scaling(0, 4, 10), 1, id="something comes"),
        pytest.param(0, Load(11, 0), Scaling(0, 4, 10), 1, id="the first of none"),
        pytest.param(4, Load(15, 100), TEN, 6, id="in proportion"),
        pytest.param(4, Load(1000, 100), TEN, 8, id="doubled at most"),
        pytest.param(8, Load(1000, 100), TEN, 10, id="never above the most"),
    ],
)
def test_the_number_follows_the_lag(current: int, load: Load, scaling: Scaling, wanted: int) -> None:
    assert replicas(current, load, scaling) == wanted


def test_workers_are_not_taken_away_when_the_rest_would_lag_again() -> None:
    assert replicas(3, Load(0, 1000), TEN, capacity=600) == 3
    assert replicas(3, Load(0, 900), TEN, capacity=600) == 2


def test_steps_up_wait_for_the_effect_of_the_last() -> None:
    first = step(Pace(1), Load(60, 500), TEN, now=0.0)
    assert (first.replicas, first.capacity) == (2, 500)
    assert step(first, Load(60, 500), TEN, now=UP_AFTER - 1).replicas == 2
    assert step(first, Load(60, 500), TEN, now=UP_AFTER + 1).replicas == 4


def test_steps_down_wait_for_lasting_calm() -> None:
    pace = Pace(4, changed=0.0)
    pace = step(pace, Load(0, 10), TEN, now=1000.0)
    assert pace.replicas == 4
    pace = step(pace, Load(5, 10), TEN, now=1000.0 + DOWN_AFTER / 2)
    pace = step(pace, Load(0, 10), TEN, now=1000.0 + DOWN_AFTER)
    assert pace.replicas == 4, "it was not calm all the time"
    pace = step(pace, Load(0, 10), TEN, now=1000.0 + 2 * DOWN_AFTER)
    assert pace.replicas == 3


def test_bounds_that_changed_count_at_once() -> None:
    assert step(Pace(9, changed=0.0), Load(5, 1), Scaling(1, 4, 10), now=1.0).replicas == 4
    assert step(Pace(1, changed=0.0), Load(None), Scaling(3, 4, 10), now=1.0).replicas == 3


def simulate(arriving: Callable[[float], float], capacity: float, seconds: int) -> Iterator[tuple[float, int, float]]:
    """(time, replicas, lag) of workers that each do `capacity` events/s, decided every 5 s."""
    pace, backlog = Pace(1, changed=0.0), 0.0
    for now in range(0, seconds, 5):
        rate = arriving(now)
        able = pace.replicas * capacity
        done = min(able * 5, backlog + rate * 5)
        backlog += rate * 5 - done
        lag = backlog / able if able else 60.0 * (backlog > 0)
        pace = step(pace, Load(lag, done / 5), TEN, float(now))
        yield now, pace.replicas, lag


def test_a_steady_load_gets_a_steady_number_of_workers() -> None:
    history = list(simulate(lambda _: 3500.0, 1000.0, 4 * 3600))
    counts = [count for _, count, _ in history[len(history) // 2 :]]
    assert len(set(counts)) == 1
    assert 4 <= counts[0] <= 6
    assert history[-1][2] == 0


def test_workers_come_for_a_burst_and_go_after_it() -> None:
    history = list(simulate(lambda now: 8000.0 if 600 <= now < 1800 else 100.0, 1000.0, 4 * 3600))
    assert max(count for _, count, _ in history) >= 8
    assert history[-1][1] == 1


@given(st.lists(loads, max_size=30), scalings)
def test_whatever_is_seen_the_number_stays_within_its_bounds(found: list[Load], scaling: Scaling) -> None:
    pace = Pace(scaling.least, changed=0.0)
    for number, load in enumerate(found):
        pace = step(pace, load, scaling, number * 60.0)
        assert scaling.least <= pace.replicas <= scaling.most
