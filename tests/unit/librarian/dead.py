"""Messages that the broker gave up delivering."""

from __future__ import annotations

from typing import Any

from vedette_backends.broker.protocol import Message
from vedette_engine.wire import Run, encode

NOW = 1_795_305_600_000


def send(broker: Any, *records: bytes, source: str = "app", key: str = "k") -> None:
    runs = [Run(len(records), key, 0, keyed=True)]
    body, headers = encode(source=source, ingested=NOW, kind="text", records=records, runs=runs)
    broker.publish([Message(f"events.{source}", body, headers)])


def bury(broker: Any, source: str = "app", reason: str = "DeliveryLimit") -> None:
    """All that waits in the source's queue is dead."""
    consumer = broker.consume([f"events.{source}"], prefetch=1000)
    for delivery in consumer.fetch(1000, 5):
        consumer.reject(delivery.tag, reason)
    consumer.close()
