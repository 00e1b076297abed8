"""How a worker notices that its supervisor is gone, even when that was killed: no orphan holds files or ports."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

PARENT_PIPE = "VEDETTE_PARENT_PIPE"

_PR_SET_PDEATHSIG = 1


def watch_parent() -> bool:
    """End this process with SIGKILL as soon as its supervisor is gone; to be called first thing by a worker.

    Every worker is safe against SIGKILL by design, and one that lingers would hold the locks its successor needs.
    On Linux the kernel does it (prctl(2), PR_SET_PDEATHSIG), so a worker that hangs dies too. Elsewhere, and for a
    supervisor that died before this call, a thread waits for the end of the pipe whose other end it alone held.

    Returns:
        Whether there is a supervisor to watch; False for a worker started by hand.
    """
    number = os.environ.pop(PARENT_PIPE, "")
    if not number:
        return False
    handle = int(number)
    # Not for the children of this worker.
    os.set_inheritable(handle, False)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_wait_for_end, args=(handle,), name="watch-parent", daemon=True).start()
    return True


def _wait_for_end(handle: int) -> None:
    # Nobody writes: the read returns when the last holder of the other end is gone, also when that was before.
    os.read(handle, 1)
    os.kill(os.getpid(), signal.SIGKILL)
