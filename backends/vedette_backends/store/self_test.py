"""Asks the index once, at the start, whether it still behaves as the compiler assumes.

The stored terms are plain text, so little can change below us; what could (how an automaton reads a term with control
characters, how words are split, whether case folds) would make searches silently incomplete, which is worse than not
starting.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from vedette_backends.errors import RefusedError
from vedette_backends.store import partition as index
from vedette_backends.store.compile import compile_query
from vedette_backends.store.protocol import NewEvent, TimeRange
from vedette_backends.store.stored import STORED
from vedette_engine.query import tree

_STORED = 1_795_348_800_000
_DOCUMENT = {
    "host.name": "Web1",
    "message": "Accepted password for root\nsecond line",
    "source.ip": "192.0.2.7",
    "source.port": 4711,
    "vedette.other": {"winlog.event_data.Path": "C:\\Temp\\\u212a.exe", "time": "2026-11-22T10:00:00Z"},
}
_TRUE: tuple[tree.Query, ...] = (
    tree.Term("host.name", "wEB1"),
    tree.Wildcard("message", "*ROOT?second*"),
    tree.Text("password FOR"),
    tree.Cidr("source.ip", "192.0.2.0/28"),
    tree.Range("source.port", 4711, 5000),
    tree.Wildcard("winlog.event_data.Path", "c:\\\\temp\\\\k.exe"),
    tree.Term("time", "2026-11-22T10:00:00Z"),
    tree.Exists("winlog.event_data.Path"),
    tree.Range(STORED, _STORED, _STORED),
)
_FALSE: tuple[tree.Query, ...] = (
    tree.Term("host.name", "web"),
    tree.Text("root web1"),
    tree.Range("source.port", 4712, None),
    tree.Regex("host.name", "web1"),
    tree.Exists("winlog.event_data"),
    tree.Range(STORED, _STORED + 1, None),
)


@functools.cache
def check_index() -> None:
    """Raises RefusedError when the installed index library answers differently. Runs once in a process, some ms."""
    with tempfile.TemporaryDirectory(prefix="vedette-self-test-") as folder:
        writer = index.PartitionWriter(Path(folder), 15_000_000)
        reason = writer.add(NewEvent("0" * 32, 0, 0, "hash", _DOCUMENT), _STORED)
        writer.commit([0], _STORED)
        writer.close()
        searcher = index.Partition(Path(folder)).searcher
        wrong = [query for query in _TRUE if index.count(searcher, compile_query(query, TimeRange())) != 1]
        wrong += [query for query in _FALSE if index.count(searcher, compile_query(query, TimeRange())) != 0]
    if reason or wrong:
        raise RefusedError(f"the installed tantivy does not behave as this version of Vedette needs: {reason or wrong}")
