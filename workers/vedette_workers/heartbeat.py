"""What a worker says of itself once a second: the bundle in force, cumulative counters, problems."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Heartbeat, Store

log = logging.getLogger(__name__)


def new_incarnation() -> str:
    """A name for one life of a worker: its counters begin at 0 with it."""
    return secrets.token_hex(8)


def pod_worker(role: str) -> str:
    """The name in heartbeats of a worker that is one of several in its role: a pod's host name is the pod's name."""
    return f"{role}@{socket.gethostname()}"


class Pulse:
    """Calls `tick(incarnation, started ms)` every `interval` seconds in a thread, and once more when it stops."""

    def __init__(self, interval: float, tick: Callable[[str, int], None], incarnation: str = "") -> None:
        self._interval = interval
        self._tick = tick
        self._wake = threading.Event()
        self._stopped = False
        self._incarnation = incarnation or new_incarnation()
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
    store: Store,
    *,
    role: str,
    incarnation: str,
    started: int,
    body: Mapping[str, Any],
    now: int | None = None,
    worker: str = "",
) -> None:
    """Write one heartbeat; `now` in ms, by default the wall clock; `worker` where the role alone names nobody."""
    store.put_heartbeat(
        Heartbeat(
            worker=worker or role,
            incarnation=incarnation,
            time=time.time_ns() // 1_000_000 if now is None else now,
            body={**body, "role": role, "pid": os.getpid(), "started": started},
        )
    )
