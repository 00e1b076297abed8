"""Several workers of one kind in one process: on one machine a process for each namespace would only cost memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol


class Worker(Protocol):
    """One of them."""

    def run(self) -> None:
        """Work until `stop`."""

    def stop(self) -> None:
        """Finish what is at hand; also for signal handlers."""


class Together:
    """Runs each worker in a thread of its own. One that fails ends all, so that the process is started anew."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = tuple(workers)
        self._failures: list[Exception] = []

    def stop(self) -> None:
        """Let all finish what they have at hand; also for signal handlers."""
        for worker in self._workers:
            worker.stop()

    def run(self) -> None:
        """Work until `stop`. Raises what the first of them raised."""
        threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"worker-{index}")
            for index, worker in enumerate(self._workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self, worker: Worker) -> None:
        try:
            worker.run()
        except Exception as error:  # noqa: BLE001 # raised again in `run`
            self._failures.append(error)
            self.stop()
