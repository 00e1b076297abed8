"""Runs one command for as long as another process lives: `keeper.py OWNER PIDFILE FOLDER COMMAND…`.

Not a module of the tests but a program of its own, so that a server which several test processes share ends with their
session however that ends. When the owner is gone, FOLDER is removed.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Until the command ends or the owner is gone."""
    owner, pid_file, folder, *command = sys.argv[1:]
    try:
        owner_handle = os.pidfd_open(int(owner))
    except ProcessLookupError:
        return 1
    # Every line of a starting server goes into its log; what is left of it is worth nothing without its owner.
    with subprocess.Popen(command, preexec_fn=_die_with_parent, stdin=subprocess.DEVNULL) as child:  # noqa: PLW1509 # one thread only
        ready = Path(pid_file + ".new")
        ready.write_text(str(child.pid))
        ready.rename(pid_file)
        child_handle = os.pidfd_open(child.pid)
        poll = select.poll()
        poll.register(owner_handle, select.POLLIN)
        poll.register(child_handle, select.POLLIN)
        orphaned = any(handle == owner_handle for handle, _ in poll.poll())
        if orphaned:
            child.kill()
    if orphaned:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    # Nobody has to wait for it, and the session's Ctrl-C is not for the server.
    if os.fork():
        os._exit(0)
    os.setsid()
    sys.exit(main())
