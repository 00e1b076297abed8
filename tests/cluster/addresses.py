"""The addresses of one node: everything follows from a number, so that two nodes on one machine never collide."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

RANGE = IPv4Network("10.77.0.0/16")
NUMBERS = range(16)


@dataclass(frozen=True, slots=True)
class Addresses:
    """A twentieth-bit slice of RANGE: a link between machine and node, the Services, the pods."""

    number: int

    @property
    def all(self) -> IPv4Network:
        """The whole slice."""
        return list(RANGE.subnets(new_prefix=20))[self.number]

    @property
    def link(self) -> IPv4Network:
        """Two addresses: the machine's and the node's."""
        return next(self.all.subnets(new_prefix=30))

    @property
    def machine(self) -> IPv4Address:
        """Where pods reach servers that run on the machine itself."""
        return self.link[1]

    @property
    def node(self) -> IPv4Address:
        """The node; its API server listens here."""
        return self.link[2]

    @property
    def services(self) -> IPv4Network:
        """Cluster IPs."""
        return list(self.all.subnets(new_prefix=22))[1]

    @property
    def api(self) -> IPv4Address:
        """The cluster IP of the Service `kubernetes`: always the first."""
        return self.services[1]

    @property
    def dns(self) -> IPv4Address:
        """The cluster IP of the cluster's DNS."""
        return self.services[10]

    @property
    def pods(self) -> IPv4Network:
        """One node's pods."""
        return IPv4Network((self.all[2048], 24))

    @property
    def machine_link(self) -> str:
        """The machine's end of the cable; names of interfaces have at most 15 characters."""
        return f"vedette{self.number}"

    @property
    def node_link(self) -> str:
        """The node's end, before it is moved into the node and called eth0."""
        return f"vedette{self.number}n"

    @property
    def cgroup(self) -> str:
        """The node's own control group, below the root of each hierarchy."""
        return f"vedette-node-{self.number}"

    def collide(self, routes: Iterable[str]) -> bool:
        """Whether the machine already routes part of the slice elsewhere. `routes`: what `ip -4 route` prints."""
        return any(ipaddress.ip_network(route).overlaps(self.all) for route in routes if route != "default")
