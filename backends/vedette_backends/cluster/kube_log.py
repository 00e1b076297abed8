"""The log of changes that watches write and any number of readers read; bounded, and nothing in it is forgotten."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass

from vedette_backends.cluster.protocol import Change, Key

# So many changes are kept one by one; of older ones only the newest of each kind per object.
KEPT_CHANGES = 2_000
# Contents of objects are kept up to this; older ones are asked of the server when somebody still wants them.
KEPT_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Entry:
    """One change.

    Attributes:
        cursor: rises strictly through the log and is never less than `version`, so both can be where a reader goes on.
        version: the resource version.
        payload: the object as JSON; None when it is not kept, or was never known.
    """

    cursor: int
    change: Change
    key: Key
    version: int
    uid: str
    payload: bytes | None


class ChangeLog:
    """Changes in the order in which they came. Threads share it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._recent: deque[Entry] = deque()
        self._old: dict[tuple[Key, Change], Entry] = {}
        self._with_payload: deque[Entry] = deque()
        self._bytes = 0
        self._floor = 0
        self._newest = 0

    def begin(self, version: int) -> None:
        """The log knows what happens after this version."""
        with self._condition:
            self._floor = self._newest = version

    def floor(self) -> int:
        """The log knows everything that happened after this."""
        return self._floor

    def newest(self) -> int:
        """Cursor of the newest change."""
        return self._newest

    def add(self, change: Change, key: Key, version: int, uid: str, payload: bytes | None) -> None:
        """Write a change down."""
        with self._condition:
            self._newest = max(self._newest + 1, version)
            entry = Entry(self._newest, change, key, version, uid, payload)
            self._recent.append(entry)
            self._keep(entry)
            if len(self._recent) > KEPT_CHANGES:
                self._age(self._recent.popleft())
            self._condition.notify_all()

    def after(self, cursor: int, most: int) -> list[Entry]:
        """At most so many entries behind a cursor, oldest first."""
        with self._condition:
            found: list[Entry] = []
            if self._old and (not self._recent or cursor < self._recent[0].cursor - 1):
                found += [entry for entry in self._old.values() if entry.cursor > cursor]
            newer = itertools.takewhile(lambda entry: entry.cursor > cursor, reversed(self._recent))
            found += reversed(list(newer))
        return found[:most]

    def wait(self, cursor: int, seconds: float) -> None:
        """Return when there is an entry behind the cursor, when the time is up, or when somebody calls `wake`."""
        with self._condition:
            if self._newest <= cursor:
                self._condition.wait(seconds)

    def wake(self) -> None:
        """Make all waiting readers look."""
        with self._condition:
            self._condition.notify_all()

    def _keep(self, entry: Entry) -> None:
        if entry.payload is None:
            return
        self._with_payload.append(entry)
        self._bytes += len(entry.payload)
        while self._bytes > KEPT_BYTES:
            self._drop(self._with_payload.popleft())

    def _drop(self, entry: Entry) -> None:
        assert entry.payload is not None
        self._bytes -= len(entry.payload)
        entry.payload = None

    def _age(self, entry: Entry) -> None:
        """Move the oldest of the recent entries to the old ones, where it replaces what it makes needless to tell."""
        if entry.payload is not None:
            self._drop(self._with_payload.popleft())
        needless = {
            Change.SET: (Change.SET, Change.DELETED),
            Change.STATUS: (Change.STATUS,),
            Change.DELETED: tuple(Change),
        }[entry.change]
        for change in needless:
            self._old.pop((entry.key, change), None)
        self._old[entry.key, entry.change] = entry
