"""What the servers of the tests have in common: processes that end with the session, and one for all its workers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest
from tests.helpers import until

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HOST = "127.0.0.1"
_KEEPER = Path(__file__).with_name("keeper.py")

Server = TypeVar("Server", bound="DataclassInstance")


def missing(why: str) -> NoReturn:
    """A server cannot be had: a failure where everything must be there, otherwise these tests are left out."""
    if "CI" in os.environ:
        pytest.fail(why)
    pytest.skip(why)


def free_ports(count: int, host: str = HOST) -> list[int]:
    """Ports of an address of this machine on which nobody listens, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def session() -> int:
    """The process with which what a session's tests share ends: of a worker of pytest-xdist the parent."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def shared(root: Path, name: str, kind: type[Server], start: Callable[[Path, int], Server]) -> Server:
    """The session's one server of a kind, started by whoever asks first.

    Args:
        root: a folder that all processes of the session see, and no other session.
        name: of the server.
        kind: a dataclass of strings, numbers and `folder`.
        start: starts one in a folder that is made, to end with a process.
    """
    root.mkdir(parents=True, exist_ok=True)
    note = root / f"{name}.json"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            server = start(root / f"{name}-{time.time_ns()}", session())
            note.write_text(json.dumps(asdict(server), default=str))
            return server
    told = json.loads(note.read_text())
    return kind(**{**told, "folder": Path(told["folder"])})


class Kept:
    """A server in a folder of its own that a keeper runs as long as its owner lives."""

    folder: Path
    owner: int

    @property
    def pid(self) -> int:
        """Of the server itself."""
        return int((self.folder / "server.pid").read_text())

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, with what it held before, and wait until it answers."""
        raise NotImplementedError

    def stop(self, *, kill: bool = False) -> None:
        """End it: in good order, or all of a sudden."""
        raise NotImplementedError

    def restart(self, *, kill: bool = False) -> None:
        self.stop(kill=kill)
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It neither reads nor answers meanwhile, but its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def keep(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Run a command that ends with the owner; its process is in `<name>.pid`, what it says in `<name>.log`."""
        pid_file = self.folder / f"{name}.pid"
        keeper: list[Any] = [sys.executable, _KEEPER, str(self.owner), pid_file, self.folder]
        with (self.folder / f"{name}.log").open("ab") as log:
            subprocess.run(
                [*keeper, *command], env=environment, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until(pid_file.exists, seconds=20, what=f"{name} to be started")
