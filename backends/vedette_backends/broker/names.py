"""What a queue may be called and what a message may carry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.errors import NotFoundError, RefusedError

DEAD_SUFFIX = ".dead"

# RabbitMQ 4 takes 16 MiB and a frame of headers; the embedded queue refuses what a cluster would refuse.
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_REASON_CHARACTERS = 4000

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HEADER = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def check_queue(name: str) -> None:
    """RefusedError for a name that cannot be declared."""
    if _QUEUE.fullmatch(name) is None:
        raise RefusedError(f"{name!r} is no queue name: 1 to 200 letters, digits, dots, dashes, underscores")
    if name.endswith(DEAD_SUFFIX):
        raise RefusedError(f"{name}: a name that ends with {DEAD_SUFFIX} belongs to another queue's dead letters")


def check_message(message: Message) -> None:
    """RefusedError for a body or headers that are too large, or a header that is not text."""
    if len(message.body) > MAX_BODY_BYTES:
        raise RefusedError(f"a message of {len(message.body)} bytes is larger than {MAX_BODY_BYTES}")
    for name, value in message.headers.items():
        if _HEADER.fullmatch(name) is None:
            raise RefusedError(f"{name!r} is no header name: 1 to 128 ASCII letters, digits, dots, dashes, underscores")
        if not isinstance(value, str):
            raise RefusedError(f"the header {name} is no text")


def encode_headers(headers: Mapping[str, str]) -> str:
    """Headers as they are kept; RefusedError when they are too large."""
    if not headers:
        return "{}"
    # ASCII only: half a surrogate pair, which text from outside can hold, survives.
    text = json.dumps(dict(headers), separators=(",", ":"))
    if len(text) > MAX_HEADER_BYTES:
        raise RefusedError(f"headers of {len(text)} bytes are larger than {MAX_HEADER_BYTES}")
    return text


def with_reason(headers: Mapping[str, str], reason: str) -> dict[str, str]:
    """Headers of a dead letter."""
    if len(reason) > MAX_REASON_CHARACTERS:
        reason = reason[: MAX_REASON_CHARACTERS - 1] + "…"
    return {**headers, "reason": reason}


def existing(broker: Broker, names: Iterable[str]) -> list[str]:
    """Those of the names that are declared queues. Unlike `Broker.queues` it needs no right to list all of them."""
    return [name for name in names if _is_declared(broker, name)]


def _is_declared(broker: Broker, name: str) -> bool:
    try:
        broker.stats(name)
    except NotFoundError:
        return False
    return True
