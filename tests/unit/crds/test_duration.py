from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.duration import PATTERN, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("90m", 5_400_000),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", " 5s", "5s\n", "1m1h", "1s1s", "1.5h", "5w", "٣s", "99999d", "1h" * 40]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10_000 * 86_400_000 - 1))
def test_a_written_duration_reads_back_as_the_same_time(milliseconds: int) -> None:
    text = format_duration(milliseconds)
    assert parse_duration(text) == milliseconds
    assert re.fullmatch(PATTERN, text)


@given(st.from_regex(PATTERN, fullmatch=True))
def test_every_text_that_fits_the_pattern_is_a_duration(text: str) -> None:
    if len(text) >= 2 and text.isascii():
        assert parse_duration(text) >= 0


@pytest.mark.parametrize("milliseconds", [-1, 10_000 * 86_400_000])
def test_what_cannot_be_written_is_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        format_duration(milliseconds)
