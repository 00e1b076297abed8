"""Process 1 of a node: mounts what the kubelet expects, starts and signals the programs that the session names.

Commands come as JSON, one per line, and are answered by one line each; what they mean stands at `Node`'s methods, the
user. When standard input ends, so does this process, and the kernel ends everything else on the node.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster.slot import CGROUPS, NODE_FOLDERS

HOSTNAME = "node1"

# sys/mount.h
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 0x4_0000, 0x10_0000

SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""The kubelet sets these for the whole machine. It is shown files that hold the values already."""


def run(folder: Path) -> int:
    """Serve until the session ends; the exit code says whether the node could be set up."""
    outside = Path("/proc/self").readlink()  # this is still the machine's /proc
    try:
        _mount_all(folder)
        _tell({"pid": int(outside.name)})
        Init().serve()
    except Exception:  # noqa: BLE001 # the last thing a node can do is to say why
        (folder / "log" / "init.log").write_text(traceback.format_exc())
        return 1
    return 0


class Init:
    """The programs of the node by name: their process ids, how they ended, their command lines."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[list[str], str, dict[str, str]]] = {}
        self._pids: dict[str, int] = {}
        self._ends: dict[int, int] = {}
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "connect": _connect,
            "start": self._start,
            "status": self._status,
            "signal": self._signal,
            "freeze": self._freeze,
            "thaw": self._thaw,
        }

    def serve(self) -> None:
        """Answer commands and collect children, until standard input ends."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        waiting = b""
        while True:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
            self._collect()
            if 0 in ready:
                read = os.read(0, 65536)
                if not read:
                    return
                *lines, waiting = (waiting + read).split(b"\n")
                for line in lines:
                    _tell(self._answer(json.loads(line)))

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._commands[command["do"]](command)
        except (OSError, LookupError, subprocess.SubprocessError) as error:
            return {"error": f"{command}: {error!r}"}
        return answer

    def _start(self, told: dict[str, Any]) -> dict[str, Any]:
        """Start the program `name`: with `command`, `log` and `environment` for the first time, then as it was."""
        name: str = told["name"]
        if "command" in told:
            self._lines[name] = (told["command"], told["log"], told["environment"])
        line, log, environment = self._lines[name]
        pid = os.posix_spawnp(
            line[0],
            line,
            os.environ | environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._ends.pop(pid, None)
        self._pids[name] = pid
        return {"pid": pid}

    def _status(self, told: dict[str, Any]) -> dict[str, Any]:
        """How the program `name` ended: exit code, negative for a signal, or None while it runs."""
        return {"end": self._ends.get(self._pids[told["name"]])}

    def _signal(self, told: dict[str, Any]) -> dict[str, Any]:
        """Send the signal `number` to the program `name`; nothing if it has ended."""
        pid = self._pids[told["name"]]
        if pid not in self._ends:
            os.kill(pid, told["number"])
        return {}

    def _freeze(self, told: dict[str, Any]) -> dict[str, Any]:
        """Stop every process of the node, pods included, but not those of the programs `spared`."""
        keep = {1} | {self._pids[name] for name in told["spared"] if name in self._pids}
        # A process may fork while we go through them: until a round finds nothing that still runs.
        while running := [pid for pid in _processes() if pid not in keep and _state(pid) not in "TtZX"]:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        return {}

    def _thaw(self, _: dict[str, Any]) -> dict[str, Any]:
        """Let every process go on."""
        os.kill(-1, signal.SIGCONT)
        return {}

    def _collect(self) -> None:
        """Reap all children that have ended: the programs, and orphans of the whole node."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._pids.values():
                self._ends[pid] = os.waitstatus_to_exitcode(status)


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def _connect(told: dict[str, Any]) -> dict[str, Any]:
    """Set up the network, once the session has put our end of the link here as eth0."""
    for line in (
        "link set lo up",
        f"address add {told['address']} dev eth0",
        "link set eth0 up",
        f"route add default via {told['gateway']}",
    ):
        subprocess.run(["ip", *line.split()], check=True, capture_output=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    through_firewall = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if through_firewall.exists():
        through_firewall.write_text("1")
    return {}


def _mount_all(folder: Path) -> None:
    socket.sethostname(HOSTNAME)
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    memberships = Path("/proc/self/cgroup").read_text().splitlines()
    second_version = (CGROUPS / "cgroup.controllers").exists()
    _mount("proc", "/proc", "proc")
    _mount("sysfs", "/sys", "sysfs")
    if second_version:
        _mount("cgroup2", str(CGROUPS), "cgroup2")
    else:
        _mount_first_version(memberships)
    _mount("tmpfs", "/run", "tmpfs", data="mode=755")
    Path("/run/lock").mkdir()
    own = folder / "mounts"
    for path in (Path("/var/log"), *NODE_FOLDERS):
        (own / path.name).mkdir(parents=True, exist_ok=True)
        _mount(str(own / path.name), str(path), flags=MS_BIND)
    shown = Path("/run/sysctl")
    shown.mkdir()
    for name, value in SYSCTLS.items():
        target = Path("/proc/sys") / name
        if target.exists():
            (shown / target.name).write_text(value + "\n")
            _mount(str(shown / target.name), str(target), flags=MS_BIND)
    # Mounts that the kubelet makes have to show in containers.
    _mount("none", "/", flags=MS_REC | MS_SHARED)


def _mount_first_version(memberships: list[str]) -> None:
    """The hierarchies that the machine has, each rooted at the node's own group."""
    _mount("cgroup", str(CGROUPS), "tmpfs", data="mode=755")
    for membership in memberships:
        names = membership.split(":")[1]
        if not names:
            continue
        folder = CGROUPS / names.removeprefix("name=")
        folder.mkdir()
        _mount("cgroup", str(folder), "cgroup", data=names)
        for name in names.split(","):
            if "," in names:
                (CGROUPS / name).symlink_to(folder.name)


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    done = ctypes.CDLL(None, use_errno=True).mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    if done:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {source} on {target}: {os.strerror(number)}")


def _tell(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")
