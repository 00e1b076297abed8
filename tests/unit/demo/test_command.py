"""`vedette demo` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette_cli.demo import demo, expected_alerts, story_clock
from vedette_cli.demo.shapes import SOURCES


def test_a_dry_run_writes_every_event_and_sends_nothing() -> None:
    result = CliRunner().invoke(demo, ["--dry-run", "--rate", "5", "--seed", "9"])
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["source"] for line in lines} == set(SOURCES)
    assert 600 < len(lines) < 800


def test_backfilled_events_end_now_and_begin_two_hours_ago() -> None:
    result = CliRunner().invoke(demo, ["--dry-run", "--backfill", "--rate", "5"])
    times = [json.loads(line)["at"] for line in result.stdout.splitlines()]
    hours = {time[11:13] for time in times}
    assert len(hours) == 3
    assert times == sorted(times)


def test_scenes_are_listed_with_all_their_alerts() -> None:
    result = CliRunner().invoke(demo, ["--list-scenes"])
    assert result.exit_code == 0
    assert result.output.count("alert ") == len(expected_alerts(1))


def test_a_folder_without_the_sources_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(demo, ["--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "--dir" in result.output


@pytest.mark.parametrize(("offset", "shown"), [(0, "07:30"), (1800, "08:00"), (7199, "09:29")])
def test_the_story_clock_begins_at_half_past_seven(offset: float, shown: str) -> None:
    assert story_clock(offset) == shown


def test_every_option_is_explained() -> None:
    assert all(parameter.help for parameter in demo.params if hasattr(parameter, "help"))
