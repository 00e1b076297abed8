"""The process that judges: it may be ended at any moment, because a rule that a stranger wrote may take for ever."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import struct
from types import FrameType
from typing import Final

import orjson

from vedette_operator.admission.judgement import judge

log = logging.getLogger(__name__)

CHILD_MEMORY: Final = 1 << 30
ORDINARY: Final = 0.1
"""Seconds on the processor that an ordinary judgement does not need."""
LOW_PRIORITY: Final = 19
HEADER: Final = struct.Struct("!I")
"""Every message is preceded by its length."""
FAULT: Final = b"!"
"""First byte of an answer that is no judgement but says what went wrong with us."""


def serve(channel: socket.socket, seconds: float) -> None:
    """Judge manifests, JSON in and JSON out, until the other end is closed.

    Args:
        channel: of this child alone.
        seconds: the kernel ends this process when a judgement takes longer; who asks ends it sooner.
    """
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _step_back)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not Python's: that one would wait for the end of a long call
    with channel:
        while (body := _receive(channel)) is not None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            signal.setitimer(signal.ITIMER_PROF, ORDINARY)
            answer = answer_to(body)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            channel.sendall(HEADER.pack(len(answer)) + answer)


def _step_back(_number: int, _frame: FrameType | None) -> None:
    """Let judgements that are ordinary go first; only root could take this back, so this child judges no more."""
    os.nice(LOW_PRIORITY)


def answer_to(body: bytes) -> bytes:
    """The judgement on a manifest, or what prevented it; nothing for nothing, which asks whether anybody is there."""
    if not body:
        return b""
    try:
        return judge(orjson.loads(body)).to_json()
    except Exception as error:
        log.exception("a manifest could not be judged")
        return FAULT + f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace")


def _receive(channel: socket.socket) -> bytes | None:
    header = _exactly(channel, HEADER.size)
    return None if header is None else _exactly(channel, HEADER.unpack(header)[0])


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    """So many bytes; None when the other end was closed."""
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 16))
        if not part:
            return None
        parts += part
    return bytes(parts)
