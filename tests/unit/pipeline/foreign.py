"""Messages of foreign publishers, as a broker with exchanges hands them over."""

from __future__ import annotations

from vedette_backends.broker.protocol import Delivery


def foreign(body: bytes = b"{}", *, headers: dict[str, str] | None = None, **said: str) -> Delivery:
    """A message that came through the exchange `eventtask`, with properties as the broker tells them."""
    about = {f"amqp.{name}": value for name, value in {"exchange": "eventtask", **said}.items()}
    return Delivery(1, "events.app", body, {**(headers or {}), **about}, 1, redelivered=False)
