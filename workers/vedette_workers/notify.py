"""Telling the responder of alerts that ask for an incident."""

from __future__ import annotations

from collections.abc import Sequence

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.errors import NotFoundError
from vedette_engine.alerting import notices
from vedette_engine.alerting.notices import Notice
from vedette_engine.wire import ALERT_QUEUE


def tell_responder(broker: Broker, told: Sequence[Notice]) -> None:
    """Publish notices; returns when they are durable. Raises BackendError."""
    if not told:
        return
    messages = [Message(ALERT_QUEUE, body, headers) for body, headers in notices.encode(told)]
    try:
        broker.publish(messages)
    except NotFoundError:
        # Nobody declared the queue yet, or somebody deleted it: the notices must not wait for them.
        broker.declare(ALERT_QUEUE, single_active_consumer=True)
        broker.publish(messages)
