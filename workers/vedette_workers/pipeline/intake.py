"""From a delivery to records: our own messages hold many, those of foreign publishers are one event each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vedette_backends.broker.protocol import FOREIGN, Delivery
from vedette_backends.store.protocol import DeadLetter
from vedette_engine.alerting.ids import dead_letter_id
from vedette_engine.normalise.errors import Malformed
from vedette_engine.wire import QUEUE_PREFIX, Record, WireError, decode, foreign_key, foreign_record
from vedette_workers.pipeline.compression import decompress
from vedette_workers.pipeline.effects import ATTEMPT, ENCODING, Arrival, cut

log = logging.getLogger(__name__)

EXCHANGE = f"{FOREIGN}exchange"


@dataclass(frozen=True, slots=True)
class Arrived:
    """The records of one delivery and how they came."""

    records: Sequence[Record]
    arrival: Arrival


def is_foreign(delivery: Delivery) -> bool:
    """Whether a foreign publisher sent it: only the broker's own word counts, never what the message claims."""
    return EXCHANGE in delivery.headers


def source_of(queue: str, prefix: str = QUEUE_PREFIX) -> str:
    """The LogSource that a queue belongs to."""
    return queue.removeprefix(prefix)


def read(namespace: str, delivery: Delivery, now: int) -> Arrived:
    """What a delivery holds; `now` in ms since the epoch.

    Raises:
        WireError: it is no message of ours.
    """
    headers = delivery.headers
    if is_foreign(delivery):
        source = source_of(delivery.queue)
        said = {name: headers.get(f"{FOREIGN}{name}", "") for name in ("message_id", "timestamp", "content_encoding")}
        key = foreign_key(delivery.body, said["message_id"], said["timestamp"])
        arrival = Arrival(source, now, now, delivery.redelivered, encoding=said["content_encoding"])
        return Arrived([foreign_record(namespace, source, delivery.body, key)], arrival)
    message = decode(namespace, delivery.body, headers)
    attempt, encoding = headers.get(ATTEMPT, ""), headers.get(ENCODING, "")
    arrival = Arrival(message.source, message.ingested, now, delivery.redelivered, attempt, encoding)
    return Arrived(message.records, arrival)


def plain(arrived: Arrived, limit: Callable[[str], int], letters: list[DeadLetter]) -> Arrived:
    """The same without content encoding; records that cannot be read join `letters`.

    Args:
        arrived: what came.
        limit: a source's name → bytes that its records may have.
        letters: gets dead letters.
    """
    arrival = arrived.arrival
    if not arrival.encoding:
        return arrived
    records = []
    for record in arrived.records:
        try:
            raw = decompress(record.raw, arrival.encoding, limit(arrival.source))
        except Malformed as fault:
            letters.append(arrival.letter(record, fault.reason, fault.detail))
        else:
            records.append(record._replace(raw=raw))
    return Arrived(records, arrival.decompressed())


def unreadable(delivery: Delivery, now: int, error: WireError) -> DeadLetter:
    """A message that is not one of ours, set aside as it is."""
    headers: Mapping[str, str] = {
        name: value for name, value in delivery.headers.items() if not name.startswith(FOREIGN)
    }
    identity = headers.get(ATTEMPT, "") + delivery.body.hex()
    original, told, cut_headers = cut(delivery.body, str(error))
    return DeadLetter(
        id=dead_letter_id(identity, "UnreadableMessage"),
        time=now,
        source=source_of(delivery.queue),
        reason="UnreadableMessage",
        detail=told,
        original=original,
        headers={**headers, **cut_headers},
    )
