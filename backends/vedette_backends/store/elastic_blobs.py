"""Content-addressed blobs in pieces of a bounded size, and names that point at them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from vedette_backends.errors import NotFoundError, RefusedError
from vedette_backends.store.elastic_bulk import get
from vedette_backends.store.elastic_http import WRITE_SECONDS, Api, dumps, good, quoted
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_names import Names

PIECE: Final = 6_000_000
"""Compressed bytes of one document: 8 MB once they are text."""

MAX_BLOB: Final = 1 << 30
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
HEAD: Final = "head"


class Blobs:
    """Documents named by the SHA-256 of their content: pieces, and one that says how many, which is written last."""

    def __init__(self, api: Api, names: Names, indices: Indices, clock: Callable[[], int]) -> None:
        self._api = api
        self._clock = clock
        self._index = names.blobs
        self._state = names.state
        self._indices = indices

    def put(self, data: bytes) -> str:
        """Keep, durably; the digest. What is kept but damaged is written again."""
        digest = hashlib.sha256(data).hexdigest()
        if len(data) > MAX_BLOB:
            raise RefusedError(f"a blob has at most {MAX_BLOB} bytes")
        self._indices.ensure(self._index)
        try:
            if self.get(digest) == data:
                return digest
        except (NotFoundError, RefusedError):
            pass  # not there, or not whole
        packed = zlib.compress(data, 6)
        pieces = [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]
        for number, piece in enumerate(pieces):
            self._write(self._index, f"{digest}.{number}", {"data": base64.b64encode(piece).decode()})
        head = {"key": digest, "written": self._clock(), "size": len(data), "pieces": len(pieces)}
        self._write(self._index, digest, head)
        return digest

    def _write(self, index: str, document_id: str, document: Mapping[str, object]) -> None:
        path = f"/{quoted(index)}/_doc/{quoted(document_id)}"
        good(self._api.call("PUT", path, dumps(document), seconds=WRITE_SECONDS))

    def get(self, digest: str) -> bytes:
        """The content. Raises NotFoundError, and RefusedError when it is damaged."""
        head = self._describe(digest)
        if head is None:
            raise NotFoundError(f"there is no blob {digest[:80]}")
        size, amount = head
        packed: list[bytes] = []
        for number in range(amount):
            piece = get(self._api, self._index, f"{digest}.{number}")
            try:
                packed.append(base64.b64decode((piece or {})["_source"]["data"], validate=True))
            except (KeyError, TypeError, binascii.Error) as error:
                raise RefusedError(f"piece {number} of the blob {digest} is missing or damaged") from error
        try:
            # Never more than was promised, whatever the pieces say.
            data = zlib.decompressobj().decompress(b"".join(packed), size + 1)
        except zlib.error as error:
            raise RefusedError(f"the blob {digest} is damaged") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise RefusedError(f"the blob {digest} is damaged")
        return data

    def _describe(self, digest: str) -> tuple[int, int] | None:
        document = get(self._api, self._index, digest) if _DIGEST.fullmatch(digest) else None
        if document is None:
            return None
        source = document["_source"]
        return int(source["size"]), int(source["pieces"])

    def set_head(self, name: str, digest: str) -> None:
        """Point a name at a blob that is kept. Raises NotFoundError."""
        if self._describe(digest) is None:
            raise NotFoundError(f"there is no blob {digest[:80]}")
        self._indices.ensure(self._state)
        key = _head_id(name)
        self._write(self._state, key, {"key": key, "kind": HEAD, "name": name, "digest": digest})

    def head(self, name: str) -> str | None:
        """Where a name points."""
        document = get(self._api, self._state, _head_id(name))
        return None if document is None else str(document["_source"]["digest"])


def _head_id(name: str) -> str:
    return hashlib.sha256(dumps((HEAD, name))).hexdigest()
