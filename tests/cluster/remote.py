"""The test session's side of a node's first process: one command at a time, one answer each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from tests.cluster.machine import PATH, NodeError
from tests.cluster.slot import Slot

ROOT = Path(__file__).resolve().parents[2]
BULK = ("data", "mounts")
"""Folders of a node that nobody wants to keep."""


class Remote:
    """Starts a janitor, and through it a node without any program yet; ends both with `close`.

    Args:
        folder: the node's; it has a folder `log`.
        slot: the node's addresses; the janitor inherits its locks.
        tools: folder of the node's programs.
    """

    def __init__(self, folder: Path, slot: Slot, tools: Path) -> None:
        self._folder = folder
        self._tools = tools
        self._lock = Lock()
        job = {
            "number": slot.addresses.number,
            "machine_lock": slot.locks[1],
            "folder": str(folder),
            "bulk": BULK,
        }
        with (folder / "log" / "janitor.log").open("wb") as log:
            self._janitor = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.janitor", json.dumps(job)],
                cwd=ROOT,
                env=os.environ | {"PATH": os.environ["PATH"] + PATH},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=slot.locks,
                # Ctrl-C is for the test session, which then ends the node in good order.
                start_new_session=True,
            )
        assert self._janitor.stdin is not None
        assert self._janitor.stdout is not None
        self._commands = self._janitor.stdin
        self._answers = self._janitor.stdout
        try:
            self._connect(slot)
        except BaseException:
            self.close()
            raise

    def _connect(self, slot: Slot) -> None:
        addresses = slot.addresses
        process = str(self._answer()["pid"])
        line = ["ip", "link", "set", addresses.node_link, "netns", process, "name", "eth0"]
        moved = subprocess.run(line, capture_output=True, text=True, check=False)
        if moved.returncode:
            raise NodeError(f"`{' '.join(line)}` said {moved.stderr.strip()}")
        address = f"{addresses.node}/{addresses.link.prefixlen}"
        self.ask("connect", address=address, gateway=str(addresses.machine))

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Send a command; the answer. `Init` in init.py says which there are.

        Raises:
            NodeError: the node could not do it, or is no more.
        """
        with self._lock:
            try:
                self._commands.write(json.dumps({"do": do, **details}).encode() + b"\n")
                self._commands.flush()
            except (BrokenPipeError, ValueError):
                raise self._lost() from None
            return self._answer()

    def run(self, name: str, command: Sequence[str]) -> None:
        """Start a program under a name; it writes `log/NAME.log`."""
        log = str(self._folder / "log" / f"{name}.log")
        environment = {"PATH": f"{self._tools}:{os.environ['PATH']}{PATH}"}
        self.ask("start", name=name, command=command, log=log, environment=environment)

    def end(self, name: str) -> int | None:
        """How a program ended: exit code, negative for a signal, None while it runs."""
        code: int | None = self.ask("status", name=name)["end"]
        return code

    def close(self) -> None:
        """End all processes of the node and wait until nothing is left of it.

        Raises:
            NodeError: it takes longer than a minute.
        """
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()
        try:
            self._janitor.wait(60)
        except subprocess.TimeoutExpired:
            self._janitor.kill()
            self._janitor.wait()
            raise NodeError(f"the node did not end within a minute; see {self._folder / 'log'}") from None
        finally:
            self._answers.close()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise self._lost()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer

    def _lost(self) -> NodeError:
        logs = [self._folder / "log" / f"{name}.log" for name in ("init", "janitor")]
        said = "".join(path.read_text(errors="replace")[-2000:] for path in logs if path.exists())
        return NodeError(f"the node has ended. {said}")
