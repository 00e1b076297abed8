"""Making what was written visible, at the moment when somebody looks.

Writers do not wait: a refresh per bulk costs a segment each, and waiting for the periodic one bounds a worker to one
bulk a second. Durable is what the server acknowledged (its log is synced for every request); readers refresh before
they search, and pay only when something is new. So whatever was acknowledged before a search began is found by it.
"""

from __future__ import annotations

import threading

from vedette_backends.errors import UnavailableError
from vedette_backends.store.elastic_http import READ_SECONDS, Api, found


class Freshness:
    """Refreshes one pattern of indices; callers that come while one runs share the next."""

    def __init__(self, api: Api, target: str) -> None:
        self._api = api
        self._path = f"/{target}/_refresh?ignore_unavailable=true&allow_no_indices=true"
        self._changed = threading.Condition()
        self._running = False
        self._begun = 0
        self._done = 0

    def ensure(self) -> None:
        """Return when a refresh that began after this call did has ended."""
        with self._changed:
            wanted = self._begun + 1
            while self._running and self._done < wanted:
                self._changed.wait(READ_SECONDS)
            if self._done >= wanted:
                return
            self._running = True
            self._begun += 1
            mine = self._begun
        succeeded = False
        try:
            answer = found(self._api.call("POST", self._path))
            failed = (answer or {}).get("_shards", {}).get("failed", 0)
            if failed:
                raise UnavailableError(f"{failed} shards could not be refreshed")
            succeeded = True
        finally:
            with self._changed:
                self._running = False
                if succeeded:
                    self._done = max(self._done, mine)
                self._changed.notify_all()
