"""Indices that are written to: made by us, never by accident, and never without their template."""

from __future__ import annotations

import threading

from vedette_backends.errors import RefusedError
from vedette_backends.store.elastic_http import WRITE_SECONDS, Api, error_of, found, good, problem, quoted

_MAX_KNOWN = 10_000


class Indices:
    """Which indices are known to exist with Vedette's mapping."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def ensure(self, index: str) -> None:
        """Make the index if need be.

        Raises:
            RefusedError: it has no template of ours, so that events would be indexed by guesses; or may not be made.
        """
        if index in self._known:
            return
        with self._lock:
            if index not in self._known:
                self._make(index)
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known.add(index)

    def forget(self, index: str) -> None:
        """Look again before the next write: it was removed."""
        self._known.discard(index)

    def _make(self, index: str) -> None:
        path = f"/{quoted(index)}"
        mapping = found(self._api.call("GET", f"{path}/_mapping?filter_path=*.mappings._meta"))
        if mapping is None:
            made = self._api.call("PUT", path, b"{}", seconds=WRITE_SECONDS)
            if not made.ok and error_of(made)[0] != "resource_already_exists_exception":
                raise problem(made)
            mapping = good(self._api.call("GET", f"{path}/_mapping?filter_path=*.mappings._meta"))
        meta = mapping.get(index, {}).get("mappings", {}).get("_meta", {})
        if meta.get("managed_by") != "vedette":
            raise RefusedError(
                f"the index {index} was made without Vedette's template: the operator installs templates, "
                "and removes such an index as long as it is empty"
            )
