"""One child process: start, output, end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette_backends.workloads.log import WorkerLog
from vedette_backends.workloads.parent import PARENT_PIPE

_READ_BYTES = 65536
# A pipe holds no more; a process that left the group and still writes does not keep the supervisor.
_LAST_READS = 16


class Child:
    """A running worker in a session of its own, so that Ctrl-C reaches the supervisor only.

    Args:
        command: program and arguments.
        env: added to this process's environment.
        parent_pipe: read end of the pipe that the worker watches.
        pid_file: written while it runs, for people and scripts.
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, parent_pipe: int, log: WorkerLog, pid_file: Path
    ) -> None:
        self._log = log
        self._pid_file = pid_file
        self._log.begin()
        self._process = subprocess.Popen(  # noqa: S603 # the supervisor's own command
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env, PARENT_PIPE: str(parent_pipe)},
            pass_fds=[parent_pipe],
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._at_end = False
        self._exit = -1
        try:
            os.set_blocking(self._output, False)
            pid_file.parent.mkdir(parents=True, exist_ok=True)
            pid_file.write_text(f"{self.pid}\n", encoding="ascii")
            # Readable once it has ended; where the system has no such thing, callers look now and then.
            if sys.platform == "linux":
                self._exit = os.pidfd_open(self.pid)
        except OSError:
            self.finish()
            raise

    @property
    def pid(self) -> int:
        """Its process id, which is also its process group."""
        return self._process.pid

    def handles(self) -> list[int]:
        """What becomes readable when there is something to do."""
        return [handle for handle in (self._exit, -1 if self._at_end else self._output) if handle >= 0]

    def drain(self) -> bool:
        """Move a piece of what it wrote to the log; False at the end of its output."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            self._log.write(data)
        else:
            self._at_end = True
        return bool(data)

    def ended(self) -> bool:
        """Whether it has ended; it is reaped by `finish` only."""
        if sys.platform != "linux":
            return self._process.poll() is not None
        # Its number stays taken until it is reaped, so that `finish` can still name its process group.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def terminate(self) -> None:
        """Ask it to finish."""
        self._process.terminate()

    def kill(self) -> None:
        """End it, and whatever it started and left behind."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def finish(self) -> str:
        """Reap it, take its last words, and say how it ended: `exited with status 1`, `was killed by SIGSEGV`."""
        self.kill()
        code = self._process.wait()
        for _ in range(_LAST_READS):
            if not self.drain():
                break
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._exit >= 0:
            os.close(self._exit)
        self._log.close()
        self._pid_file.unlink(missing_ok=True)
        if code >= 0:
            return f"exited with status {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
