"""What a disposable child runs in tests; it has to be importable by name."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from vedette_engine.wire import Record
from vedette_workers.pipeline.attempt import make_try
from vedette_workers.pipeline.effects import Arrival
from vedette_workers.pipeline.isolation import Try


def deadly(*_: object) -> Try:
    """Records say how they end the process."""

    def attempt(record: Record, arrival: Arrival) -> None:
        assert arrival.source
        if b"exit" in record.raw:
            os._exit(0)
        if b"segfault" in record.raw:
            os.kill(os.getpid(), signal.SIGSEGV)
        if b"hang" in record.raw:
            threading.Event().wait()
        if b"memory" in record.raw:
            bytearray(8 << 30)

    return attempt


def deadly_pipeline(namespace: str, folder: Path) -> Try:
    """The real thing, with an event in it that kills."""
    real, kill = make_try(namespace, folder), deadly()

    def attempt(record: Record, arrival: Arrival) -> None:
        kill(record, arrival)
        real(record, arrival)

    return attempt


def still_born(*_: object) -> Try:
    """A child that cannot start."""
    raise RuntimeError("the bundle cannot be read")
