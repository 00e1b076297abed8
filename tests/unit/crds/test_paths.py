from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds import paths


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((), ""),
        (("spec", "tests", 2, "timeline", 0, "at"), "spec.tests[2].timeline[0].at"),
        (("spec", "expect", "source.ip"), 'spec.expect["source.ip"]'),
        (("spec", "expect", 'a"]\\b'), 'spec.expect["a\\"]\\\\b"]'),
    ],
)
def test_a_path_is_written_as_people_read_it(steps: paths.Path, text: str) -> None:
    assert paths.write(steps) == text


@given(st.lists(st.one_of(st.text(), st.integers(min_value=0, max_value=10**8))))
def test_a_written_path_reads_back_as_the_same_steps(steps: list[str | int]) -> None:
    assert paths.parse(paths.write(steps)) == tuple(steps)


def test_reading_stops_at_what_is_no_path() -> None:
    assert paths.parse("spec.a b") == ("spec", "a")
