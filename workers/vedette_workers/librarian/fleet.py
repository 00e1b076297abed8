"""Which namespaces a release serves, as the operator tells it in the release's own store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import orjson

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store

log = logging.getLogger(__name__)

FLEET: Final = "fleet"
"""Name of the store's head."""
READABLE: Final = frozenset({1})


class FleetError(ValueError):
    """The list cannot be read: damaged, or written by a version that this one does not know."""


def encode(namespaces: Sequence[str]) -> bytes:
    """The list as it is kept."""
    return orjson.dumps({"v": max(READABLE), "namespaces": sorted(set(namespaces))})


def decode(content: bytes) -> list[str]:
    """The namespaces. Raises FleetError."""
    try:
        raw = orjson.loads(content)
        names = raw["namespaces"] if raw["v"] in READABLE else None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise FleetError(f"the list of namespaces cannot be read: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise FleetError("the list of namespaces is written in a format that this version does not read")
    return names


class Fleet:
    """Follows the head. What was read last stays while the store does not answer. `store`: the release's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head = ""
        self.names: list[str] = []
        self.known = False
        """Whether a list was read at all."""
        self.problem = ""

    def poll(self) -> bool:
        """Look for a newer list; whether the store answered."""
        try:
            head = self._store.head(FLEET)
            if head is not None and head != self._head:
                self.names, self._head, self.known = decode(self._store.get_blob(head)), head, True
        except BackendError as error:
            self.problem = str(error)
            return False
        except FleetError as error:
            self.problem = str(error)
            log.error("%s", error)  # noqa: TRY400 # the message says it all
            return True
        self.problem = ""
        return True
