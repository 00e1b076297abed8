"""Writing statuses to the Kubernetes API: the newest of each object, at a bounded rate, until it is taken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vedette_backends.cluster.protocol import Key
from vedette_backends.errors import BackendError, UnavailableError

log = logging.getLogger(__name__)

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rates:
    """Writes per second.

    Attributes:
        steady: at most, as long as fewer than `backlog` objects wait.
        burst: at most, while more wait: thousands of rules were applied.
    """

    steady: float = 15.0
    burst: float = 55.0
    backlog: int = 50


class StatusWriter:
    """A thread that writes what `put` was given. A status that an object got meanwhile replaces the one that waits.

    Args:
        patch: writes one status; raises BackendError. Gone objects are no error.
        turned: called with (key, before, now) when the Ready condition of an object became another one.
        rates: how fast.
    """

    def __init__(
        self,
        patch: Callable[[Key, Status], None],
        turned: Callable[[Key, Status | None, Status], None],
        rates: Rates | None = None,
    ) -> None:
        self._patch = patch
        self._turned = turned
        self._rates = rates or Rates()
        self._waiting: dict[Key, Status] = {}
        self._ready: dict[Key, Status] = {}
        self._condition = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="statuses", daemon=True)
        self.written = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, statuses: Iterable[tuple[Key, Status]]) -> None:
        """Take statuses to write."""
        with self._condition:
            for key, status in statuses:
                self._waiting[key] = status
            self._condition.notify()

    def forget(self, key: Key) -> None:
        """The object is gone."""
        with self._condition:
            self._waiting.pop(key, None)
            self._ready.pop(key, None)

    def waiting(self) -> int:
        """How many objects wait for their status."""
        return len(self._waiting)

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits, for so long at most, and end."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                rate = self._rates.burst if len(self._waiting) > self._rates.backlog else self._rates.steady
                key = next(iter(self._waiting))
                status = self._waiting.pop(key)
            began = time.monotonic()
            try:
                pause = 0.0 if self._write(key, status) else min(max(pause * 2, 0.5), 10.0)
            except Exception:
                # A status that is ours to mend must not keep all others from being written.
                log.exception("status of %s is left out", key)
                self.failed += 1
            time.sleep(max(1 / rate - (time.monotonic() - began), 0.0) + pause)

    def _write(self, key: Key, status: Status) -> bool:
        """Whether the API server answers; what it refuses is logged and given up, it would refuse it again."""
        try:
            self._patch(key, status)
        except UnavailableError as error:
            log.warning("status of %s waits: %s", key, error)
            with self._condition:
                self._waiting.setdefault(key, status)
            return False
        except BackendError:
            self.failed += 1
            log.exception("status of %s is refused", key)
            return True
        self.written += 1
        ready = next((item for item in status.get("conditions", ()) if item["type"] == "Ready"), None)
        if ready is not None:
            before = self._ready.get(key)
            self._ready[key] = ready
            if before is None or (before["status"], before["reason"]) != (ready["status"], ready["reason"]):
                self._turned(key, before, ready)
        return True
