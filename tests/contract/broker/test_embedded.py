"""What only the embedded broker promises: its file, its processes, its disk."""

import gc
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vedette_backends import database, liveness
from vedette_backends.broker import consumer as consumer_module
from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.broker.protocol import Message
from vedette_backends.errors import FullError, RefusedError, UnavailableError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ns"


@pytest.fixture
def queue(folder: Path) -> Iterator[EmbeddedBroker]:
    broker = open_broker(folder)
    broker.declare("q")
    yield broker
    broker.close()


def test_only_its_owner_reads_the_file(queue: EmbeddedBroker, folder: Path) -> None:
    queue.publish([Message("q", b"1")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("broker.db*")}
    assert {"broker.db", "broker.db-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_after_a_power_loss_all_that_is_left_counts_as_redelivered(queue: EmbeddedBroker, folder: Path) -> None:
    queue.publish([Message("q", b"before")])
    queue.close()
    connection = sqlite3.connect(folder / "broker.db", isolation_level=None)
    connection.execute("UPDATE boot SET id = 'the one before'")
    connection.close()
    broker = open_broker(folder)
    broker.publish([Message("q", b"after")])
    taken = broker.consume(["q"], prefetch=2).fetch(2, 5)
    broker.close()
    assert [(delivery.body, delivery.redelivered) for delivery in taken] == [(b"before", True), (b"after", False)]


@pytest.mark.parametrize("keep", [0, 4096], ids=["head", "tables"])
def test_a_damaged_file_is_refused_by_name(queue: EmbeddedBroker, folder: Path, keep: int) -> None:
    queue.publish([Message("q", bytes(100_000))])
    queue.close()
    path = folder / "broker.db"
    path.write_bytes(path.read_bytes()[:keep] + os.urandom(200_000))
    with pytest.raises(RefusedError, match=r"broker\.db"):
        open_broker(folder).publish([Message("q", b"1")])


def test_a_file_of_a_newer_program_is_refused(queue: EmbeddedBroker, folder: Path) -> None:
    queue.close()
    connection = sqlite3.connect(folder / "broker.db", isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RefusedError, match="newer Vedette"):
        open_broker(folder)


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnavailableError):
        open_broker(tmp_path / "file" / "ns")


def test_a_full_queue_takes_none_of_a_call(queue: EmbeddedBroker) -> None:
    queue.declare("small", max_bytes=10)
    queue.publish([Message("small", b"1234")])
    with pytest.raises(FullError, match="small is full"):
        queue.publish([Message("q", b"x"), Message("small", b"1234567")])
    assert queue.stats("q").ready == 0
    assert queue.stats("small").bytes == 4
    queue.publish([Message("small", b"123456")])


def test_a_limit_holds_to_the_byte(queue: EmbeddedBroker) -> None:
    queue.declare("q", max_bytes=4)
    consumer = queue.consume(["q"], prefetch=1)
    for _ in range(3):
        queue.publish([Message("q", b"1234")])
        with pytest.raises(FullError):
            queue.publish([Message("q", b"1")])
        consumer.ack([consumer.fetch(1, 5)[0].tag])


def test_a_full_disk_takes_none_and_says_so(queue: EmbeddedBroker) -> None:
    queue.publish([Message("q", b"1")])
    with queue._connection() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(FullError):
        queue.publish([Message("q", b"2"), Message("q", bytes(1_000_000))])
    assert queue.stats("q").ready == 1
    queue.publish([Message("q", b"3")])
    assert queue.stats("q").ready == 2


def test_a_file_that_stays_locked_is_unavailable(
    queue: EmbeddedBroker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.close()
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    queue = open_broker(folder)
    other = sqlite3.connect(folder / "broker.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        queue.publish([Message("q", b"1")])
    with pytest.raises(UnavailableError):
        queue.consume(["q"], prefetch=1)
    other.execute("ROLLBACK")
    other.close()
    queue.publish([Message("q", b"1")])
    assert queue.stats("q").ready == 1
    queue.close()


def test_a_forked_child_opens_its_own(queue: EmbeddedBroker) -> None:
    consumer = queue.consume(["q"], prefetch=1)
    code = _in_child(lambda: _refuses(lambda: queue.publish([Message("q", b"1")]), lambda: consumer.fetch(1, 0)))
    assert code == 0
    queue.publish([Message("q", b"1")])
    assert len(consumer.fetch(1, 5)) == 1


def test_a_forked_child_does_not_keep_its_parents_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    lease = liveness.Lease(path)
    hold, let_go = os.pipe()
    forked, say_forked = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        os.write(say_forked, b"x")
        os.read(hold, 1)
        os._exit(0)
    os.read(forked, 1)
    assert liveness.is_held(path)
    os.close(lease._handle)  # as the parent's death does
    lease._handle = -1
    assert not liveness.is_held(path)
    os.close(let_go)
    os.waitpid(child, 0)
    for handle in (hold, forked, say_forked):
        os.close(handle)


def test_the_file_shrinks_when_a_backlog_is_done(
    queue: EmbeddedBroker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "_SHRINK_FROM_BYTES", 1_000_000)
    for _ in range(10):
        queue.publish([Message("q", bytes(500_000))])
    consumer = queue.consume(["q"], prefetch=10)
    consumer.ack([delivery.tag for delivery in consumer.fetch(10, 5)])
    assert consumer.fetch(1, 0.02) == []
    queue.close()
    assert (folder / "broker.db").stat().st_size < 2_000_000


def test_the_file_does_not_grow_while_it_is_emptied_as_fast_as_it_is_filled(
    queue: EmbeddedBroker, folder: Path
) -> None:
    consumer = queue.consume(["q"], prefetch=2)
    for _ in range(60):
        queue.publish([Message("q", bytes(500_000))])
        consumer.ack([delivery.tag for delivery in consumer.fetch(2, 5)])
    queue.close()
    assert (folder / "broker.db").stat().st_size < 3_000_000


def test_a_dead_consumers_traces_are_removed(queue: EmbeddedBroker, folder: Path) -> None:
    consumer = queue.consume(["q"], prefetch=1)
    lease = folder / "broker.consumers" / str(consumer._id)
    assert lease.exists()
    consumer._lease.forget()
    queue.stats("q")
    assert not lease.exists()
    with queue._connection() as connection:
        assert connection.execute("SELECT count(*) FROM consumer").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM subscription").fetchone() == (0,)


def test_a_dropped_consumer_counts_as_dead(queue: EmbeddedBroker) -> None:
    queue.publish([Message("q", b"1")])
    dropped = queue.consume(["q"], prefetch=1)
    assert len(dropped.fetch(1, 5)) == 1
    del dropped
    gc.collect()
    assert queue.stats("q").ready == 1


def test_many_may_open_a_new_folder_at_once(folder: Path) -> None:
    brokers = []
    threads = [threading.Thread(target=lambda: brokers.append(open_broker(folder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(brokers) == 8
    brokers[0].declare("q")
    assert all(broker.queues() == ["q", "q.dead"] for broker in brokers)
    for broker in brokers:
        broker.close()


def _in_child(work: Callable[[], bool]) -> int:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _refuses(*calls: Callable[[], object]) -> bool:
    for call in calls:
        try:
            call()
        except UnavailableError as error:
            if "fork" not in str(error):
                return False
        else:
            return False
    return True
