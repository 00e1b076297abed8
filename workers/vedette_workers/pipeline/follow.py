"""Following the bundle's head: workers poll, load the difference, and keep the old one when the new one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import HEAD, Bundle, BundleError, decode

log = logging.getLogger(__name__)

Load = Callable[[Bundle, Callable[[str], bytes]], None]


class BundleFollower:
    """Calls `load` when the head points at another bundle. `interval` in seconds of the given monotonic clock."""

    def __init__(self, store: Store, load: Load, *, interval: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._load = load
        self._interval = interval
        self._clock = clock
        self._next = 0.0
        self._failed = ""
        self.current = ""
        """Hash of the bundle in force; empty before the first."""
        self.problem = ""
        """Why the newest bundle is not in force."""

    def poll(self) -> bool:
        """Look if it is time to; whether a new bundle came into force."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._interval
        try:
            head = self._store.head(HEAD)
            if head is not None and head == self._failed:
                return False
            if head is None or head == self.current:
                self.problem = ""
                return False
            return self._take(head)
        except BackendError as error:
            self.problem = f"the bundle cannot be read: {error}"
            return False

    def _take(self, head: str) -> bool:
        try:
            bundle = decode(self._store.get_blob(head))
            self._load(bundle, self._store.get_blob)
        except BackendError:
            raise
        except BundleError as error:
            self._refuse(head, str(error))
            return False
        except Exception as error:
            log.exception("bundle %s was refused", head)
            self._refuse(head, f"{type(error).__name__}: {error}")
            return False
        log.info("bundle %s in force: %d sources, %d rules", head[:12], len(bundle.sources), len(bundle.rules))
        self.current, self._failed, self.problem = head, "", ""
        return True

    def _refuse(self, head: str, why: str) -> None:
        self._failed, self.problem = head, f"bundle {head[:12]} refused: {why}"
        log.error("%s", self.problem)
