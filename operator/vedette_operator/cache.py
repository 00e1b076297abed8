"""What was worked out, by content hash: what did not change is not parsed, compiled and tested again at every start."""

from __future__ import annotations

import importlib.util
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

_PACKAGES = ("vedette_crds", "vedette_engine", "vedette_backends", "vedette_operator", "sigma")


def code_stamp() -> str:
    """Changes with the code that judges, so that an upgrade judges anew."""
    state = blake2b(digest_size=16)
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for root in spec.submodule_search_locations or () if spec else ():
            for file in sorted(Path(root).rglob("*.py")):
                stat = file.stat()
                state.update(f"{file.name}:{stat.st_mtime_ns}:{stat.st_size};".encode())
    return state.hexdigest()


def object_key(manifest: Mapping[str, Any]) -> str:
    """Hash of what a verdict depends on: kind, name and spec."""
    metadata = manifest["metadata"]
    identity = [manifest["kind"], metadata.get("namespace"), metadata["name"], manifest.get("spec")]
    return blake2b(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def text_key(text: bytes) -> str:
    """Hash of a text."""
    return blake2b(text, digest_size=16).hexdigest()


class ContentCache:
    """A file that may be deleted at any time; nothing is lost but time.

    Args:
        file: SQLite database, made where it is missing; entries of other code stamps are dropped when it opens.
        stamp: of the judging code, `code_stamp()`.
    """

    def __init__(self, file: Path, stamp: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stamp = stamp
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS content (key TEXT PRIMARY KEY, stamp TEXT, body BLOB)")
        self._database.execute("DELETE FROM content WHERE stamp <> ?", (stamp,))

    def get(self, key: str) -> bytes | None:
        """What was put under the key."""
        with self._lock:
            row = self._database.execute("SELECT body FROM content WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Keep (key, body) pairs, in one transaction."""
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR REPLACE INTO content VALUES (?, ?, ?)", [(key, self._stamp, body) for key, body in entries]
            )
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Release the file."""
        self._database.close()
