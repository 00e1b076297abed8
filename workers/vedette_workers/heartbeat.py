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
        self._wake = threading.Event()
        self._stopped = False
        self._incarnation = secrets.token_hex(8)
        self._started = time.time_ns() // 1_000_000
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin with a first beat."""
        self._thread.start()

    def stop(self) -> None:
        """A last beat, then silence."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def now(self) -> None:
        """A beat at once: something changed that others wait for."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            last = self._stopped
            try:
                self._tick(self._incarnation, self._started)
            except BackendError as error:
                log.warning("heartbeat: %s", error)
            except Exception:
                log.exception("this heartbeat is left out")  # the next ones must come: a silent worker counts as dead
            if last:
                return
            self._wake.wait(self._interval)


def beat(
    store: Store, *, role: str, incarnation: str, started: int, body: Mapping[str, Any], now: int | None = None
) -> None:
    """Write one heartbeat; `now` in ms, by default the wall clock."""
    store.put_heartbeat(
        Heartbeat(
            worker=role,
            incarnation=incarnation,
            time=time.time_ns() // 1_000_000 if now is None else now,
            body={**body, "role": role, "pid": os.getpid(), "started": started},
        )
    )
