"""The embedded store in several processes: who may write, who sees what, and being killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.errors import RefusedError
from vedette_backends.store import partition
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Alert, AlertFilter, TimeRange
from vedette_engine.query.tree import MatchAll

T0 = 1_795_348_800_000
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
