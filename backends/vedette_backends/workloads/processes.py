"""`Workloads` on one machine: child processes under a supervisor thread."""

from __future__ import annotations

import logging
import os
import re
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.workloads.log import WorkerLog
from vedette_backends.workloads.protocol import Workload, WorkloadStatus
from vedette_backends.workloads.replica import Backoff, Replica

_LOGGER = logging.getLogger(__name__)

MAX_REPLICAS = 64
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?")

# An end is noticed at once by the end of its output; this is for workers that closed it before.
_LOOK_SECONDS = 0.25


class ProcessWorkloads:
    """Keeps workers running until `stop`; none outlives this process when they call `watch_parent` first thing.

    Args:
        command: what every worker's `args` follow, `[sys.executable, "-m", "vedette_cli"]`.
        log_folder: gets `<name>.log` of each worker, bounded.
        run_folder: gets `<name>.pid` while a worker runs.
        backoff: pauses before what ended starts again.
        grace: seconds between SIGTERM and SIGKILL for a worker that changed or is not wanted any more.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_folder: Path,
        run_folder: Path,
        *,
        backoff: Backoff | None = None,
        grace: float = 10.0,
    ) -> None:
        self._command = tuple(command)
        self._log_folder = log_folder
        self._run_folder = run_folder
        self._backoff = backoff or Backoff()
        self._grace = grace
        self._lock = threading.Lock()
        self._wanted: tuple[Workload, ...] = ()
        self._replicas: dict[str, Replica] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        # Only this process holds the writing end: workers see the end of the pipe when it is gone, however it went.
        self._parent_read, self._parent_write = os.pipe()

    def reconcile(self, wanted: Sequence[Workload]) -> None:
        """Start what is missing, restart what changed, stop what is not wanted. Returns at once.

        Raises:
            RefusedError: a name is given twice or cannot name a file, or there are too many replicas.
            UnavailableError: after `stop`.
        """
        _check(wanted)
        with self._lock:
            if self._stopping:
                raise UnavailableError("the workloads are stopped")
            # Copies: nobody changes them behind the supervisor's back.
            self._wanted = tuple(replace(one, args=tuple(one.args), env=dict(one.env)) for one in wanted)
            if self._thread is None:
                # One thread starts all: PR_SET_PDEATHSIG counts from the thread that started a child.
                self._thread = threading.Thread(target=self._run, name="workloads", daemon=True)
                self._thread.start()
            self._wake()

    def status(self) -> list[WorkloadStatus]:
        """State of every wanted workload, in the order wanted."""
        now = time.monotonic()
        with self._lock:
            return [self._status_of(workload, now) for workload in self._wanted]

    def pids(self) -> dict[str, int]:
        """Process ids of what runs now, by worker (`<name>`, or `<name>-<number>` where there are several)."""
        with self._lock:
            return {name: replica.child.pid for name, replica in self._replicas.items() if replica.child is not None}

    def stop(self, grace: float) -> None:
        """Ask all to finish, wait up to `grace` seconds, then end them. Harmless when repeated."""
        with self._lock:
            self._stopping = True
            self._wanted = ()
            self._grace = grace
            thread = self._thread
            self._wake()
        if thread is not None:
            thread.join()
        with self._lock:
            for handle in (self._wake_read, self._wake_write, self._parent_read, self._parent_write):
                if handle >= 0:
                    os.close(handle)
            self._wake_read = self._wake_write = self._parent_read = self._parent_write = -1

    def _status_of(self, workload: Workload, now: float) -> WorkloadStatus:
        replicas = [self._replicas[name] for name in _names(workload) if name in self._replicas]
        problems = [problem for replica in replicas if (problem := replica.problem(now))]
        return WorkloadStatus(
            name=workload.name,
            wanted=workload.replicas,
            running=sum(replica.child is not None for replica in replicas),
            restarts=sum(replica.restarts for replica in replicas),
            problem=problems[0] if problems else "",
        )

    def _wake(self) -> None:
        if self._wake_write < 0:
            return
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            return  # it is full of wake-ups already

    def _run(self) -> None:
        while True:
            with self._lock:
                self._step(time.monotonic())
                if self._stopping and not self._replicas:
                    return
                poll = select.poll()
                poll.register(self._wake_read, select.POLLIN)
                for replica in self._replicas.values():
                    for handle in replica.handles():
                        poll.register(handle, select.POLLIN)
                pause = self._pause(time.monotonic())
            if any(handle == self._wake_read for handle, _ in poll.poll(pause * 1000)):
                os.read(self._wake_read, 4096)

    def _step(self, now: float) -> None:
        wanted = {name: workload for workload in self._wanted for name in _names(workload)}
        for name, workload in wanted.items():
            if name not in self._replicas:
                self._replicas[name] = Replica(
                    self._command,
                    workload,
                    log=WorkerLog(self._log_folder / f"{name}.log"),
                    pid_file=self._run_folder / f"{name}.pid",
                    backoff=self._backoff,
                )
        for name, replica in list(self._replicas.items()):
            replica.want(wanted.get(name))
            said = replica.problem(now)
            replica.step(now, parent_pipe=self._parent_read, grace=self._grace)
            if not said and (problem := replica.problem(now)):
                _LOGGER.warning("%s %s", name, problem)
            if replica.gone:
                del self._replicas[name]

    def _pause(self, now: float) -> float:
        due = [at - now for replica in self._replicas.values() if (at := replica.due()) is not None]
        return max(0.0, min([_LOOK_SECONDS, *due]))


def _names(workload: Workload) -> list[str]:
    if workload.replicas == 1:
        return [workload.name]
    return [f"{workload.name}-{number}" for number in range(workload.replicas)]


def _check(wanted: Sequence[Workload]) -> None:
    for workload in wanted:
        if _NAME.fullmatch(workload.name) is None:
            raise RefusedError(f"{workload.name!r} cannot name a worker: lower-case letters, digits, dots and dashes")
        if not 0 <= workload.replicas <= MAX_REPLICAS:
            raise RefusedError(f"{workload.name}: {workload.replicas} replicas are not between 0 and {MAX_REPLICAS}")
    names = [workload.name for workload in wanted]
    names += [name for workload in wanted if workload.replicas != 1 for name in _names(workload)]
    if len(set(names)) != len(names):
        raise RefusedError(f"a worker's name is given twice in {sorted(names)}")
