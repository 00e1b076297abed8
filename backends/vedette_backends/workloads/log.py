"""A worker's log on disk: bounded, and its last lines at hand to say why it ended."""

from __future__ import annotations

import logging
import os
from collections import deque
from pathlib import Path

_LOGGER = logging.getLogger(__name__)

MAX_FILE_BYTES = 5 * 1024 * 1024
KEPT_FILES = 3
LAST_LINES = 12
_LINE_BYTES = 400


class WorkerLog:
    """Takes what a worker writes; `path` is the newest file, `path.1`, `path.2` are older ones.

    A disk that cannot take a log does not stop the worker: the loss is counted in `lost_bytes` and logged once.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES, kept: int = KEPT_FILES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._partial = b""
        self._handle = -1
        self._size = 0
        self.lost_bytes = 0

    def begin(self) -> None:
        """A new run of the worker: what the last one said does not explain its end."""
        self._lines.clear()
        self._partial = b""

    def write(self, data: bytes) -> None:
        """Append output as it came."""
        *lines, rest = (self._partial + data).split(b"\n")
        self._lines.extend(line[:_LINE_BYTES] for line in lines[-LAST_LINES:] if line.strip())
        self._partial = rest[:_LINE_BYTES]
        try:
            self._append(data)
        except OSError as error:
            if not self.lost_bytes:
                _LOGGER.warning("Cannot write %s, what the worker says is lost: %s", self._path, error)
            self.lost_bytes += len(data)

    def last_lines(self) -> list[str]:
        """The newest lines, oldest first, each cut to 400 bytes, without control characters."""
        lines = [*self._lines, self._partial] if self._partial.strip() else list(self._lines)
        return ["".join(c if c.isprintable() else " " for c in line.decode("utf-8", "replace")) for line in lines]

    def close(self) -> None:
        """Release the file; writing opens it again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _append(self, data: bytes) -> None:
        if self._handle >= 0 and self._size + len(data) > self._max_bytes:
            self.close()
            self._rotate()
        if self._handle < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._handle).st_size
        self._size += os.write(self._handle, data)

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
