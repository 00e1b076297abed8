"""What only the embedded store has to do: files, locks, other processes, and being killed."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.store import partition
from vedette_backends.store.compile import digits_between
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.partitions import Key, Writers
from vedette_backends.store.protocol import Alert, AlertFilter, Outcome, TimeRange
from vedette_backends.store.self_test import check_index
from vedette_backends.store.snapshot import restore_snapshot
from vedette_engine.query.tree import MatchAll, Term, Text

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()

# Prints the number of the last event that was acknowledged, after each call.
WRITER = """
import sys
from pathlib import Path
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, Outcome
store = open_store(Path(sys.argv[1]), writer=True)
number, step = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
while True:
    batch = [NewEvent(f"{n:032x}", 1795348800000 + n, 1795348800000 + n, "h", {"event.code": str(n)})
             for n in range(number, number + step)]
    results = store.create_events("30d", batch)
    assert all(r.outcome in (Outcome.CREATED, Outcome.DUPLICATE) for r in results), results
    number += step
    print(number, flush=True)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        pause.wait(0.005)


@contextmanager
def opened(folder: Path, *, writer: bool) -> Iterator[EmbeddedStore]:
    store = open_store(folder, writer=writer)
    try:
        yield store
    finally:
        store.close()


def start_writer(folder: Path, number: int, step: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(number), str(step)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Lines that it had still said."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    return said.splitlines()


def test_only_one_process_writes_and_the_other_is_told_why(tmp_path: Path) -> None:
    process = start_writer(tmp_path, 0, 1)
    try:
        with pytest.raises(RefusedError, match="another process writes"):
            open_store(tmp_path, writer=True)
    finally:
        kill(process)
    with opened(tmp_path, writer=True):
        pass


def test_a_store_opened_for_reading_creates_no_events(tmp_path: Path) -> None:
    with opened(tmp_path, writer=False) as reader:
        for refused in (
            lambda: reader.create_events("30d", []),
            lambda: reader.drop_day("30d", "2026.11.22"),
            lambda: reader.snapshot(str(tmp_path / "copy")),
        ):
            with pytest.raises(RefusedError):
                refused()


def test_another_process_sees_what_was_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path, writer=False) as reader:
        process = start_writer(tmp_path, 0, 50)
        try:
            assert process.stdout is not None
            for _ in range(20):
                acknowledged = int(process.stdout.readline())
                assert reader.count_events(ALL, ALWAYS) >= acknowledged
                newest = reader.search_events(ALL, ALWAYS, size=1).events[0]
                assert int(newest.id, 16) >= acknowledged - 1
        finally:
            kill(process)


def test_any_process_may_write_alerts_while_another_holds_the_writer(tmp_path: Path) -> None:
    with opened(tmp_path, writer=True) as writer, opened(tmp_path, writer=False) as other:
        other.create_alerts([Alert("a", T0, T0, "r", "high", "t", "s", {})])
        assert writer.update_alert("a", 1, {"status": "closed"}).version == 2
        assert other.search_alerts(AlertFilter(statuses=["closed"])).total == 1


@pytest.mark.slow
def test_kill_minus_9_loses_nothing_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(12):
        # Starts some events back, as a broker that redelivers would.
        process = start_writer(tmp_path, max(0, acknowledged - 100), chance.choice([1, 20, 200, 1000]))
        assert process.stdout is not None
        for _ in range(chance.randrange(4)):
            acknowledged = max(acknowledged, int(process.stdout.readline()))
        threading.Event().wait(chance.random() * 0.05)  # the moment of the kill is the point of the test
        acknowledged = max([acknowledged, *map(int, kill(process))])
    with opened(tmp_path, writer=True) as store:
        total = store.count_events(ALL, ALWAYS)
        assert total >= acknowledged
        codes = dict(store.top_values(ALL, ALWAYS, "event.code", size=total + 1))
        assert set(codes.values()) == {1}
        assert {str(n) for n in range(acknowledged)} <= set(codes)


def test_a_reader_that_has_a_dropped_day_open_still_answers(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store, opened(tmp_path, writer=False) as reader:
        store.create_events("30d", [make_event(n) for n in range(100)])
        view = partition.Partition(tmp_path / "events" / "30d" / "2026.11.22")
        store.drop_day("30d", "2026.11.22")
        view.refresh()
        assert view.events == 100
        assert view.get(f"{5:032x}") is not None
        assert reader.count_events(ALL, ALWAYS) == 0
        assert list((tmp_path / "events" / "30d").iterdir()) == []


def test_what_a_killed_drop_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "events" / "30d" / ".dropped-2026.11.01"
    left.mkdir(parents=True)
    with opened(tmp_path, writer=True) as store:
        assert not left.exists()
        assert store.days() == []


@pytest.mark.parametrize("damage", ["meta.json", "partition.json"])
def test_a_damaged_partition_is_refused_by_name_and_not_made_anew(tmp_path: Path, make_event: Any, damage: str) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(1)])
    folder = tmp_path / "events" / "30d" / "2026.11.22"
    before = sorted(path.name for path in folder.iterdir())
    (folder / damage).write_bytes(b"{ not json")
    with opened(tmp_path, writer=True) as store:
        with pytest.raises(RefusedError, match=r"2026\.11\.22"):
            store.create_events("30d", [make_event(2)])
        with pytest.raises(RefusedError, match=r"2026\.11\.22"):
            store.count_events(ALL, ALWAYS)
        store.create_events("30d", [make_event(3, ingested=T0 + DAY)])
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_segment_that_lost_a_file_is_refused_when_it_is_read(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(1, {"message": "a b"})])
    (positions,) = (tmp_path / "events" / "30d" / "2026.11.22").glob("*.pos")
    positions.unlink()
    with opened(tmp_path, writer=False) as reader, pytest.raises(RefusedError, match="damaged"):
        reader.count_events(Text("a b"), ALWAYS)


def test_segments_without_an_index_are_refused(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(1)])
    (tmp_path / "events" / "30d" / "2026.11.22" / "meta.json").unlink()
    with opened(tmp_path, writer=True) as store, pytest.raises(RefusedError, match="snapshot"):
        store.create_events("30d", [make_event(2)])


def test_a_partition_whose_making_was_interrupted_is_made(tmp_path: Path, make_event: Any) -> None:
    folder = tmp_path / "events" / "30d" / "2026.11.22"
    folder.mkdir(parents=True)
    (folder / "partition.json.new").write_bytes(b"")
    with opened(tmp_path, writer=True) as store:
        assert store.count_events(ALL, ALWAYS) == 0
        assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.CREATED
        assert store.count_events(ALL, ALWAYS) == 1


def test_a_partition_of_another_format_is_refused(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(1)])
    (tmp_path / "events" / "30d" / "2026.11.22" / "partition.json").write_text('{"format": 99, "low": 0, "high": 1}')
    with opened(tmp_path, writer=False) as reader, pytest.raises(RefusedError, match="format 99"):
        reader.count_events(ALL, ALWAYS)


def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(RefusedError, match=r"state\.db"):
        open_store(tmp_path, writer=True)
    (tmp_path / "state.db").unlink()
    with opened(tmp_path, writer=True):  # the lock was released
        pass


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, writer=False):
        pass
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RefusedError, match="newer version"):
        open_store(tmp_path, writer=False)


def test_a_blob_that_was_changed_on_disk_is_refused_and_mended_by_writing_it_again(tmp_path: Path) -> None:
    with opened(tmp_path, writer=False) as store:
        digest = store.put_blob(b"content")
        (path,) = (tmp_path / "blobs").glob("*/*")
        path.write_bytes(b"other")
        with pytest.raises(RefusedError, match="damaged"):
            store.get_blob(digest)
        assert store.put_blob(b"content") == digest
        assert store.get_blob(digest) == b"content"


def test_a_restored_snapshot_answers_as_the_store_did(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path / "ns", writer=True) as store:
        store.create_events("30d", [make_event(n, ingested=T0 - n % 2 * DAY) for n in range(50)])
        store.create_alerts([Alert("a", T0, T0, "r", "high", "t", "s", {})])
        digest = store.put_blob(b"bundle")
        store.set_head("bundle", digest)
        store.snapshot(str(tmp_path / "copy"))
        store.create_events("30d", [make_event(99)])
        with pytest.raises(RefusedError, match="not empty"):
            store.snapshot(str(tmp_path / "copy"))
    restore_snapshot(tmp_path / "copy", tmp_path / "restored")
    with opened(tmp_path / "restored", writer=True) as restored:
        assert restored.count_events(ALL, ALWAYS) == 50
        assert restored.get_alert("a") is not None
        assert restored.get_blob(restored.head("bundle") or "") == b"bundle"
        assert restored.create_events("30d", [make_event(2), make_event(99)])[0].outcome is Outcome.DUPLICATE
    with pytest.raises(RefusedError, match="not empty"):
        restore_snapshot(tmp_path / "copy", tmp_path / "restored")
    with pytest.raises(NotFoundError):
        restore_snapshot(tmp_path / "ns", tmp_path / "other")


def test_a_snapshot_is_consistent_while_events_arrive(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path / "ns", writer=True) as store:
        done = threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            while not done.is_set():
                store.create_events("30d", [make_event(written * 10 + n) for n in range(10)])
                written += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_until(lambda: written > 12)
            store.snapshot(str(tmp_path / "copy"))
        finally:
            done.set()
            thread.join()
    restore_snapshot(tmp_path / "copy", tmp_path / "restored")
    with opened(tmp_path / "restored", writer=False) as restored:
        assert restored.count_events(ALL, ALWAYS) % 10 == 0
        assert restored.count_events(ALL, ALWAYS) > 120


FULL_DISK = """
import resource, sys
from pathlib import Path
from vedette_backends.errors import UnavailableError
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, Outcome, TimeRange
from vedette_engine.query.tree import MatchAll
store = open_store(Path(sys.argv[1]), writer=True)
def create(start, text):
    events = [NewEvent(f"{start + n:032x}", 1795348800000, 1795348800000, "h", {"message": f"{n} {text}"})
              for n in range(300)]
    return {result.outcome for result in store.create_events("30d", events)}
assert create(0, "a") == {Outcome.CREATED}
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, unlimited[1]))
try:
    create(1000, "b" * 3000)
except UnavailableError as error:
    print("unavailable")
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
print(store.count_events(MatchAll(), TimeRange()))
assert create(1000, "b" * 3000) == {Outcome.CREATED}
print(store.count_events(MatchAll(), TimeRange()))
store.close()
"""


def test_when_files_cannot_grow_the_call_fails_whole_and_may_be_repeated_later(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    told = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["unavailable", "300", "600"]


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


def test_readers_search_from_many_threads_while_one_writes(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(n) for n in range(20)])
        failures: list[BaseException] = []
        done = threading.Event()

        def ask() -> None:
            try:
                while not done.is_set():
                    page = store.search_events(ALL, ALWAYS, size=10)
                    assert len(page.events) == 10
                    assert page.total >= 20
            except BaseException as error:  # noqa: BLE001 # the main thread reports it
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            store.create_events("30d", [make_event(100 + number)])
        done.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.count_events(ALL, ALWAYS) == 40
