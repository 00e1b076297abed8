"""The story: the same for the same seed, in order, and of the size that was asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_cli.demo.benign import HABITS, Habit, noise
from vedette_cli.demo.send import Clock, encode
from vedette_cli.demo.shapes import SOURCES, Moment
from vedette_cli.demo.story import DURATION, SCENES, dice, expected_alerts, play, scenes

CLOCK = Clock(datetime(2026, 11, 22, 7, 30, tzinfo=UTC), 60)


def written(moments: list[Moment]) -> list[bytes]:
    return [encode(moment.make(CLOCK.at(moment.offset))) for moment in moments]


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert written(list(play(7, 800))) == written(list(play(7, 800)))


def test_another_seed_gives_other_events_but_the_same_alerts() -> None:
    assert written(list(play(7, 800))) != written(list(play(8, 800)))
    assert sorted(alert.rule for alert in expected_alerts(7)) == sorted(alert.rule for alert in expected_alerts(8))


def test_the_amount_of_noise_does_not_move_the_scenes() -> None:
    few, many = list(play(3, 100)), list(play(3, 2000))
    assert written([m for m in few if m.scene]) == written([m for m in many if m.scene])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 600))
def test_noise_is_in_order_and_of_the_wanted_amount(seed: int, count: int) -> None:
    offsets = [moment.offset for moment in noise(dice(seed, "noise"), DURATION, count)]
    assert len(offsets) == count
    assert offsets == sorted(offsets)
    assert offsets[0] >= 0
    assert offsets[-1] <= DURATION


@settings(max_examples=20, deadline=None)
@given(seed=st.integers())
def test_every_scene_ends_within_the_two_hours_and_in_order(seed: int) -> None:
    moments = scenes(seed)
    assert [m.offset for m in moments] == sorted(m.offset for m in moments)
    assert moments[0].offset > 0
    assert moments[-1].offset < DURATION
    assert {m.scene for m in moments} == {scene.name for scene in SCENES}


def test_noise_reaches_every_source() -> None:
    counts = Counter(moment.source for moment in noise(dice(1, "noise"), DURATION, 3000))
    assert set(counts) == set(SOURCES)
    assert min(counts.values()) > 100


def test_everyday_events_expect_no_alert() -> None:
    assert not any(moment.alerts or moment.scene for moment in noise(dice(1, "noise"), DURATION, 3000))


def test_logins_are_more_frequent_at_nine_than_at_half_past_seven() -> None:
    logon = next(habit for habit in HABITS if habit.act.__name__ == "logon")
    assert logon.share(9.0) > 3 * logon.share(7.5)


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.act.__name__)
def test_every_habit_writes_one_line_per_event_with_its_time_in_it(habit: Habit) -> None:
    rng = dice(5, "habit")
    for _ in range(20):
        for delay, source, make in habit.act(rng):
            line = encode(make(CLOCK.at(delay)))
            assert b"\n" not in line
            assert b"2026-11-22" in line
            assert source in SOURCES
            if source != "linux-auth":
                assert isinstance(json.loads(line), dict)


def test_addresses_are_documentation_or_private_ones() -> None:
    allowed = re.compile(rb"^(?:192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|10\.20\.|4\.18\.)")
    for line in written(list(play(2, 4000))):
        for address in re.findall(rb"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\d.])", line):
            assert allowed.match(address), line
