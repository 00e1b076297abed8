"""Places where workers of each kind run; Deployments become a second parameter."""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests import helpers

from vedette_backends.workloads.processes import ProcessWorkloads
from vedette_backends.workloads.protocol import Workload
from vedette_backends.workloads.replica import Backoff

# A worker writes what happens to it into the file named by its first argument, then does what its second one says.
_WORKER = """
import os, signal, sys, time
from vedette_backends.workloads.parent import watch_parent
watch_parent()
def say(word):
    with open(sys.argv[1], "a") as file:
        file.write(f"{word} {os.getpid()}\\n")
def finish(*_):
    say("finished")
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
exec(sys.argv[2])
"""


@dataclass
class Place:
    """Starts workers that run a piece of Python, and tells what they said."""

    folder: Path
    workloads: list[ProcessWorkloads] = field(default_factory=list)

    def open(self, *, grace: float = 10.0) -> ProcessWorkloads:
        workloads = ProcessWorkloads(
            self.command,
            self.folder / "logs",
            self.folder / "run",
            backoff=Backoff(first=0.01, longest=0.05),
            grace=grace,
        )
        self.workloads.append(workloads)
        return workloads

    @property
    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", _WORKER]

    def worker(self, name: str, code: str = "say('runs'); signal.pause()", **env: str) -> Workload:
        return Workload(name, [str(self.folder / f"{name}.said"), code], env)

    def said(self, name: str) -> list[tuple[str, int]]:
        """Words and process ids, in order."""
        path = self.folder / f"{name}.said"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(word, int(pid)) for word, pid in map(str.split, lines)]

    def words(self, name: str) -> list[str]:
        return [word for word, _ in self.said(name)]

    def close(self) -> None:
        for workloads in self.workloads:
            workloads.stop(0)


@pytest.fixture(params=["processes"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    assert request.param == "processes"
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition, with a deadline."""

    return functools.partial(helpers.until, seconds=30, what="the condition", pause=0.005)
