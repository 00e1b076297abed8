"""Three limits that requests meet: a source's rate, the bytes that are on their way, and failures to authenticate."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from vedette_workers.gateway.errors import TooMany, Unavailable
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Limits

Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""


class Bucket:
    """A token bucket that may go into debt.

    A request is taken whole or refused whole, so that its client can repeat it. One with more events than the bucket
    holds could then never pass; it is taken when the bucket is full, and what follows waits until the debt is paid.
    """

    __slots__ = ("_clock", "_limits", "_then", "_tokens")

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._then = clock()
        self._tokens = limits.capacity

    def adopt(self, limits: Limits) -> None:
        """New limits from now on."""
        self._refill()
        self._limits = limits
        self._tokens = min(self._tokens, limits.capacity) if self._limits.events_per_second else limits.capacity

    def take(self, events: int) -> None:
        """Raises TooMany, and takes nothing, when the rate does not allow these events now."""
        rate = self._limits.events_per_second
        if rate is None:
            return
        self._refill()
        needed = min(float(events), self._limits.capacity)
        if self._tokens < needed:
            wait = math.ceil((needed - self._tokens) / rate)
            raise TooMany(
                f"the source may send {rate:g} events per second; nothing of this request was taken",
                retry_after=max(1, wait),
            )
        self._tokens -= events

    def _refill(self) -> None:
        now = self._clock()
        rate = self._limits.events_per_second or 0
        self._tokens = min(self._limits.capacity, self._tokens + (now - self._then) * rate)
        self._then = now


class Held:
    """The bytes that one request holds; released once, by whoever lets go of them last."""

    __slots__ = ("_bytes", "_flight", "_source")

    def __init__(self, flight: InFlight, source: tuple[str, str]) -> None:
        self._flight = flight
        self._source = source
        self._bytes = 0

    def grow(self, size: int) -> None:
        """Raises TooMany or Unavailable when these bytes exceed the source's share or the whole."""
        self._flight.reserve(self._source, size, first=self._flight.held_by(self._source) == self._bytes)
        self._bytes += size

    def release(self) -> None:
        """Gives back all of them; calling it again does nothing."""
        self._flight.free(self._source, self._bytes)
        self._bytes = 0


class InFlight:
    """Bytes of all requests between their arrival and their answer."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.in_flight
        self._share = int(settings.in_flight * settings.source_share)
        self._by_source: dict[tuple[str, str], int] = {}
        self.total = 0

    def open(self, source: tuple[str, str]) -> Held:
        """A holder for one request."""
        return Held(self, source)

    def held_by(self, source: tuple[str, str]) -> int:
        """What a source holds now."""
        return self._by_source.get(source, 0)

    def reserve(self, source: tuple[str, str], size: int, *, first: bool) -> None:
        """`first`: the source holds nothing besides this request, so its share does not bind."""
        if self.total + size > self._limit and self.total > 0:
            raise Unavailable("too much is on its way to the broker", retry_after=1, close=True)
        held = self.held_by(source) + size
        if held > self._share and not first:
            raise TooMany("this source has too much on its way to the broker", retry_after=1, close=True)
        self._by_source[source] = held
        self.total += size

    def free(self, source: tuple[str, str], size: int) -> None:
        """The counterpart of `reserve`."""
        if size == 0:
            return
        self.total -= size
        left = self._by_source[source] - size
        if left:
            self._by_source[source] = left
        else:
            del self._by_source[source]


class Failures:
    """Slows down guessing: an address that failed too often is refused before its token is looked at.

    Senders behind the same address that were let in before are not: their (address, token) pairs are remembered.
    Both memories are bounded, the least recently used go first.
    """

    _SIZE: Final = 10_000

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._burst = float(settings.failures)
        self._interval = settings.failure_interval
        self._clock = clock
        self._failed: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def check(self, address: str, digests: list[bytes]) -> None:
        """Raises TooMany when this address must wait."""
        if address not in self._failed or any((address, digest) in self._known for digest in digests):
            return
        left = self._left(address)
        if left < 1:
            wait = math.ceil((1 - left) * self._interval)
            raise TooMany("too many requests without a valid token from this address", retry_after=max(1, wait))

    def failed(self, address: str) -> None:
        """This address gave no valid token."""
        self._failed[address] = (self._left(address) - 1, self._clock())
        _trim(self._failed, address, self._SIZE)

    def succeeded(self, address: str, digest: bytes) -> None:
        """This address gave this valid token."""
        pair = (address, digest)
        self._known[pair] = None
        _trim(self._known, pair, self._SIZE)

    def _left(self, address: str) -> float:
        left, then = self._failed.get(address, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - then) / self._interval)


def _trim(memory: OrderedDict[Any, Any], key: object, size: int) -> None:
    memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)
