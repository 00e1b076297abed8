"""Partitions of the embedded store: which are open, which are asked, and what the index must do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.errors import RefusedError
from vedette_backends.store.compile import digits_between
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.partitions import Key, Writers
from vedette_backends.store.protocol import Outcome, TimeRange
from vedette_backends.store.self_test import check_index
from vedette_engine.query.tree import MatchAll, Term

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()


@contextmanager
def opened(folder: Path, *, writer: bool) -> Iterator[EmbeddedStore]:
    store = open_store(folder, writer=writer)
    try:
        yield store
    finally:
        store.close()


def test_writers_of_many_days_are_not_all_kept_open(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        events = [make_event(n, ingested=T0 - n * DAY) for n in range(8)]
        assert {result.outcome for result in store.create_events("30d", events)} == {Outcome.CREATED}
        assert {result.outcome for result in store.create_events("30d", events)} == {Outcome.DUPLICATE}
        assert store.count_events(ALL, ALWAYS) == 8
        assert store._writers is not None
        assert len(store._writers._open) <= 3


def test_a_writer_that_many_bulks_did_not_need_is_closed(tmp_path: Path) -> None:
    writers = Writers(tmp_path, heap=0, most=3)
    writers.get(Key("2026.11.21", "30d"))
    for _ in range(300):
        writers.get(Key("2026.11.22", "30d"))
        writers.rest()
    assert list(writers._open) == [Key("2026.11.22", "30d")]
    writers.close()


def test_partitions_outside_of_the_time_range_are_not_opened(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(n, time=T0 - n * DAY, ingested=T0 - n * DAY) for n in range(5)])
    with opened(tmp_path, writer=False) as reader:
        assert reader.count_events(ALL, TimeRange(T0 - DAY, None)) == 2
        assert {key.day for key in reader._partitions._open} == {"2026.11.21", "2026.11.22"}


def test_the_bounds_of_a_partition_hold_all_its_event_times(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        for shift in (0, -5 * DAY, 3 * DAY):
            store.create_events("30d", [make_event(shift // DAY + 10, time=T0 + shift, ingested=T0)])
    meta = json.loads((tmp_path / "events" / "30d" / "2026.11.22" / "partition.json").read_bytes())
    assert meta["low"] <= T0 - 5 * DAY < T0 + 3 * DAY <= meta["high"]


def test_a_library_that_behaves_otherwise_is_noticed_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette_backends.store.self_test._TRUE", (Term("host.name", "nobody"),))
    with pytest.raises(RefusedError, match="tantivy"):
        check_index.__wrapped__()


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 255), (7, 200), (16, 31), (15, 16), (254, 255), (1, 254)])
def test_digits_between_match_exactly_the_numbers_between(low: int, high: int) -> None:
    import re  # noqa: PLC0415 # the standard library is enough to read what this function writes

    pattern = re.compile(digits_between(f"{low:02x}", f"{high:02x}"))
    assert [n for n in range(256) if pattern.fullmatch(f"{n:02x}")] == list(range(low, high + 1))
