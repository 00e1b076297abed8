"""The log of changes against a plain list: bounded, and whoever reads to its end knows what is."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster import kube_log
from vedette_backends.cluster.kube_log import ChangeLog, Entry
from vedette_backends.cluster.protocol import Change, Key

KEYS = [Key("Incident", "shop", name) for name in "abc"]

changes = st.lists(
    st.tuples(st.sampled_from(list(Change)), st.sampled_from(KEYS), st.integers(-3, 5), st.integers(0, 40)),
    max_size=60,
)


def written(log: ChangeLog, told: list[tuple[Change, Key, int, int]]) -> list[Entry]:
    """Write them; versions rise on the whole, though not from one to the next. Returns all entries."""
    version, found = 100, []
    for change, key, step, size in told:
        version += step
        log.add(change, key, version, "uid", b"x" * size)
        found += log.after(log.newest() - 1, 10)
    return found


@given(told=changes)
def test_readers_see_every_change_once_and_can_go_on_anywhere(told: list[tuple[Change, Key, int, int]]) -> None:
    log = ChangeLog()
    log.begin(100)
    entries = written(log, told)
    cursors = [entry.cursor for entry in entries]
    assert cursors == sorted(set(cursors))
    assert all(entry.cursor >= entry.version for entry in entries)
    assert [(entry.change, entry.key) for entry in entries] == [(change, key) for change, key, _, _ in told]
    assert log.after(100, 1000) == entries
    for place, entry in enumerate(entries):
        assert log.after(entry.cursor, 1000) == entries[place + 1 :]
        assert log.after(entry.cursor, 2) == entries[place + 1 : place + 3]


@given(told=changes, start=st.integers(0, 60), kept=st.integers(1, 10))
def test_a_slow_reader_misses_nothing_that_still_counts(
    told: list[tuple[Change, Key, int, int]], start: int, kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube_log, "KEPT_CHANGES", kept)
        log = ChangeLog()
        log.begin(100)
        entries = written(log, told)
        begin = entries[start - 1].cursor if 0 < start <= len(entries) else 100
        seen = log.after(begin, 1000)
        assert [entry.cursor for entry in seen] == sorted({entry.cursor for entry in seen})
        assert len(log.after(0, 1000)) <= kept + len(KEYS) * len(Change)
        for key in KEYS:
            all_ = [entry.change for entry in entries if entry.key == key and entry.cursor > begin]
            told_of_it = [entry.change for entry in seen if entry.key == key]
            # The last word is the same, and of a life that goes on, both what was set and what was judged.
            assert told_of_it[-1:] == all_[-1:]
            since = all_[len(all_) - all_[::-1].index(Change.DELETED) :] if Change.DELETED in all_ else all_
            assert set(since) <= set(told_of_it)


@given(told=changes, limit=st.integers(0, 200))
def test_contents_are_bounded(told: list[tuple[Change, Key, int, int]], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube_log, "KEPT_BYTES", limit)
        patch.setattr(kube_log, "KEPT_CHANGES", 5)
        log = ChangeLog()
        entries = written(log, told)
        sizes = [len(entry.payload) for entry in entries if entry.payload is not None]
        assert sum(sizes) == log._bytes <= limit
        # The newest are kept.
        kept = [entry.payload is not None for entry in entries]
        assert kept == sorted(kept)


def test_a_reader_is_woken_by_a_change() -> None:
    log = ChangeLog()
    seen: list[Entry] = []

    def read() -> None:
        log.wait(0, 30)
        seen.extend(log.after(0, 10))

    thread = threading.Thread(target=read)
    thread.start()
    log.add(Change.SET, KEYS[0], 7, "uid", None)
    thread.join(30)
    assert [entry.version for entry in seen] == [7]


def test_waiting_ends_when_the_time_is_up() -> None:
    ChangeLog().wait(0, 0.001)
