"""The queues that a worker consumes.

Messages of ours hold hundreds of events, those of foreign publishers one each: they are fetched in different numbers,
so each kind has a consumer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vedette_backends.broker.names import existing
from vedette_backends.broker.protocol import Broker, Consumer, Delivery
from vedette_backends.errors import BackendError, NotFoundError


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many messages are held unacknowledged, and how many are taken at a time."""

    prefetch: int
    fetch: int


BATCHES = Amounts(prefetch=24, fetch=4)
SINGLES = Amounts(prefetch=1000, fetch=250)


@dataclass(frozen=True, slots=True)
class _Feed:
    consumer: Consumer
    fetch: int


class Feeds:
    """Consumers of one worker, which its one thread uses.

    Args:
        broker: of the namespace.
        batches, singles: queues of our own messages, queues that foreign publishers fill. Those that are not there
            are left out.

    Raises:
        BackendError: the broker does not let them be consumed now.
    """

    def __init__(self, broker: Broker, batches: Sequence[str], singles: Sequence[str]) -> None:
        self.missing: list[str] = []
        """Queues that are wanted and not there."""
        self._feeds: list[_Feed] = []
        try:
            for queues, amounts in ((batches, BATCHES), (singles, SINGLES)):
                consumer = self._consume(broker, queues, amounts)
                if consumer is not None:
                    self._feeds.append(_Feed(consumer, amounts.fetch))
        except BaseException:
            self.close()
            raise

    def _consume(self, broker: Broker, queues: Sequence[str], amounts: Amounts) -> Consumer | None:
        if not queues:
            return None
        try:
            return broker.consume(queues, prefetch=amounts.prefetch)
        except NotFoundError:
            there = existing(broker, queues)
            self.missing += [queue for queue in queues if queue not in there]
            return broker.consume(there, prefetch=amounts.prefetch) if there else None

    def __bool__(self) -> bool:
        """Whether anything is consumed."""
        return bool(self._feeds)

    def fetch(self, timeout: float) -> list[tuple[Consumer, Delivery]]:
        """What came; waits at most `timeout` seconds for the first. Raises BackendError."""
        found: list[tuple[Consumer, Delivery]] = []
        for feed in self._feeds:
            wait = 0.0 if found else timeout / len(self._feeds)
            try:
                taken = feed.consumer.fetch(feed.fetch, wait)
            except BackendError:
                if not found:
                    raise
                break  # what was taken is worked on first; the next call tells of the trouble
            found += [(feed.consumer, delivery) for delivery in taken]
        return found

    def close(self) -> None:
        """Stop consuming; what was not acknowledged is released."""
        for feed in self._feeds:
            feed.consumer.close()
        self._feeds.clear()
