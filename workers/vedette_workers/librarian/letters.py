"""Draining the dead-letter queues: what the broker gave up delivering becomes dead letters in the store.

They are stored before they are acknowledged, under ids that follow from what they are: whoever dies in between, none is
lost and none is there twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from vedette_backends.broker.names import DEAD_SUFFIX
from vedette_backends.broker.protocol import Broker, Delivery
from vedette_backends.errors import NotFoundError
from vedette_backends.store.protocol import DeadLetter, Store
from vedette_engine.wire import QUEUE_PREFIX, WireError
from vedette_workers.pipeline import intake

log = logging.getLogger(__name__)

PREFETCH = 20
MOST = 5_000
"""Messages of one queue that are taken before others have their turn."""
REASON = "reason"


def drain(namespace: str, store: Store, broker: Broker, sources: Iterable[str], clock: Callable[[], int]) -> int:
    """Move what lies in the dead-letter queues of a namespace's sources into its store; returns how many dead letters.

    Raises:
        BackendError: what was not acknowledged stays in its queue.
    """
    queues = [QUEUE_PREFIX + source + DEAD_SUFFIX for source in sources]
    return sum(_drain(namespace, store, broker, queue, clock) for queue in queues if _ready(broker, queue))


def _drain(namespace: str, store: Store, broker: Broker, queue: str, clock: Callable[[], int]) -> int:
    moved = taken = 0
    try:
        consumer = broker.consume([queue], prefetch=PREFETCH)
    except NotFoundError:
        return 0  # deleted meanwhile
    try:
        while taken < MOST:
            deliveries = consumer.fetch(PREFETCH, 0.1 if taken else 1.0)
            if not deliveries:
                break
            letters = [letter for delivery in deliveries for letter in _letters(namespace, queue, delivery, clock())]
            store.put_dead_letters(letters)
            consumer.ack([delivery.tag for delivery in deliveries])
            moved += len(letters)
            taken += len(deliveries)
    finally:
        consumer.close()
    log.info("%s: %d dead letters moved into the store", queue, moved)
    return moved


def _letters(namespace: str, queue: str, delivery: Delivery, now: int) -> Iterator[DeadLetter]:
    """One dead letter per event in a message."""
    was = Delivery(
        tag=delivery.tag,
        queue=queue.removesuffix(DEAD_SUFFIX),
        body=delivery.body,
        headers={name: value for name, value in delivery.headers.items() if name != REASON},
        deliveries=delivery.deliveries,
        redelivered=delivery.redelivered,
    )
    detail = delivery.headers.get(REASON, "") or "the broker delivered it too often"
    try:
        arrived = intake.read(namespace, was, now)
    except WireError as error:
        yield intake.unreadable(was, now, error)
        return
    for record in arrived.records:
        yield arrived.arrival.letter(record, "Undelivered", detail[:1000])


def _ready(broker: Broker, queue: str) -> bool:
    try:
        return broker.stats(queue).ready > 0
    except NotFoundError:
        return False
