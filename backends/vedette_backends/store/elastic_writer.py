"""Creating events: which index, whether the id is taken, and an outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from vedette_backends.errors import UnavailableError
from vedette_backends.store.elastic_bulk import bulk
from vedette_backends.store.elastic_documents import encode_event, restamped
from vedette_backends.store.elastic_http import Api, describe, dumps, good, problem_of, quoted
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_mapping import HASH_FIELD
from vedette_backends.store.elastic_names import DAY_MS, HOUR_MS, Names, check_retention, day_of
from vedette_backends.store.protocol import ItemResult, NewEvent, Outcome

_MAX_IDS: Final = 1000
_FRESH_MS: Final = 1000
_LONG: Final = 1 << 63

_CREATED: Final = ItemResult(Outcome.CREATED)
_DUPLICATE: Final = ItemResult(Outcome.DUPLICATE)
_COLLISION: Final = ItemResult(Outcome.COLLISION, "the id belongs to an event with another content")


class EventWriter:
    """Creates events of one namespace.

    Args:
        api: of the cluster.
        names: of the namespace.
        indices: what is known to exist.
        clock: milliseconds since the epoch; stamps `vedette.stored`.
    """

    def __init__(self, api: Api, names: Names, indices: Indices, clock: Callable[[], int]) -> None:
        self._api = api
        self._names = names
        self._indices = indices
        self._clock = clock

    def create(self, retention: str, events: Sequence[NewEvent]) -> list[ItemResult]:
        """The outcome of each event.

        Raises:
            UnavailableError, RefusedError: not all were taken; those that were are DUPLICATE when the call is
                repeated.
        """
        check_retention(retention)
        results: list[ItemResult] = [_CREATED] * len(events)
        for day, indices in _by_day(events, results).items():
            self._create_in_day(retention, day, events, indices, results)
        return results

    def _create_in_day(
        self, retention: str, day: str, events: Sequence[NewEvent], places: list[int], results: list[ItemResult]
    ) -> None:
        index = self._names.day(retention, day)
        self._indices.ensure(index)
        places = self._unless_yesterdays(retention, events, places, results)
        stamp = self._clock()
        lines, sent = self._encode(events, stamp, places, results)
        if not lines:
            return
        taken: list[int] = []
        for at, item in zip(sent, bulk(self._api, index, lines, lambda some: self._fresh(some, stamp)), strict=True):
            if item.status == 409:
                taken.append(at)
            elif item.is_rejected:
                results[at] = ItemResult(Outcome.REJECTED, f"{item.kind}: {item.reason}")
            elif item.status != 201:
                self._indices.forget(index)
                raise problem_of(item.status, item.kind, item.reason)
        if taken:
            self._compare(index, events, taken, results)

    def _encode(
        self, events: Sequence[NewEvent], stored: int, places: list[int], results: list[ItemResult]
    ) -> tuple[list[bytes], list[int]]:
        """(lines, places) of those that can be stored; the others are REJECTED."""
        lines: list[bytes] = []
        sent: list[int] = []
        for at in places:
            try:
                lines.append(encode_event(events[at], stored))
            except (ValueError, TypeError) as error:
                results[at] = ItemResult(Outcome.REJECTED, str(error) or error.__class__.__name__)
            else:
                sent.append(at)
        return lines, sent

    def _fresh(self, lines: Sequence[bytes], stamp: int) -> Sequence[bytes]:
        """The lines with a stamp that is true when they are sent: a request before them may have taken long."""
        now = self._clock()
        return lines if abs(now - stamp) < _FRESH_MS else restamped(lines, now)

    def _compare(self, index: str, events: Sequence[NewEvent], places: list[int], results: list[ItemResult]) -> None:
        """Tell repeats from collisions among those whose id is taken."""
        hashes = self._hashes(index, {events[at].id for at in places})
        for at in places:
            kept = hashes.get(events[at].id)
            if kept is None:
                raise UnavailableError(f"the event {events[at].id} was there a moment ago and is gone")
            results[at] = _same(events[at], kept)

    def _unless_yesterdays(
        self, retention: str, events: Sequence[NewEvent], places: list[int], results: list[ItemResult]
    ) -> list[int]:
        """Those that yesterday's index does not hold already; only repeats in the first hour of a day are asked for."""
        early = [at for at in places if events[at].maybe_repeat and events[at].ingested % DAY_MS < HOUR_MS]
        if not early:
            return places
        yesterday = self._names.day(retention, day_of(events[early[0]].ingested - DAY_MS))
        hashes = self._hashes(yesterday, {events[at].id for at in early})
        if not hashes:
            return places
        for at in early:
            kept = hashes.get(events[at].id)
            if kept is not None:
                results[at] = _same(events[at], kept)
        gone = {at for at in early if events[at].id in hashes}
        return [at for at in places if at not in gone]

    def _hashes(self, index: str, ids: Iterable[str]) -> dict[str, str]:
        """Id → hash of those that exist."""
        wanted = sorted(ids)
        hashes: dict[str, str] = {}
        path = f"/{quoted(index)}/_mget?_source_includes={HASH_FIELD}"
        for start in range(0, len(wanted), _MAX_IDS):
            answer = self._api.call("POST", path, dumps({"ids": wanted[start : start + _MAX_IDS]}))
            for document in good(answer)["docs"]:
                if document.get("found"):
                    hashes[document["_id"]] = document["_source"][HASH_FIELD]
                elif "error" in document and describe(document["error"])[0] != "index_not_found_exception":
                    raise UnavailableError(f"Elasticsearch cannot look up ids: {describe(document['error'])[1]}")
        return hashes


def _same(event: NewEvent, kept: str) -> ItemResult:
    return _DUPLICATE if kept == event.hash else _COLLISION


def _by_day(events: Sequence[NewEvent], results: list[ItemResult]) -> dict[str, list[int]]:
    """Indices by day of `ingested`, in the order of the call; what has no day is rejected at once."""
    days: dict[str, list[int]] = {}
    start, places = None, []
    for at, event in enumerate(events):
        midnight = event.ingested - event.ingested % DAY_MS
        if midnight != start:
            try:
                places = days.setdefault(day_of(midnight), [])
            except ValueError as error:
                results[at] = ItemResult(Outcome.REJECTED, str(error))
                continue
            start = midnight
        if not -_LONG <= event.time < _LONG:
            results[at] = ItemResult(Outcome.REJECTED, "@timestamp does not fit into 64 bits")
            continue
        places.append(at)
    return days
