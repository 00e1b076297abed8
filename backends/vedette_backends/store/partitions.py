"""The partitions of a namespace: `events/<retention class>/<yyyy.mm.dd>/`, which of them are open, and who writes."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.store.bounds import META, Bounds, read_bounds
from vedette_backends.store.inflight import await_bulk
from vedette_backends.store.partition import Partition, PartitionWriter

DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RETENTION: Final = re.compile(r"[a-z0-9]{1,16}")
_DAY: Final = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_DROPPED: Final = ".dropped-"
_LOCK: Final = ".writer.lock"
_LOCK_PAUSES: Final = (0.01, 0.02, 0.05, 0.1)
_MAX_READERS: Final = 64
_IDLE_BULKS: Final = 200


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names a partition."""

    day: str
    retention: str


def day_of(ingested: int) -> str:
    """The UTC day of a time in milliseconds, as yyyy.mm.dd."""
    try:
        return (_EPOCH + timedelta(milliseconds=ingested)).strftime("%Y.%m.%d")
    except OverflowError as error:
        raise ValueError(f"{ingested} ms is outside of the calendar") from error


@functools.lru_cache(maxsize=1024)
def start_of(day: str) -> int | None:
    """The first millisecond of a day written as yyyy.mm.dd; None for one that no calendar has."""
    try:
        return (datetime.strptime(day, "%Y.%m.%d").replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
    except ValueError:
        return None


def check_retention(retention: str) -> str:
    """The retention class if it can be a folder's name. Raises RefusedError."""
    if not _RETENTION.fullmatch(retention):
        raise RefusedError(f"{retention[:40]!r} is not a retention class such as 30d")
    return retention


class Partitions:
    """Readers of all partitions below `folder`, opened when asked for and kept while they are in use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[Key, Partition] = OrderedDict()
        self._bounds: dict[Key, tuple[int, Bounds]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Key]:
        """Partitions that hold something, oldest day first."""
        return sorted(self._scan())

    def _scan(self) -> Iterator[Key]:
        for retention in _folders(self.folder):
            if _RETENTION.fullmatch(retention):
                for day in _folders(self.folder / retention):
                    if _DAY.fullmatch(day) and (self.folder / retention / day / META).exists():
                        yield Key(day, retention)

    def path(self, key: Key) -> Path:
        """The folder of a partition."""
        return self.folder / key.retention / key.day

    def bounds(self, key: Key) -> Bounds | None:
        """Bounds of the event times in a partition; None when it is gone."""
        try:
            stamp = (self.path(key) / META).stat().st_mtime_ns
            known = self._bounds.get(key)
            if known is not None and known[0] == stamp:
                return known[1]
            bounds = read_bounds(self.path(key))
        except FileNotFoundError:
            return None
        if bounds is not None:
            self._bounds[key] = (stamp, bounds)
        return bounds

    def newest_stored(self, key: Key) -> int | None:
        """No event of the partition was stored later, ms; None where that cannot be said."""
        bounds = self.bounds(key)
        start = start_of(key.day)
        if bounds is None or start is None:
            return None
        # Events without a stamp count as stored when they were ingested, on the partition's day.
        return max(start + DAY_MS, bounds.stored or start)

    def get(self, key: Key) -> Partition | None:
        """The partition, with all that is committed; None when it was dropped or never finished being made."""
        path = self.path(key)
        with self._lock:
            partition = self._open.get(key)
            if partition is None:
                if not (path / "meta.json").exists():
                    return None
                partition = self._open[key] = Partition(path)
                while len(self._open) > _MAX_READERS:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            partition.refresh()
        return partition

    def await_bulk(self) -> None:
        """Return when no bulk is under way that began before this call. Raises UnavailableError."""
        await_bulk(self.folder, writer_lock(self.folder))

    def forget(self, key: Key) -> None:
        """Close the reader of a partition that was dropped."""
        with self._lock:
            self._open.pop(key, None)
            self._bounds.pop(key, None)

    def close(self) -> None:
        """Release all readers."""
        with self._lock:
            self._open.clear()
            self._bounds.clear()


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return []


def writer_lock(folder: Path) -> Path:
    """What the one process that writes below `folder` holds locked."""
    return folder / _LOCK


class Writers:
    """The writers of a namespace's partitions. Only one process may have this object: it holds a lock on the folder.

    Args:
        folder: `events/` of the namespace.
        heap: bytes for the newest day's writer; others get the least that tantivy allows.
        most: writers open at the same time; the one that was idle longest is closed for another.
    """

    _LEAST_HEAP: Final = 15_000_000

    def __init__(self, folder: Path, *, heap: int, most: int) -> None:
        self.folder = folder
        self._heap = max(heap, self._LEAST_HEAP)
        self._most = most
        self._open: OrderedDict[Key, PartitionWriter] = OrderedDict()
        self._used: dict[Key, int] = {}
        self._bulks = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = writer_lock(folder).open("a+b")
        if not self._lock():
            self._lock_file.close()
            raise RefusedError(f"another process writes the events in {folder}: stop it first")
        self._sweep()

    def _lock(self) -> bool:
        """Take the folder. A reader that looks whether anybody has it holds it for a moment, so try more than once."""
        for pause in (*_LOCK_PAUSES, None):
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if pause is not None:
                    time.sleep(pause)
            else:
                return True
        return False

    def _sweep(self) -> None:
        """Remove what a `drop` left behind when it was killed."""
        for retention in _folders(self.folder):
            for name in _folders(self.folder / retention):
                if name.startswith(_DROPPED):
                    shutil.rmtree(self.folder / retention / name, ignore_errors=True)

    def exists(self, key: Key) -> bool:
        """Whether the partition has been made."""
        return key in self._open or (self.folder / key.retention / key.day / META).exists()

    def get(self, key: Key) -> PartitionWriter:
        """The writer of a partition, opened or made."""
        writer = self._open.get(key)
        if writer is None:
            while len(self._open) >= self._most:
                _, idle = self._open.popitem(last=False)
                idle.close()
            newest = not self._open or key.day >= max(other.day for other in self._open)
            heap = self._heap if newest else self._LEAST_HEAP
            writer = self._open[key] = PartitionWriter(self.folder / key.retention / key.day, heap)
        self._open.move_to_end(key)
        self._used[key] = self._bulks
        return writer

    def rest(self) -> None:
        """Called after each bulk: closes the writers that many bulks did not need."""
        self._bulks += 1
        for key in [key for key, used in self._used.items() if used < self._bulks - _IDLE_BULKS]:
            self._used.pop(key)
            writer = self._open.pop(key, None)
            if writer is not None:
                writer.close()

    def discard(self, key: Key) -> None:
        """Close a writer that failed; the next use opens it again at its last commit."""
        writer = self._open.pop(key, None)
        if writer is not None:
            writer.abandon()

    def drop(self, key: Key) -> None:
        """Remove a partition. Raises NotFoundError."""
        writer = self._open.pop(key, None)
        if writer is not None:
            writer.close()
        path = self.folder / key.retention / key.day
        gone = path.with_name(f"{_DROPPED}{key.day}")
        shutil.rmtree(gone, ignore_errors=True)
        try:
            path.rename(gone)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no partition {key.retention}/{key.day}") from error
        shutil.rmtree(gone)

    def close(self) -> None:
        """Close all writers, waiting for their merges, and let another process write."""
        try:
            while self._open:
                _, writer = self._open.popitem()
                writer.close()
        finally:
            self._lock_file.close()
