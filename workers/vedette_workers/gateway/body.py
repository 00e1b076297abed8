"""Receiving a body within its limits: size, time, compression, and the bytes that the gateway holds in all."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from vedette_workers.gateway.errors import BadRequest, Slow, TooLarge, UnsupportedEncoding
from vedette_workers.gateway.limits import Held
from vedette_workers.gateway.settings import Settings

_STEP: Final = 1 << 20
"""Inflated at once before other requests get their turn."""
_MAX_MEMBERS: Final = 1_000
_WBITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(request: Request, held: Held, settings: Settings) -> bytes:
    """The whole body, decompressed.

    Raises:
        TooLarge: more bytes than allowed, before or after decompression, announced or found.
        Slow: it did not come in time.
        BadRequest: it is not what Content-Encoding says, or the client hung up.
        UnsupportedEncoding: neither gzip nor deflate.
        TooMany, Unavailable: the gateway holds too many bytes already.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > settings.max_request:
        raise _too_large(settings)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    try:
        async with asyncio.timeout(settings.body_time):
            chunks = _bounded(request, settings)
            if encoding in ("", "identity"):
                return await _plain(chunks, held)
            if encoding in _WBITS:
                return await _inflated(chunks, held, settings, _WBITS[encoding])
    except TimeoutError as error:
        raise Slow(f"the body did not arrive within {settings.body_time:g} s", close=True) from error
    except ClientDisconnect as error:
        raise BadRequest("the client hung up before the end of the body", close=True) from error
    raise UnsupportedEncoding(f"Content-Encoding {encoding[:40]!r} is not supported; send gzip, deflate or identity")


async def _bounded(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > settings.max_request:
            raise _too_large(settings)
        yield chunk


def _too_large(settings: Settings) -> TooLarge:
    return TooLarge(f"a request may have {settings.max_request} bytes; send fewer events at once", close=True)


async def _plain(chunks: AsyncIterator[bytes], held: Held) -> bytes:
    parts = []
    async for chunk in chunks:
        held.grow(len(chunk))
        parts.append(chunk)
    return b"".join(parts)


async def _inflated(chunks: AsyncIterator[bytes], held: Held, settings: Settings, wbits: int) -> bytes:
    inflater = _Inflater(wbits, settings.max_inflated)
    parts: list[bytes] = []
    async for chunk in chunks:
        for part in inflater.feed(chunk):
            held.grow(len(part))
            parts.append(part)
            if len(part) == _STEP:
                await asyncio.sleep(0)
    for part in inflater.finish():
        held.grow(len(part))
        parts.append(part)
    return b"".join(parts)


class _Inflater:
    """Inflates in steps, so that a small body that grows without end is noticed in time."""

    def __init__(self, wbits: int, limit: int) -> None:
        self._wbits = wbits
        self._limit = limit
        self._size = 0
        self._members = 1
        self._zlib = zlib.decompressobj(wbits)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What these bytes bring, at most `_STEP` bytes at once."""
        left = chunk
        while left:
            if self._zlib.eof:  # gzip allows members one after the other
                self._members += 1
                if self._members > _MAX_MEMBERS:
                    raise BadRequest(f"a body may have {_MAX_MEMBERS} gzip members", close=True)
                self._zlib = zlib.decompressobj(self._wbits)
            yield self._step(left)
            left = self._zlib.unconsumed_tail or self._zlib.unused_data

    def finish(self) -> Iterator[bytes]:
        """What zlib still holds back; BadRequest when the end is missing."""
        while not self._zlib.eof:
            part = self._step(b"")
            if not part:
                raise BadRequest("the compressed body is cut off")
            yield part

    def _step(self, data: bytes) -> bytes:
        try:
            part = self._zlib.decompress(data, _STEP)
        except zlib.error as error:
            raise BadRequest(f"the body is not what its Content-Encoding says: {error}", close=True) from error
        self._size += len(part)
        if self._size > self._limit:
            raise TooLarge(f"the body inflates to more than {self._limit} bytes", close=True)
        return part
