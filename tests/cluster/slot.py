"""Which numbers are taken: a lock per node, held by the process that cleans up behind it.

The kernel drops a lock when its holder dies, however that happens; whoever takes the number next removes what was left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cluster.addresses import NUMBERS, Addresses

LOCKS = Path("/run/vedette-cluster")
CGROUPS = Path("/sys/fs/cgroup")
NODE_FOLDERS = (Path("/var/lib/kubelet"), Path("/var/lib/cni"))
"""Paths that are compiled into the kubelet and the CNI library; the node mounts its own folders over them."""


class NoSlotError(Exception):
    """All numbers are taken, or their addresses are used for something else."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A number that is ours while `locks` (file descriptors) are open in some process."""

    addresses: Addresses
    locks: tuple[int, int]

    def __enter__(self) -> Self:
        """Nothing to do: `take_slot` has done it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give it up in this process; a child that inherited the descriptors keeps it."""
        for lock in self.locks:
            os.close(lock)


def take_slot() -> Slot:
    """The first free number.

    Raises:
        NoSlotError: there is none.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    machine = _open(LOCKS / "machine")
    fcntl.flock(machine, fcntl.LOCK_SH)
    for number in NUMBERS:
        addresses = Addresses(number)
        own = _open(LOCKS / str(number))
        if _try(own):
            remove_leftovers(addresses)
            if not addresses.collide(_routes()):
                return Slot(addresses, (own, machine))
        os.close(own)
    os.close(machine)
    raise NoSlotError("no addresses for another node: all are taken by other nodes or routed elsewhere (ip route)")


def plug_cable(addresses: Addresses) -> None:
    """Make both ends of the link; the machine can listen on its address from now on."""
    _ip("link", "add", addresses.machine_link, "type", "veth", "peer", "name", addresses.node_link)
    _ip("address", "add", f"{addresses.machine}/{addresses.link.prefixlen}", "dev", addresses.machine_link)
    _ip("link", "set", addresses.machine_link, "up")
    for network in (addresses.pods, addresses.services):
        _ip("route", "replace", str(network), "via", str(addresses.node))


def remove_leftovers(addresses: Addresses) -> None:
    """Remove what a node with this number may have left on the machine: its link and its control groups."""
    link = Path("/sys/class/net") / addresses.machine_link
    if link.exists():
        try:
            _ip("link", "delete", addresses.machine_link)
        except OSError:
            # The kernel takes it away by itself, some time after the node's last process has ended.
            if link.exists():
                raise
    for group in cgroup_folders(addresses.cgroup):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).rmdir()


def remove_node_folders(machine_lock: int) -> None:
    """Remove the empty folders that nodes mount over, unless another node runs: it would lose its mount."""
    if _try(machine_lock):
        for folder in NODE_FOLDERS:
            with contextlib.suppress(OSError):
                folder.rmdir()


def cgroup_folders(name: str) -> Iterator[Path]:
    """Where a control group of this name is or would be: once in version 2, in each hierarchy of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS / name
        return
    for hierarchy in cgroup_hierarchies():
        yield CGROUPS / hierarchy / name


def cgroup_hierarchies() -> list[str]:
    """The mounted hierarchies of version 1, by the names of their folders, such as `memory` or `cpu,cpuacct`."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [mount[1].rsplit("/", 1)[1] for mount in mounts if mount[2] == "cgroup"]


def _routes() -> list[str]:
    return [route["dst"] for route in json.loads(_ip("-json", "-4", "route") or "[]")]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
