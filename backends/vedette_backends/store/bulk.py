"""Creating events: which partition, whether the id is taken, and one commit per partition that was touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vedette_backends.errors import BackendError, UnavailableError
from vedette_backends.store.inflight import InFlight
from vedette_backends.store.partition import Partition, PartitionWriter
from vedette_backends.store.partitions import DAY_MS, Key, Partitions, Writers, day_of
from vedette_backends.store.protocol import ItemResult, NewEvent, Outcome

_HOUR_MS: Final = 3_600_000
_LONG: Final = 1 << 63
_CREATED: Final = ItemResult(Outcome.CREATED)
_DUPLICATE: Final = ItemResult(Outcome.DUPLICATE)
_COLLISION: Final = ItemResult(Outcome.COLLISION, "the id belongs to an event with another content")


class BulkWriter:
    """Creates events; the store calls it from one thread at a time.

    Args:
        writers: of the namespace.
        partitions: its readers, for looking ids up in yesterday's partition.
        in_flight: tells readers that a bulk is under way.
        clock: milliseconds since the epoch; stamps `vedette.stored`.
    """

    def __init__(self, writers: Writers, partitions: Partitions, in_flight: InFlight, clock: Callable[[], int]) -> None:
        self._writers = writers
        self._partitions = partitions
        self._in_flight = in_flight
        self._clock = clock

    def create(self, retention: str, events: Sequence[NewEvent]) -> list[ItemResult]:
        """The outcome of each event; what is CREATED is durable and visible to every process.

        Raises:
            UnavailableError: of the partition at hand nothing was kept; what went to another partition before stays,
                and is DUPLICATE when the call is repeated.
        """
        results: list[ItemResult] = [_CREATED] * len(events)
        with self._in_flight.bulk():
            stored = self._clock()
            for day, indices in _by_day(events, results).items():
                self._create_in(Key(day, retention), stored, events, indices, results)
        self._writers.rest()
        return results

    def _create_in(
        self, key: Key, stored: int, events: Sequence[NewEvent], indices: list[int], results: list[ItemResult]
    ) -> None:
        target = _Target(self._writers, self._partitions, key, stored)
        try:
            for at in indices:
                results[at] = target.add(events[at])
            target.commit()
        except (ValueError, OSError) as error:
            self._writers.discard(key)
            raise UnavailableError(f"events of {key.retention}/{key.day} cannot be written: {error}") from error
        except BackendError:
            self._writers.discard(key)
            raise


def _by_day(events: Sequence[NewEvent], results: list[ItemResult]) -> dict[str, list[int]]:
    """Indices by day of `ingested`, in the order of the call; what has no day is rejected at once."""
    days: dict[str, list[int]] = {}
    start, indices = None, []
    for at, event in enumerate(events):
        midnight = event.ingested - event.ingested % DAY_MS
        if midnight != start:
            try:
                indices = days.setdefault(day_of(midnight), [])
            except ValueError as error:
                results[at] = ItemResult(Outcome.REJECTED, str(error))
                continue
            start = midnight
        if not -_LONG <= event.time < _LONG:
            results[at] = ItemResult(Outcome.REJECTED, "@timestamp does not fit into 64 bits")
            continue
        indices.append(at)
    return days


class _Target:
    """One partition during one call."""

    def __init__(self, writers: Writers, partitions: Partitions, key: Key, stored: int) -> None:
        self.key = key
        self._stored = stored
        self._writers = writers
        self._partitions = partitions
        self._writer: PartitionWriter = writers.get(key)
        self._added: dict[str, str] = {}
        self._times: list[int] = []
        self._day_before: Partition | None = None
        self._looked_for_day_before = False

    def add(self, event: NewEvent) -> ItemResult:
        """Add unless the id is taken."""
        taken = self._added.get(event.id)
        if taken is None and event.maybe_repeat:
            taken = self._stored_hash(event)
        if taken is not None:
            return _DUPLICATE if taken == event.hash else _COLLISION
        reason = self._writer.add(event, self._stored)
        if reason:
            return ItemResult(Outcome.REJECTED, reason)
        self._added[event.id] = event.hash
        self._times.append(event.time)
        return _CREATED

    def _stored_hash(self, event: NewEvent) -> str | None:
        found = self._writer.stored_hash(event.id)
        if found is None and event.ingested % DAY_MS < _HOUR_MS:
            if not self._looked_for_day_before:
                self._looked_for_day_before = True
                self._day_before = self._partitions.get(Key(day_of(event.ingested - DAY_MS), self.key.retention))
            if self._day_before is not None:
                found = self._day_before.stored_hash(event.id)
        return found

    def commit(self) -> None:
        """Make what was added durable and visible."""
        if self._added:
            self._writer.commit(self._times, self._stored)
