"""What each part of Vedette may do in RabbitMQ: regular expressions over names of resources. Pure.

Source: https://www.rabbitmq.com/docs/access-control#authorisation. Publishing through the default exchange asks for
`write` on `amq.default`; consuming for `read` on the queue; asking whether a queue exists for nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vedette_backends.broker.names import DEAD_SUFFIX

PARTS = ("gateway", "librarian", "web")
"""Of a release, each with a user `<release>-<part>`. A namespace's workers are a user with its virtual host's name."""

_NOTHING = "^$"
_DEFAULT_EXCHANGE = r"^amq\.default$"


@dataclass(frozen=True, slots=True)
class Permissions:
    """In one virtual host; the order is that of `RabbitMQAdmin.ensure_permissions`."""

    configure: str
    write: str
    read: str


def worker() -> Permissions:
    """Pipeline, responder and scheduler in their namespace's virtual host: consume all, publish into queues."""
    return Permissions(_NOTHING, _DEFAULT_EXCHANGE, ".*")


def gateway() -> Permissions:
    """In every tenant's virtual host: publish into queues, read nothing."""
    return Permissions(_NOTHING, _DEFAULT_EXCHANGE, _NOTHING)


def librarian() -> Permissions:
    """In every tenant's virtual host: drain dead letters, and put replayed ones into the queues they came from."""
    return Permissions(_NOTHING, _DEFAULT_EXCHANGE, re.escape(DEAD_SUFFIX) + "$")


def publisher(exchange: str) -> Permissions:
    """A foreign publisher: write to its exchange, and nothing else; so it must not try to declare the exchange.

    Never the default exchange: what comes through that one counts as Vedette's own.
    """
    if not exchange or exchange.startswith("amq."):
        raise ValueError(f"{exchange!r} cannot be the exchange of a foreign publisher")
    return Permissions(_NOTHING, f"^{re.escape(exchange)}$", _NOTHING)


def own_users(user: str, vhost: str) -> frozenset[str]:
    """The users whose messages in a virtual host are Vedette's own, as one of them knows them from its own name."""
    release, _, part = user.rpartition("-")
    parts = PARTS if release and part in PARTS else ()
    return frozenset({user, vhost, *(f"{release}-{each}" for each in parts)})
