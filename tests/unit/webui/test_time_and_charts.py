"""The time picker and histograms over ranges that may be open."""

from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.store.protocol import TimeRange
from vedette_webui import chart, timespan

NOW = 1_795_000_000_000
TIMES = st.integers(timespan.moment("0001-01-02T00:00:00Z") or 0, timespan.moment("9999-12-30T00:00:00Z") or 0)


@given(TIMES)
def test_a_time_written_is_the_time_read(time: int) -> None:
    assert timespan.moment(timespan.iso(time)) == time


@given(st.integers(-(10**30), 10**30))
def test_any_number_of_milliseconds_can_be_written(time: int) -> None:
    assert timespan.iso(time).endswith("Z")


@given(st.dictionaries(st.sampled_from(["range", "from", "to"]), st.text(max_size=50)))
def test_any_address_gives_a_span(params: dict[str, str]) -> None:
    span = timespan.parse(params, "24h", NOW)
    assert span.name in {*timespan.RANGES, "custom"}


def test_a_relative_range_stays_relative_and_the_default_is_not_written() -> None:
    assert timespan.parse({"range": "1h"}, "24h", NOW).params == {"range": "1h"}
    assert timespan.parse({"range": "24h"}, "24h", NOW).params == {}
    assert timespan.parse({"range": "1h"}, "24h", NOW).time == TimeRange(NOW - timespan.HOUR, None)


def test_an_absolute_range_is_half_open_and_utc_without_a_zone() -> None:
    span = timespan.parse({"from": "2026-11-18T10:00:00", "to": "2026-11-18T11:00:00+01:00"}, "24h", NOW)
    assert span.time.start == span.time.end == timespan.moment("2026-11-18T10:00:00Z")


def ask_of(times: list[int]) -> chart.Ask:
    def ask(time: TimeRange, interval: int) -> list[tuple[int, int]]:
        low = time.start if time.start is not None else min(times, default=0)
        high = time.end if time.end is not None else max(times, default=0)
        assert (high - low) // interval <= 10_000, "stores refuse this"
        buckets: dict[int, int] = {}
        for at in times:
            if (time.start is None or at >= time.start) and (time.end is None or at < time.end):
                buckets[at // interval * interval] = buckets.get(at // interval * interval, 0) + 1
        return sorted(buckets.items())

    return ask


@given(st.lists(TIMES, max_size=20))
def test_a_histogram_of_any_time_counts_everything_in_a_bounded_number_of_bars(times: list[int]) -> None:
    picture = chart.histogram(ask_of(times), TimeRange(), NOW)
    assert sum(count for _, count in picture.points) == len(times)
    assert (picture.end - picture.start) / picture.interval <= 130
    assert all(picture.start <= at < picture.end for at, _ in picture.points)


@given(st.lists(st.integers(NOW - timespan.DAY, NOW), max_size=20))
def test_a_histogram_of_a_day_counts_everything(times: list[int]) -> None:
    picture = chart.histogram(ask_of(times), TimeRange(NOW - timespan.DAY, None), NOW)
    assert sum(count for _, count in picture.points) == len(times)
    assert picture.label() == "per 30 min"


@given(st.lists(TIMES, max_size=20), TIMES, TIMES)
def test_a_histogram_of_any_chosen_range_counts_what_lies_in_it(times: list[int], one: int, other: int) -> None:
    start, end = min(one, other), max(one, other) + 1
    picture = chart.histogram(ask_of(times), TimeRange(start, end), NOW)
    assert sum(count for _, count in picture.points) == sum(start <= at < end for at in times)
    assert len(picture.points) <= 130


def test_ages_are_said_in_one_unit() -> None:
    assert [timespan.ago(ms) for ms in (400, 1000, 89_000, 240_000, 7_200_000, 3 * timespan.DAY)] == [
        "400 ms",
        "1 s",
        "89 s",
        "4 min",
        "2 h",
        "3 d",
    ]
