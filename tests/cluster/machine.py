"""What a machine needs for a node, and how to say that it lacks something."""

from __future__ import annotations

import os
import shutil
import sys

from tests.cluster.tools.build import missing_tools, tools_folder

NEEDED = {
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "mount": "mount",
}
"""Commands that the node runs, and Debian's package of each."""
PATH = ":/usr/local/sbin:/usr/sbin:/sbin"
"""Where such commands are; a user's own path seldom says so."""


class NodeError(Exception):
    """The node, or something that was asked of it, failed; the message says where to look."""


def missing() -> list[str]:
    """What this machine lacks for a node, each with what to do; empty when there is nothing."""
    found = missing_commands()
    if programs := missing_tools(tools_folder()):
        found.append(f"not built yet: {', '.join(programs)}: run scripts/cluster-tools")
    return found


def missing_commands() -> list[str]:
    """The same without the programs that scripts/cluster-tools builds."""
    if sys.platform != "linux":
        return ["a node needs Linux"]
    found = []
    if os.geteuid() != 0:
        found.append("a node needs root (namespaces, mounts, control groups)")
    for command, package in NEEDED.items():
        if which(command) is None:
            found.append(f"the command {command} is missing: apt-get install {package}")
    return found


def which(command: str) -> str | None:
    """Where the machine has a command."""
    return shutil.which(command, path=os.environ.get("PATH", "") + PATH)
