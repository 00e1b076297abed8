"""Following the bundle's head: workers poll, load the difference, and keep the old one when the new one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import HEAD, Bundle, BundleError, decode
from vedette_workers.pipeline.cache import BundleCache

log = logging.getLogger(__name__)

Tables = Callable[[str], bytes]
Load = Callable[[Bundle, Tables], None]


class BundleFollower:
    """Calls `load` when the head points at another bundle.

    Args:
        store: holds bundles.
        load: takes one over, or raises.
        interval: seconds between two looks.
        clock: monotonic seconds.
        cache: where the bundle in force is kept for a start without the store; None: nowhere.
    """

    def __init__(
        self,
        store: Store,
        load: Load,
        *,
        interval: float,
        clock: Callable[[], float],
        cache: BundleCache | None = None,
    ) -> None:
        self._store = store
        self._load = load
        self._interval = interval
        self._clock = clock
        self._cache = cache
        self._next = 0.0
        self._failed = ""
        self._cache_tried = False
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
            problem = self.problem
            fresh = not self.current and not self._cache_tried and self._start_from_cache()
            self.problem = problem  # still the case
            return fresh

    def _take(self, head: str) -> bool:
        content = self._store.get_blob(head)
        bundle = self._loaded(head, content, self._fetch)
        if bundle is None:
            return False
        if self._cache is not None:
            self._cache.keep(head, content)
            self._cache.settle(head, _blobs(bundle))
        self._in_force(head, bundle)
        return True

    def _loaded(self, head: str, content: bytes, tables: Tables) -> Bundle | None:
        """The bundle, once the worker took it over; None when it did not. Raises BackendError."""
        try:
            bundle = decode(content)
            self._load(bundle, tables)
        except BackendError:
            raise
        except BundleError as error:
            self._refuse(head, str(error))
        except Exception as error:
            log.exception("bundle %s was refused", head)
            self._refuse(head, f"{type(error).__name__}: {error}")
        else:
            return bundle
        return None

    def _fetch(self, digest: str) -> bytes:
        content = self._store.get_blob(digest)
        if self._cache is not None:
            self._cache.keep(digest, content)
        return content

    def _start_from_cache(self) -> bool:
        """What this worker had before it was started again; the store may say otherwise as soon as it answers."""
        self._cache_tried = True
        head = self._cache.head() if self._cache is not None else ""
        if self._cache is None or not head:
            return False
        try:
            bundle = self._loaded(head, self._cache.read(head), self._cache.read)
        except OSError as error:
            log.warning("the cached bundle cannot be used: %s", error)
            return False
        if bundle is None:
            self._failed = ""  # the store's copy is another matter
            return False
        self._in_force(head, bundle)
        return True

    def _in_force(self, head: str, bundle: Bundle) -> None:
        log.info("bundle %s in force: %d sources, %d rules", head[:12], len(bundle.sources), len(bundle.rules))
        self.current, self._failed, self.problem = head, "", ""

    def _refuse(self, head: str, why: str) -> None:
        self._failed, self.problem = head, f"bundle {head[:12]} refused: {why}"
        log.error("%s", self.problem)


def _blobs(bundle: Bundle) -> list[str]:
    return [table for item in bundle.enrichments for table in item.tables.values() if isinstance(table, str)]
