"""Failures of the systems outside the program, as the code above sees them.

Each backend maps its client library's errors to these at its boundary.
"""

from __future__ import annotations


class BackendError(Exception):
    """Root of everything a backend raises on purpose."""


class UnavailableError(BackendError):
    """The system cannot answer now; the same call may succeed later. Hold what you have and retry with back-off."""


class RefusedError(BackendError):
    """The system refuses for a reason of ours (expired key, read-only index): stop, set a condition, retry slowly."""


class ConflictError(BackendError):
    """Somebody else changed the object since the version that the caller read."""


class NotFoundError(BackendError):
    """The object does not exist."""


class FullError(BackendError):
    """A bounded queue or disk is full; nothing of the call was taken."""
