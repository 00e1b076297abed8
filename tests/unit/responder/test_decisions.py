"""Which window an alert fits, how many a rule may open: pure, over small records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.notices import Notice
from vedette_workers.responder import groups
from vedette_workers.responder.groups import MOST, candidates, new_window, read, write
from vedette_workers.responder.rate import MOST as MOST_NAMES
from vedette_workers.responder.rate import Limit, Opened

ids = st.text("abcdef", min_size=1, max_size=3)
times = st.integers(-(2**62), 2**62)
a_notice = st.builds(Notice, ids, st.just("rule"), times, st.sampled_from("xyz"), st.integers(0, 10**13))


@given(st.lists(a_notice, max_size=20), a_notice)
def test_an_alert_fits_into_windows_of_its_group_and_time_and_first_into_its_own(
    others: list[Notice], notice: Notice
) -> None:
    windows = [new_window(other, f"inc-{index}", 0) for index, other in enumerate(others)]
    found = list(candidates(windows, notice))
    for window in windows:
        other = others[windows.index(window)]
        near = abs(other.time - notice.time) <= notice.within or other.alert == notice.alert
        assert (window in found) == (near and other.group == notice.group)
    own = [window.first == notice.alert for window in found]
    assert own == sorted(own, reverse=True)


@given(st.lists(a_notice, max_size=20), st.integers(0, 10**14))
def test_what_is_read_is_what_was_written_but_for_what_is_over(notices: list[Notice], now: int) -> None:
    windows = [new_window(notice, f"inc-{index}", 0) for index, notice in enumerate(notices)]
    kept = read(write(windows, now))
    assert set(kept) <= set(windows)
    assert all(not window.opened for window in kept)
    assert len(kept) == len(windows)  # what was not opened is never forgotten for its age
    assert write(kept, now) == write(windows, now)


def test_a_record_stays_small() -> None:
    notices = [Notice(f"{number:032x}", "rule", number, "g", 10) for number in range(5 * MOST)]
    windows = [new_window(notice, "inc-20260101-0123456789", notice.time) for notice in notices]
    kept = read(write(windows, 0))
    assert len(kept) == MOST
    assert kept[-1].first == notices[-1].alert


def test_a_rule_s_groups_share_a_bounded_number_of_records() -> None:
    assert len({groups.bucket_of(f"group {number}") for number in range(2000)}) == groups.BUCKETS


@given(st.lists(st.integers(0, 3_000), max_size=60), st.integers(1, 5))
def test_never_more_than_the_limit_are_opened_in_its_time(steps: list[int], most: int) -> None:
    limit = Limit(most, 10_000)
    opened, now = Opened({}), 0
    times: list[int] = []
    for index, step in enumerate(steps):
        now += step
        if not opened.full(f"inc-{index}", now, limit):
            opened = Opened.read(opened.plus(f"inc-{index}", "07", now, limit).write())
            times.append(now)
    assert all(sum(start <= time < start + limit.per for time in times) <= most for start in times)


def test_what_was_counted_is_not_counted_again_and_the_record_stays_small() -> None:
    limit = Limit(MOST_NAMES, 10**12)
    opened = Opened({})
    for number in range(MOST_NAMES + 50):
        opened = opened.plus(f"inc-{number}", f"{number % 64}", number, limit)
    assert len(opened.names) == MOST_NAMES
    assert opened.last == f"inc-{MOST_NAMES + 49}"
    assert opened.buckets == {name: f"{then % 64}" for name, then in opened.names.items()}
    assert Opened.read(opened.write()) == opened
    assert not opened.full(opened.last, MOST_NAMES, limit)
    assert opened.full("inc-new", MOST_NAMES, limit)


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=20))
def test_the_last_one_opened_is_the_first_to_be_joined(steps: list[int]) -> None:
    opened, now = Opened({}), 0
    for index, step in enumerate(steps):
        now += step
        opened = opened.plus(f"inc-{index}", "07", now, Limit(3, 10**9))
    order = opened.newest_first()
    assert order[0] == opened.last
    assert sorted(order) == sorted(opened.names)
    times = [opened.names[name] for name in order]
    assert times == sorted(times, reverse=True)
