"""The process between a test session and its node: makes the node's namespaces, and cleans up when the node has ended.

    test session ── janitor ── entrance ── node (process 1 of its namespace) ── etcd, kubelet, pods …

The session holds the write end of the node's standard input. When it closes, also because the session was killed, the
node's first process ends, the kernel ends all others with it, and the janitor removes folders, link and control groups.
Entrance and node die with their parents. Only the standard library is imported here: every start of a node waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import init
from tests.cluster.addresses import Addresses
from tests.cluster.slot import (
    CGROUPS,
    NODE_FOLDERS,
    cgroup_folders,
    plug_cable,
    remove_leftovers,
    remove_node_folders,
)

# linux/sched.h
NEW_MOUNTS, NEW_CGROUP, NEW_HOSTNAME = 0x0002_0000, 0x0200_0000, 0x0400_0000
NEW_IPC, NEW_PIDS, NEW_NETWORK = 0x0800_0000, 0x2000_0000, 0x4000_0000
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Job:
    """What the session tells the janitor: as JSON, the only argument."""

    number: int
    machine_lock: int
    folder: Path
    bulk: tuple[str, ...]
    """Folders inside `folder` that nobody wants to keep."""

    @classmethod
    def read(cls, text: str) -> Job:
        """Decode it."""
        data: dict[str, Any] = json.loads(text)
        return cls(data["number"], data["machine_lock"], Path(data["folder"]), tuple(data["bulk"]))


def main(text: str) -> None:
    """Run one node and clean up behind it."""
    job = Job.read(text)
    addresses = Addresses(job.number)
    for folder in NODE_FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        plug_cable(addresses)
        entrance = os.fork()
        if entrance == 0:
            _enter(job, addresses)
        _let_go_of_pipes()
        os.waitpid(entrance, 0)
    finally:
        with contextlib.ExitStack() as all_of_it:
            for name in job.bulk:
                all_of_it.callback(shutil.rmtree, job.folder / name, ignore_errors=True)
            all_of_it.callback(remove_node_folders, job.machine_lock)
            all_of_it.callback(remove_leftovers, addresses)


def _enter(job: Job, addresses: Addresses) -> None:
    """Become the entrance: move into new namespaces, fork the node, wait for it, end."""
    _die_with_parent()
    second_version = (CGROUPS / "cgroup.controllers").exists()
    for group in cgroup_folders(addresses.cgroup):
        _join(group, second_version=second_version)
    _unshare(NEW_MOUNTS | NEW_CGROUP | NEW_HOSTNAME | NEW_IPC | NEW_PIDS | NEW_NETWORK)
    if second_version:
        # A group with processes of its own cannot hand its controllers on, so they sit in a leaf.
        leaf = CGROUPS / addresses.cgroup / "node"
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text("0")
        _hand_on_controllers(leaf.parent)
    node = os.fork()
    if node == 0:
        _die_with_parent()
        os._exit(init.run(job.folder))
    _let_go_of_pipes()
    os.waitpid(node, 0)
    os._exit(0)


def _join(group: Path, *, second_version: bool) -> None:
    """Make the group and move into it."""
    if second_version:
        _hand_on_controllers(group.parent)
    group.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        # A new group of version 1 has no processor and no memory, and nothing can run there.
        if not second_version and (group / name).exists():
            (group / name).write_text((group.parent / name).read_text())
    (group / "cgroup.procs").write_text("0")


def _hand_on_controllers(group: Path) -> None:
    """Let the groups below a group of version 2 use all that it may use itself."""
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _let_go_of_pipes() -> None:
    """Leave standard input and output to the node, so that the session sees it end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot make the node's namespaces: {os.strerror(number)}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1])
