"""The bundle in force on this worker's own disk, so that a restart works while the store is down."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_HEAD: Final = "head"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class BundleCache:
    """Files named by the hash of what they hold, and one that names the bundle. Losing it costs nothing but time.

    Args:
        folder: of this worker alone; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def head(self) -> str:
        """Hash of the bundle that was in force last; empty when there is none."""
        try:
            found = (self._folder / _HEAD).read_text().strip()
        except OSError:
            return ""
        return found if _DIGEST.fullmatch(found) else ""

    def read(self, digest: str) -> bytes:
        """The content with this hash. Raises OSError when it is not there, or is damaged."""
        content = (self._folder / digest).read_bytes()
        if sha256(content).hexdigest() != digest:
            raise OSError(f"the cached copy of {digest[:12]} is damaged")
        return content

    def keep(self, digest: str, content: bytes) -> None:
        """Write content down; without disk space there is no cache, and nothing else happens."""
        try:
            if not (self._folder / digest).exists():
                self._write(digest, content)
        except OSError as error:
            log.warning("the bundle is not cached: %s", error)

    def settle(self, head: str, digests: Iterable[str]) -> None:
        """This bundle, with these tables, is in force now; all others are forgotten."""
        needed = {head, *digests}
        try:
            if all((self._folder / digest).exists() for digest in needed):
                self._write(_HEAD, head.encode())
                for file in self._folder.iterdir():
                    if file.name not in needed and file.name != _HEAD:
                        file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the bundle is not cached: %s", error)

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all: a crash leaves the old file."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, made = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            Path(made).replace(self._folder / name)
        except OSError:
            Path(made).unlink(missing_ok=True)
            raise
