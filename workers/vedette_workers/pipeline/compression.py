"""Content encodings of records: what foreign publishers compress is decompressed within limits, or set aside."""

from __future__ import annotations

import zlib
from typing import Final

from vedette_engine.normalise.errors import Malformed

PLAIN: Final = frozenset({"", "identity", "binary", "7bit", "8bit", "ascii", "us-ascii", "utf-8", "utf8"})
"""Encodings that leave the bytes as they are; several clients write a charset here."""
GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW: Final = 31
_MOST_MEMBERS: Final = 64


def decompress(raw: bytes, encoding: str, limit: int) -> bytes:
    """The record behind a content encoding; never more than `limit` bytes are made.

    Raises:
        Malformed: the encoding is none that is read here, the bytes are not in it, or they hold more than `limit`.
    """
    name = encoding.strip().lower()
    if name in PLAIN:
        return raw
    if name not in GZIP:
        raise Malformed("UnsupportedEncoding", f"the content encoding {name[:40]!r} is not read; gzip is")
    parts: list[bytes] = []
    left, rest = limit, raw
    for _ in range(_MOST_MEMBERS):
        stream = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = stream.decompress(rest, left + 1)
        except zlib.error as error:
            raise Malformed("MalformedEncoding", f"the body is not gzip: {error}") from error
        left -= len(part)
        if left < 0:
            raise Malformed("TooLarge", f"decompressed, the record has more than {limit} bytes, the source's limit")
        if not stream.eof:
            raise Malformed("MalformedEncoding", "the body ends inside its gzip stream")
        parts.append(part)
        rest = stream.unused_data
        if not rest:
            return b"".join(parts)
    raise Malformed("MalformedEncoding", f"the body is made of more than {_MOST_MEMBERS} gzip streams")
