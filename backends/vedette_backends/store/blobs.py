"""Content-addressed files, and names that point at them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from vedette_backends.errors import NotFoundError, RefusedError, UnavailableError
from vedette_backends.store.sqlite import Database

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Files named by the SHA-256 of their content, below `folder`; heads in the database."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError(f"{digest[:80]!r} is not a SHA-256")
        return self._folder / digest[:2] / digest

    def put(self, data: bytes) -> str:
        """Keep, durably; the digest."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if self._is_intact(path, digest):
            return digest
        try:
            path.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(path)
            _sync(path.parent)
            _sync(self._folder)
        except OSError as error:
            raise UnavailableError(f"the blob {digest} cannot be written: {error}") from error
        return digest

    @staticmethod
    def _is_intact(path: Path, digest: str) -> bool:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == digest
        except FileNotFoundError:
            return False

    def get(self, digest: str) -> bytes:
        """The content. Raises NotFoundError, and RefusedError when it is damaged."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no blob {digest}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise RefusedError(f"the blob {path} is damaged")
        return data

    def set_head(self, name: str, digest: str) -> None:
        """Point a name at a blob that is kept. Raises NotFoundError."""
        if not self._path(digest).exists():
            raise NotFoundError(f"there is no blob {digest}")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO head (name, digest) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET digest = excluded.digest",
                (name, digest),
            )

    def head(self, name: str) -> str | None:
        """Where a name points."""
        rows = self._database.rows("SELECT digest FROM head WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
