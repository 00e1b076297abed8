"""One copy of a workload over time: started, ended, started again later and later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vedette_backends.workloads.child import Child
from vedette_backends.workloads.log import WorkerLog
from vedette_backends.workloads.protocol import Workload


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a worker that ended starts again: doubled each time, forgotten after it ran well."""

    first: float = 0.2
    longest: float = 10.0
    healthy_after: float = 30.0

    def delay(self, failures: int) -> float:
        """The pause after so many failures in a row (1 is the first)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


class Replica:
    """Moves one copy towards what is wanted whenever `step` is called; all by the supervisor's one thread."""

    def __init__(
        self, command: Sequence[str], workload: Workload, *, log: WorkerLog, pid_file: Path, backoff: Backoff
    ) -> None:
        self._command = command
        self._workload = workload
        self._log = log
        self._pid_file = pid_file
        self._backoff = backoff
        self._next: Workload | None = workload
        self._failures = 0
        self._started = 0.0
        self._not_before = 0.0
        self._kill_at: float | None = None
        self._reason = ""
        self.child: Child | None = None
        self.restarts = 0

    @property
    def gone(self) -> bool:
        """Not wanted any more, and ended."""
        return self._next is None and self.child is None

    def handles(self) -> list[int]:
        """What becomes readable when `step` has something to do."""
        return [] if self.child is None else self.child.handles()

    def want(self, workload: Workload | None) -> None:
        """What should run from now on; None for nothing. A change of replicas alone changes nothing here."""
        self._next = workload

    def step(self, now: float, *, parent_pipe: int, grace: float) -> None:
        """Notice an end, ask for one, or start: whatever is due at `now` (seconds, monotonic)."""
        if self.child is not None:
            self.child.drain()
            if self.child.ended():
                self._note_end(self.child, now)
        if self.child is not None:
            self._stop_if_unwanted(self.child, now, grace)
        elif self._next is not None and now >= self._not_before:
            self._start(self._next, now, parent_pipe)

    def due(self) -> float | None:
        """When `step` should be called even if nothing happens; None when there is no such time."""
        if self.child is not None:
            return self._kill_at
        return self._not_before if self._next is not None else None

    def problem(self, now: float) -> str:
        """Why it does not run, for people; empty when it does."""
        if self.child is not None or not self._reason:
            return ""
        wait = max(0.0, self._not_before - now)
        said = " / ".join(self._log.last_lines())
        return f"{self._reason}; starts again in {wait:.1f} s" + (f"; it last said: {said}" if said else "")

    def _start(self, workload: Workload, now: float, parent_pipe: int) -> None:
        if self._reason:
            self.restarts += 1
        self._workload = workload
        self._started = now
        command = [*self._command, *workload.args]
        try:
            self.child = Child(command, workload.env, parent_pipe=parent_pipe, log=self._log, pid_file=self._pid_file)
        except (OSError, ValueError) as error:
            self._fail(f"cannot start: {error}", now)

    def _stop_if_unwanted(self, child: Child, now: float, grace: float) -> None:
        if _same_process(self._workload, self._next):
            return
        if self._kill_at is None:
            child.terminate()
            self._kill_at = now + grace
        elif now >= self._kill_at:
            child.kill()

    def _note_end(self, child: Child, now: float) -> None:
        how = child.finish()
        self.child = None
        if self._kill_at is not None:
            # We asked for it: the next one, if any, starts at once and with a clean slate.
            self._kill_at = None
            self._failures = 0
            self._reason = ""
            self._not_before = now
            return
        if now - self._started >= self._backoff.healthy_after:
            self._failures = 0
        self._fail(how, now)

    def _fail(self, reason: str, now: float) -> None:
        self._failures += 1
        self._reason = reason
        self._not_before = now + self._backoff.delay(self._failures)


def _same_process(left: Workload, right: Workload | None) -> bool:
    return right is not None and replace(left, replicas=1) == replace(right, replicas=1)
