"""Connections to RabbitMQ that break while something is being published: a meddler for `front.Front`.

It knows as much of AMQP 0-9-1 as where a frame ends, and which methods publish and confirm.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.servers.front import Behind

IN_A_FRAME, IN_A_METHOD, BEFORE_THE_CONFIRM = "in a message's body", "in a method's frame", "before the confirm"
WAYS: Final = (IN_A_FRAME, IN_A_METHOD, BEFORE_THE_CONFIRM)

_PREAMBLE: Final = 8
_HEAD: Final = struct.Struct(">BHI")
_METHOD, _BODY = 1, 3
_PUBLISH: Final = b"\0\x3c\0\x28"
_ACK: Final = b"\0\x3c\0\x50"


@dataclass
class AmqpFaults:
    """Cuts one in `one_in` publishes; `done` counts them by the way in which they were cut."""

    dice: random.Random
    one_in: int = 10
    done: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, client: socket.socket, behind: Behind) -> None:
        """Serve one connection, in a loop of its own."""
        asyncio.run(_Line(self).serve(client, behind))

    def choose(self) -> str:
        """What becomes of a publish; empty when it is passed on."""
        with self._lock:
            return self.dice.choice(WAYS) if self.dice.randrange(self.one_in) == 0 else ""

    def count(self, way: str) -> None:
        """It was cut."""
        with self._lock:
            self.done[way] += 1


class _CutError(ConnectionAbortedError):
    """The connection was cut on purpose."""


class _Line:
    """One connection."""

    def __init__(self, faults: AmqpFaults) -> None:
        self._faults = faults
        self._way = ""

    async def serve(self, client: socket.socket, behind: Behind) -> None:
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=behind.outward)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            inside, outside = await asyncio.open_connection(
                behind.host, behind.port, ssl=behind.inward, server_hostname=behind.host
            )
        except OSError:
            transport.abort()
            raise
        ways = [asyncio.create_task(self._up(reader, outside)), asyncio.create_task(self._down(inside, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        outside.transport.abort()
        transport.abort()
        # What ended it is no fault of ours: an end of the connection, on purpose or not.
        await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the client to the server."""
        writer.write(await reader.readexactly(_PREAMBLE))
        while True:
            kind, frame = await _frame(reader)
            if kind == _METHOD and frame[_HEAD.size :].startswith(_PUBLISH) and not self._way:
                self._way = self._faults.choose()
                if self._way == IN_A_METHOD:
                    await self._half(frame, writer)
            if kind == _BODY and self._way == IN_A_FRAME:
                await self._half(frame, writer)
            writer.write(frame)
            await writer.drain()

    async def _half(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(frame[: len(frame) // 2])
        await writer.drain()
        self._cut()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to the client."""
        while True:
            kind, frame = await _frame(reader)
            if kind == _METHOD and frame[_HEAD.size :].startswith(_ACK) and self._way == BEFORE_THE_CONFIRM:
                self._cut()
            writer.write(frame)
            await writer.drain()

    def _cut(self) -> None:
        self._faults.count(self._way)
        raise _CutError


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(_HEAD.size)
    kind, _, size = _HEAD.unpack(head)
    return kind, head + await reader.readexactly(size + 1)
