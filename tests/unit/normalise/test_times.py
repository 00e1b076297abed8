from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.normalise.times import END, format_time, has_finer_digits, parse_time, read_zone

NOW = 1_764_000_000_000  # 2025-11-24T16:00:00Z
moments = st.integers(min_value=1_000_000_000_000, max_value=4_000_000_000_000)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2016-07-13T22:33:31.625Z", "2016-07-13T22:33:31.625Z"),
        ("2016-07-13 14:33:31.625443-08:00", "2016-07-13T22:33:31.625Z"),
        ("2016-07-13 14:33:31,625", "2016-07-13T14:33:31.625Z"),
        ("2016-07-13t14:33:31z", "2016-07-13T14:33:31.000Z"),
        ("2016/07/13 14:33:31", "2016-07-13T14:33:31.000Z"),
        ("2016-07-13 14:33:31 +0200", "2016-07-13T12:33:31.000Z"),
        ("2016-07-13 14:33:31 UTC", "2016-07-13T14:33:31.000Z"),
        ("2016-07-13T14:33:31.123456789+02", "2016-07-13T12:33:31.123Z"),
        ("20160713T143331Z", "2016-07-13T14:33:31.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("1468443523", "2016-07-13T20:58:43.000Z"),
        ("1468443523.5", "2016-07-13T20:58:43.500Z"),
        (1468443523.001, "2016-07-13T20:58:43.001Z"),
        (1.468443523e18, "2016-07-13T20:58:43.000Z"),
        ("20160713143331", "2016-07-13T14:33:31.000Z"),
        ("/Date(1468443523000)/", "2016-07-13T20:58:43.000Z"),
        (131129171230000000, "2016-07-13T20:58:43.000Z"),
        ("13/Jul/2016:16:33:31 +0200", "2016-07-13T14:33:31.000Z"),
        ("Wed, 13 Jul 2016 14:33:31 GMT", "2016-07-13T14:33:31.000Z"),
        ("Wed Jul 13 14:33:31 2016", "2016-07-13T14:33:31.000Z"),
        ("Jul 13 2016 14:33:31", "2016-07-13T14:33:31.000Z"),
        ("Nov 22 10:00:00", "2025-11-22T10:00:00.000Z"),
        ("Jan  2 10:00:00", "2026-01-02T10:00:00.000Z"),
        ("Jul  1 10:00:00.25", "2025-07-01T10:00:00.250Z"),
        ("Feb 29 10:00:00", "2024-02-29T10:00:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_read_in_the_ways_people_write_them(written: object, read: str) -> None:
    time = parse_time(written, UTC, NOW)
    assert time is not None
    assert format_time(time) == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "yesterday",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "2016-13-01",
        "-12345",
        -1,
        1e30,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        {},
        "x" * 1000,
        "Foo 22 10:00:00",
        "Feb 30 10:00:00",
        "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
    ],
)
def test_what_is_no_time_of_this_age_is_not_read(written: object) -> None:
    assert parse_time(written, UTC, NOW) is None


def test_a_date_without_a_year_needs_to_know_what_it_is_near_to() -> None:
    assert parse_time("Nov 22 10:00:00") is None


def test_a_time_without_a_zone_is_in_the_source_s() -> None:
    berlin = read_zone("Europe/Berlin")
    assert format_time(parse_time("2026-07-01 12:00:00", berlin) or 0) == "2026-07-01T10:00:00.000Z"
    assert format_time(parse_time("Jan  1 12:00:00", berlin, NOW) or 0) == "2026-01-01T11:00:00.000Z"
    assert parse_time("2026-07-01T12:00:00Z", berlin) == parse_time("2026-07-01T12:00:00Z")


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "+99:00x", "/etc/localtime"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="zone"):
        read_zone(name)


@given(moments)
def test_a_written_time_is_read_back(time: int) -> None:
    assert parse_time(format_time(time)) == time


@given(moments, st.integers(min_value=-14 * 60, max_value=14 * 60), st.sampled_from(["T", " "]))
def test_an_offset_does_not_change_the_moment(time: int, minutes: int, separator: str) -> None:
    zone = timezone(timedelta(minutes=minutes))
    text = datetime.fromtimestamp(time / 1000, zone).isoformat(sep=separator, timespec="milliseconds")
    assert parse_time(text) == time


@given(time=moments, unit=st.sampled_from(["s", "ms", "us", "ns"]), as_text=st.booleans())
def test_the_magnitude_of_a_number_tells_its_unit(time: int, unit: str, *, as_text: bool) -> None:
    whole = time // 1000 * 1000
    number = {"s": whole // 1000, "ms": whole, "us": whole * 1000, "ns": whole * 1_000_000}[unit]
    assert parse_time(str(number) if as_text else number) == whole


@given(moments)
def test_a_fraction_of_a_second_is_read_to_the_millisecond(time: int) -> None:
    assert parse_time(time / 1000) == time
    assert parse_time(f"{time // 1000}.{time % 1000:03d}") == time


@given(
    st.integers(min_value=1_500_000_000_000, max_value=2_000_000_000_000),
    st.integers(min_value=-170 * 86_400, max_value=170 * 86_400),
)
def test_the_year_of_a_syslog_date_is_the_nearest_one(near: int, offset: int) -> None:
    time = near // 1000 * 1000 + offset * 1000
    text = datetime.fromtimestamp(time / 1000, UTC).strftime("%b %d %H:%M:%S")
    assert parse_time(text, UTC, near) == time or text.startswith("Feb 29")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary()))
def test_anything_is_a_time_in_range_or_none(value: object) -> None:
    time = parse_time(value, UTC, NOW)
    assert time is None or 0 <= time < END


@pytest.mark.parametrize(
    ("text", "finer"),
    [
        ("2016-07-13T22:33:31.625Z", False),
        ("2016-07-13T22:33:31.625+00:00", False),
        ("2016-07-13T22:33:31+00:00", False),
        ("2016-07-13T22:33:31.625443Z", True),
        ("2016-07-13 22:33:31,625443", True),
    ],
)
def test_digits_below_a_millisecond_are_noticed(text: str, *, finer: bool) -> None:
    assert has_finer_digits(text) is finer
