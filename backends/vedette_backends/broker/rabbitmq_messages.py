"""Between `Message` and `Delivery` and what AMQP carries. Pure.

Whatever arrives through an exchange was made by a foreign publisher, who may have written anything into its headers.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from vedette_backends.broker.names import DEAD_SUFFIX, encode_headers, with_reason
from vedette_backends.broker.protocol import FOREIGN
from vedette_backends.errors import RefusedError

DELIVERY_LIMIT = 100
"""Deliveries after which RabbitMQ itself moves a message to the dead letters."""

UNREADABLE = FOREIGN + "unreadable"
"""In place of headers that the client library could not read."""

_PUBLISHED = FOREIGN + "published"
_DELIVERY_COUNT = "x-delivery-count"
_DEATHS = "x-death"
_OF_THE_SERVER = (_DELIVERY_COUNT, "x-acquired-count", _DEATHS, "x-first-death-", "x-last-death-")
_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Received:
    """Of a delivery. `published`: ms since the epoch, None where no publisher of ours said it."""

    headers: dict[str, str]
    deliveries: int
    redelivered: bool
    published: int | None


def sent(headers: Mapping[str, str], now: int, user: str) -> dict[str, Any]:
    """Fields of the properties of a message that `user` publishes now (ms since the epoch).

    RabbitMQ takes a message with a user's name from this user only, and keeps the name when it moves the message.
    """
    table: dict[str, Any] = {name: _wire(value) for name, value in headers.items()}
    table[_PUBLISHED] = now
    return {"delivery_mode": _PERSISTENT, "headers": table, "user_id": user}


def buried(headers: Mapping[str, str], reason: str, now: int, user: str) -> dict[str, Any]:
    """The same for a dead letter; where it came from stays known, in `amqp.` headers."""
    kept = with_reason(headers, reason)
    try:
        encode_headers(kept)
    except RefusedError:
        # A foreign publisher's may fill a whole frame, and the reason would not fit any more.
        kept = with_reason({name: value for name, value in headers.items() if name.startswith(FOREIGN)}, reason)
    return sent(kept, now, user)


def received(
    queue: str, exchange: str, routing_key: str, properties: Any, *, redelivered: bool, ours: Container[str]
) -> Received:
    """What a delivery carries besides its body; `properties` as pika gives them, `ours` the names of our users."""
    table: Mapping[str, Any] = properties.headers or {}
    from_broker = queue.endswith(DEAD_SUFFIX) and not exchange and _DEATHS in table
    # Only Vedette itself can publish into a queue of dead letters, so what it says of their origin is believed.
    buried_here = queue.endswith(DEAD_SUFFIX) and not exchange and not from_broker
    headers = {
        name: _text(value)
        for name, value in table.items()
        if value is not None
        and not name.startswith(_OF_THE_SERVER)
        and (not name.startswith(FOREIGN) or (buried_here and name != _PUBLISHED))
    }
    if from_broker:
        headers["reason"] = "DeliveryLimit"
        if properties.user_id not in ours:
            exchange, routing_key = _origin(table)
    published = table.get(_PUBLISHED)
    if exchange:
        headers |= _foreign(exchange, routing_key, properties)
    trusted = int(published) if isinstance(published, int) and not exchange else None
    count = _count(table, redelivered=redelivered)
    return Received(headers, count + 1, redelivered or count > 0, trusted)


def _foreign(exchange: str, routing_key: str, properties: Any) -> dict[str, str]:
    found = {
        "exchange": exchange,
        "routing_key": routing_key,
        "message_id": properties.message_id,
        "timestamp": None if properties.timestamp is None else int(properties.timestamp),
        "content_type": properties.content_type,
        "content_encoding": properties.content_encoding,
        "unreadable": (properties.headers or {}).get(UNREADABLE),
    }
    return {FOREIGN + name: _text(value) for name, value in found.items() if value is not None}


def _origin(table: Mapping[str, Any]) -> tuple[str, str]:
    """Exchange and routing key that a foreign dead letter says it came through.

    To be shown only: RabbitMQ adds to the `x-death` that a publisher may have put there.
    """
    deaths = table[_DEATHS]
    entry = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    keys = entry.get("routing-keys")
    return _text(entry.get("exchange") or "unknown"), _text(keys[0] if isinstance(keys, list) and keys else "")


def _count(table: Mapping[str, Any], *, redelivered: bool) -> int:
    """How often it was delivered before. What a publisher claims of a message's first delivery is not believed."""
    if not redelivered:
        return 0
    if UNREADABLE in table:
        return DELIVERY_LIMIT - 1
    count = table.get(_DELIVERY_COUNT)
    return min(max(int(count), 1), DELIVERY_LIMIT) if isinstance(count, int) else 1


def _wire(value: str) -> str | bytes:
    """Text as it is, but half a surrogate pair, which UTF-8 cannot hold, as bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return value.decode("utf-8", "backslashreplace")
    if isinstance(value, bool | list | dict):
        return json.dumps(value, default=_text, ensure_ascii=False)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    # pika's whole numbers are of a class that shows an L.
    return str(int(value)) if isinstance(value, int) else str(value)
