"""The stamp of the embedded store: what other processes may rely on, and events of versions that knew none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from tantivy import Document

from vedette_backends.errors import ConflictError, UnavailableError
from vedette_backends.liveness import Lease
from vedette_backends.store import inflight, partition
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.inflight import InFlight, await_bulk
from vedette_backends.store.partitions import writer_lock
from vedette_backends.store.protocol import Alert, NewEvent, TimeRange
from vedette_backends.store.tokens import Terms
from vedette_engine.query.tree import And, Exists, MatchAll, Not, Range, Term

T0 = 1_795_348_800_000
DAY = 86_400_000
ALL, ALWAYS = MatchAll(), TimeRange()
STORED = "vedette.stored"

# Stops between the stamp and the commit until a line comes in.
WRITER = """
import sys
from pathlib import Path
from vedette_backends.store import embedded, partition
from vedette_backends.store.protocol import NewEvent
commit = partition.PartitionWriter.commit
def slow(self, *told):
    print("stamped", flush=True)
    sys.stdin.readline()
    commit(self, *told)
T0 = 1795348800000
store = embedded.open_store(Path(sys.argv[1]), writer=True, clock=lambda: T0)
store.create_events("30d", [NewEvent("0" * 31 + "1", T0, T0, "h", {"event.dataset": "test"})])
partition.PartitionWriter.commit = slow
store.create_events("30d", [NewEvent("0" * 31 + "2", T0, T0, "h", {"event.dataset": "test"})])
print("done", flush=True)
sys.stdin.readline()
"""


@contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a bulk."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stamped\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def opened(folder: Path, *, writer: bool, now: int = T0) -> Iterator[EmbeddedStore]:
    store = open_store(folder, writer=writer, clock=lambda: now)
    try:
        yield store
    finally:
        store.close()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_who_asks_by_the_stamp_waits_for_the_bulk_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(tmp_path) as process, opened(tmp_path, writer=False) as reader:
        monkeypatch.setattr(inflight, "PATIENCE", 0.05)
        with pytest.raises(UnavailableError, match="does not finish"):
            reader.count_events(Range(STORED, None, T0), ALWAYS)
        with pytest.raises(UnavailableError):
            reader.groups(And((ALL, Not(Range(STORED, T0, None)))), ALWAYS, ["host.name"])
        assert reader.count_events(ALL, ALWAYS) == 1  # other questions do not wait
        monkeypatch.setattr(inflight, "PATIENCE", 60)
        go_on(process)
        assert reader.count_events(Range(STORED, None, T0), ALWAYS) == 2


def test_a_bulk_whose_process_was_killed_holds_up_nobody(tmp_path: Path) -> None:
    with writer(tmp_path) as process, opened(tmp_path, writer=False) as reader:
        process.kill()
        process.wait()
        assert reader.count_events(Range(STORED, None, T0), ALWAYS) == 1
        with opened(tmp_path, writer=True) as store:
            await_bulk(tmp_path / "events", writer_lock(tmp_path / "events"), patience=0)
            assert store.count_events(Range(STORED, None, T0), ALWAYS) == 1


def test_a_bulk_that_fails_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_event: Any) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    with opened(tmp_path, writer=True) as store:
        with monkeypatch.context() as patch:
            patch.setattr(partition.PartitionWriter, "commit", fail)
            with pytest.raises(UnavailableError):
                store.create_events("30d", [make_event(1)])
        await_bulk(tmp_path / "events", writer_lock(tmp_path / "events"), patience=0)
        assert store.count_events(Range(STORED, None, T0), ALWAYS) == 0


def test_a_stamp_is_taken_after_the_bulk_was_announced(tmp_path: Path, make_event: Any) -> None:
    announced: list[bool] = []
    folder = tmp_path / "events"

    def clock() -> int:
        try:
            await_bulk(folder, writer_lock(folder), patience=-1)
        except UnavailableError:
            announced.append(True)
        else:
            announced.append(False)
        return T0

    store = open_store(tmp_path, writer=True, clock=clock)
    store.create_events("30d", [make_event(1), make_event(2, ingested=T0 - DAY)])
    store.close()
    assert announced == [True]


def test_the_count_of_bulks_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    lock = Lease(writer_lock(tmp_path))
    for left in (0, 3, 6, 2**64 - 1):
        (tmp_path / ".bulk").write_bytes(left.to_bytes(8, "little"))
        counting = InFlight(tmp_path)
        await_bulk(tmp_path, writer_lock(tmp_path), patience=-1)
        with counting.bulk(), pytest.raises(UnavailableError):
            await_bulk(tmp_path, writer_lock(tmp_path), patience=-1)
        await_bulk(tmp_path, writer_lock(tmp_path), patience=-1)
        counting.close()
    lock.close()


def test_a_process_that_creates_no_events_writes_alerts_and_records_beside_the_one_that_does(tmp_path: Path) -> None:
    with writer(tmp_path) as process, opened(tmp_path, writer=False) as scheduler:
        go_on(process)
        new = Range(STORED, T0, T0)
        ((group,), more) = scheduler.groups(And((Term("event.dataset", "TEST"), new)), ALWAYS, ["event.dataset"])
        assert (group.values, group.count, more) == (("test",), 2, False)
        record = scheduler.put_record("scheduler", "rules", "r", {"checkpoint": T0})
        with opened(tmp_path, writer=False) as other:
            assert other.put_record("scheduler", "rules", "r", {"checkpoint": T0 + 1}, record.version).version == 2
        with pytest.raises(ConflictError):
            scheduler.put_record("scheduler", "rules", "r", {"checkpoint": T0 + 2}, record.version)
        scheduler.create_alerts([Alert("a", T0, T0, "r", "high", "t", "s", {"events": []})])
        assert scheduler.put_blob(b"bundle")
        assert scheduler.get_alert("a") is not None


# events without a stamp -----------------------------------------------------------------------------------------------
def write_as_before(folder: Path, events: list[NewEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition as the version before the stamp wrote it."""

    def bare(event: NewEvent, terms: Terms, _stored: int) -> Document:
        return Document.from_dict(
            {
                "id": event.id,
                "time": event.time,
                "ingested": event.ingested,
                "tie": partition.tie(event.id),
                "kv": terms.kv,
                "names": terms.names,
                "text": terms.text,
                "message": terms.message,
                "event": orjson.dumps([event.id, event.hash, event.time, event.ingested, event.document]),
            },
            partition.SCHEMA,
        )

    with monkeypatch.context() as patch, opened(folder, writer=True) as store:
        patch.setattr(partition, "make_document", bare)
        store.create_events("30d", events)
    for meta in (folder / "events" / "30d").glob("*/partition.json"):
        told = json.loads(meta.read_bytes())
        del told["stored"]
        meta.write_text(json.dumps(told))


def test_what_has_no_stamp_counts_as_stored_when_it_was_ingested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_event: Any
) -> None:
    write_as_before(tmp_path, [make_event(n, ingested=T0 + n * 1000) for n in range(4)], monkeypatch)
    with opened(tmp_path, writer=True, now=T0 + DAY) as store:
        assert store.count_events(Range(STORED, T0 + 1000, T0 + 2000), ALWAYS) == 2
        assert store.count_events(Not(Range(STORED, T0 + 1000, T0 + 2000)), ALWAYS) == 2
        # The same partition takes up stamped ones.
        store.create_events("30d", [make_event(9, ingested=T0 + 1500)])
        assert store.count_events(Range(STORED, T0 + 1000, T0 + 2000), ALWAYS) == 2
        assert store.count_events(Range(STORED, T0 + DAY, None), ALWAYS) == 1
        assert store.count_events(Range(STORED, 10_000, None), ALWAYS) == 5
        assert store.count_events(Exists(STORED), ALWAYS) == 5
        assert store.groups(Range(STORED, T0 + 3000, None), ALWAYS, [])[0][0].count == 2


def test_partitions_that_took_nothing_since_are_not_opened(tmp_path: Path, make_event: Any) -> None:
    with opened(tmp_path, writer=True) as store:
        store.create_events("30d", [make_event(n, ingested=T0 - n * DAY) for n in range(5)])
    with opened(tmp_path, writer=True, now=T0 + 2 * DAY) as store:
        store.create_events("30d", [make_event(9, ingested=T0 - 3 * DAY)])
    with opened(tmp_path, writer=False) as reader:
        since = And((Term("event.dataset", "test"), Range(STORED, T0 + DAY, None)))
        assert reader.count_events(since, ALWAYS) == 1
        assert {key.day for key in reader._partitions._open} == {"2026.11.19"}
