"""Tables on volumes: files that only the workers can read, below one folder per PersistentVolumeClaim."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MAX_TABLE: Final = 512 << 20


class TableMissingError(Exception):
    """The file behind a reference cannot be read; the message says why."""


class Claims:
    """Reads files of claims.

    Args:
        folder: holds one folder per claim; None where this worker mounts none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def read(self, reference: Mapping[str, Any]) -> bytes:
        """The table that `{"pvc": {"claimName", "path"}}` names. Raises TableMissingError."""
        file = self._file(reference)
        try:
            if not file.is_file():
                raise TableMissingError(f"{_said(reference)} is not there")
            if file.stat().st_size > MAX_TABLE:
                raise TableMissingError(f"{_said(reference)} is larger than {MAX_TABLE >> 20} MiB")
            return file.read_bytes()
        except OSError as error:
            raise TableMissingError(f"{_said(reference)} cannot be read: {error.strerror}") from error

    def stamp(self, reference: Mapping[str, Any]) -> object:
        """Changes when the file does; None while there is none."""
        try:
            state = self._file(reference).stat()
        except (OSError, TableMissingError):
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino

    def _file(self, reference: Mapping[str, Any]) -> Path:
        if self._folder is None:
            raise TableMissingError(f"{_said(reference)}: this worker mounts no volumes")
        place = reference["pvc"]
        claim = (self._folder / place["claimName"]).resolve()
        file: Path = (claim / place["path"]).resolve()
        # A link on the volume must not lead to another tenant's, or to this worker's own, files.
        if not (claim.is_relative_to(self._folder.resolve()) and file.is_relative_to(claim)):
            raise TableMissingError(f"{_said(reference)} lies outside its volume")
        return file


def _said(reference: Mapping[str, Any]) -> str:
    place = reference["pvc"]
    return f"{place['path']} on volume {place['claimName']}"
