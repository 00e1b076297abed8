"""What every store owes for dead letters, people's records, blobs and heartbeats."""

from __future__ import annotations

import hashlib
import threading

import pytest

from vedette_backends.errors import ConflictError, NotFoundError
from vedette_backends.store.protocol import DeadLetter, Heartbeat, Store
from vedette_engine.query.tree import QueryError


def letter(number: int, reason: str = "Malformed", source: str = "web") -> DeadLetter:
    return DeadLetter(
        id=f"letter{number:03}",
        time=number // 3,
        source=source,
        reason=reason,
        detail="it is broken \ud800",
        original=b"\x00\xff raw",
        headers={"event.id": f"{number}"},
    )


def test_a_dead_letter_keeps_the_bytes_as_they_came(store: Store) -> None:
    store.put_dead_letters([letter(1)])
    kept = store.get_dead_letter("letter001")
    assert kept is not None
    assert (kept.original, kept.headers, kept.state) == (b"\x00\xff raw", {"event.id": "1"}, "waiting")
    assert store.get_dead_letter("nobody") is None


def test_a_dead_letter_that_exists_stays(store: Store) -> None:
    store.put_dead_letters([letter(1)])
    store.mark_dead_letters(["letter001"], "dismissed")
    store.put_dead_letters([letter(1, reason="Poison"), letter(2)])
    kept = store.get_dead_letter("letter001")
    assert kept is not None
    assert (kept.reason, kept.state) == ("Malformed", "dismissed")


def test_dead_letters_are_paged_newest_first_and_filtered(store: Store) -> None:
    store.put_dead_letters([letter(n, "Poison" if n % 2 else "Malformed", "db" if n > 7 else "web") for n in range(10)])
    seen: list[str] = []
    after = None
    while True:
        letters, total, after = store.search_dead_letters(size=3, after=after)
        assert total == 10
        seen += [one.id for one in letters]
        if after is None:
            break
    assert seen == [f"letter{n:03}" for n in range(9, -1, -1)]
    assert store.search_dead_letters(reason="Poison", source="db")[1] == 1


def test_marked_dead_letters_leave_the_waiting_ones(store: Store) -> None:
    store.put_dead_letters([letter(n) for n in range(4)])
    assert store.mark_dead_letters(["letter001", "letter002", "letter002", "nobody"], "replayed") == 2
    assert [one.id for one in store.search_dead_letters()[0]] == ["letter003", "letter000"]
    assert store.search_dead_letters(state="replayed")[1] == 2
    assert store.search_dead_letters(state=None)[1] == 4
    with pytest.raises(QueryError):
        store.mark_dead_letters(["letter001"], "gone")


def test_a_record_is_created_once_and_changed_under_its_version(store: Store) -> None:
    made = store.put_record("notes", "inc-1", "n1", {"text": "first"})
    assert (made.version, made.body) == (1, {"text": "first"})
    with pytest.raises(ConflictError):
        store.put_record("notes", "inc-1", "n1", {"text": "again"})
    changed = store.put_record("notes", "inc-1", "n1", {"text": "second"}, version=1)
    assert (changed.version, changed.time) == (2, made.time)
    with pytest.raises(ConflictError):
        store.put_record("notes", "inc-1", "n1", {"text": "late"}, version=1)
    with pytest.raises(ConflictError):
        store.put_record("notes", "inc-1", "n2", {}, version=1)
    assert store.get_record("notes", "inc-1", "n1") == changed
    assert store.get_record("notes", "inc-2", "n1") is None


def test_the_records_of_a_parent_come_in_the_order_of_their_creation(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.put_record("notes", "inc-1", name, {})
    store.put_record("notes", "inc-2", "z", {})
    store.put_record("notes", "inc-1", "b", {"changed": True}, version=1)
    assert [record.id for record in store.list_records("notes", "inc-1")] == ["b", "c", "a"]


def test_notes_that_two_people_write_at_once_are_all_kept(store: Store) -> None:
    threads = [
        threading.Thread(target=lambda who=who: [store.put_record("notes", "i", f"{who}{n}", {}) for n in range(20)])
        for who in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list_records("notes", "i")) == 40


def test_a_blob_is_found_under_the_hash_of_its_content(store: Store) -> None:
    data = b"bundle" * 1000
    digest = store.put_blob(data)
    assert digest == hashlib.sha256(data).hexdigest() == store.put_blob(data)
    assert store.get_blob(digest) == data
    assert store.get_blob(store.put_blob(b"")) == b""


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "A" * 64])
def test_a_blob_that_is_not_there_is_not_found(store: Store, digest: str) -> None:
    with pytest.raises(NotFoundError):
        store.get_blob(digest)


def test_a_head_points_at_a_blob_that_exists(store: Store) -> None:
    assert store.head("bundle") is None
    first, second = store.put_blob(b"1"), store.put_blob(b"2")
    store.set_head("bundle", first)
    store.set_head("bundle", second)
    assert store.head("bundle") == second
    with pytest.raises(NotFoundError):
        store.set_head("bundle", "0" * 64)
    assert store.head("bundle") == second


def test_only_the_last_heartbeat_of_a_worker_is_kept(store: Store) -> None:
    store.put_heartbeat(Heartbeat("pipeline-b", "i1", 1, {"counters": {"events": 1}}))
    store.put_heartbeat(Heartbeat("pipeline-a", "i1", 2, {}))
    store.put_heartbeat(Heartbeat("pipeline-b", "i2", 3, {"counters": {"events": 0}}))
    assert [(beat.worker, beat.incarnation) for beat in store.heartbeats()] == [
        ("pipeline-a", "i1"),
        ("pipeline-b", "i2"),
    ]
