"""Damaged, foreign and newer files, full disks, and the copy that helps."""

from __future__ import annotations

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
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Alert, Outcome, TimeRange
from vedette_backends.store.snapshot import restore_snapshot
from vedette_engine.query.tree import MatchAll, Text

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()


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
