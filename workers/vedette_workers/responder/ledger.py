"""Versioned records of the store, as this worker last saw or wrote them: asking for each of them each time is slow.

What is remembered may be old, since another responder can write too. Two rules keep that harmless: a write names the
version that it changes, so one that rests on something old is refused; and whoever finds nothing in what is remembered
asks the store before they conclude that there is nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Record, Store

REMEMBERED: Final = 512
"""Records; the one that was looked at longest ago is forgotten first."""


class Place(NamedTuple):
    """Where a record is."""

    collection: str
    parent: str
    id: str


class Ledger:
    """Records of one namespace. Any thread may call anything.

    Args:
        store: keeps them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._records: OrderedDict[Place, Record] = OrderedDict()
        self._turns: WeakValueDictionary[Place, AbstractContextManager[bool]] = WeakValueDictionary()

    def turn(self, place: Place) -> AbstractContextManager[bool]:
        """To be held from the read to the write of a record: threads of one process need not refuse each other.

        Whoever has it may take it again. Who takes several always does so in the same order.
        """
        with self._lock:
            return self._turns.setdefault(place, threading.RLock())

    def remembered(self, place: Place) -> Record | None:
        """The record as it was last seen; None where it is not known."""
        with self._lock:
            record = self._records.get(place)
            if record is not None:
                self._records.move_to_end(place)
            return record

    def read(self, place: Place) -> Record | None:
        """The record as it is now; None where there is none."""
        record = self._store.get_record(*place)
        if record is not None:
            self._remember(place, record)
        return record

    def write(self, place: Place, body: Mapping[str, Any], before: Record | None) -> Record:
        """Create the record (`before` is None), or change it if it is still as it was `before`.

        Raises:
            ConflictError: it is not.
        """
        try:
            record = self._store.put_record(*place, body, None if before is None else before.version)
        except BackendError:
            # Somebody else wrote it, or nobody knows whether this was written.
            self.forget(place)
            raise
        self._remember(place, record)
        return record

    def forget(self, place: Place) -> None:
        """Ask the store next time."""
        with self._lock:
            self._records.pop(place, None)

    def _remember(self, place: Place, record: Record) -> None:
        with self._lock:
            known = self._records.get(place)
            if known is None or known.version < record.version:
                self._records[place] = record
            self._records.move_to_end(place)
            while len(self._records) > REMEMBERED:
                self._records.popitem(last=False)
