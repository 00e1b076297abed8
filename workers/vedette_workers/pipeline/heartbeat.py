"""What a worker says of itself once a second: the bundle in force, cumulative counters, problems."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Heartbeat, Store

log = logging.getLogger(__name__)


class Pulse:
    """Calls `tick(incarnation, started ms)` every `interval` seconds in a thread, and once more when it stops."""

    def __init__(self, interval: float, tick: Callable[[str, int], None]) -> None:
        self._interval = interval
        self._tick = tick
        self._stop = threading.Event()
        self._incarnation = secrets.token_hex(8)
        self._started = time.time_ns() // 1_000_000
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin with a first beat."""
        self._thread.start()

    def stop(self) -> None:
        """A last beat, then silence."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            last = self._stop.is_set()
            try:
                self._tick(self._incarnation, self._started)
            except BackendError as error:
                log.warning("heartbeat: %s", error)
            if last:
                return
            self._stop.wait(self._interval)


def beat(
    store: Store, *, role: str, incarnation: str, started: int, now: int, body: Mapping[str, Any], worker: str = ""
) -> None:
    """Write one heartbeat."""
    store.put_heartbeat(
        Heartbeat(
            worker=worker or role,
            incarnation=incarnation,
            time=now,
            body={"role": role, "pid": os.getpid(), "started": started, **body},
        )
    )
