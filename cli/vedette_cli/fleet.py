"""Which workers `vedette up` keeps running, and where they listen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vedette_backends.workloads.protocol import Workload
from vedette_cli.data import Data


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the pages are served and where events are taken."""

    host: str
    port: int
    ingest_port: int

    @property
    def pages(self) -> str:
        """URL of the pages."""
        return f"http://{self._name}:{self.port}"

    @property
    def ingest(self) -> str:
        """URL of the gateway."""
        return f"http://{self._name}:{self.ingest_port}"

    @property
    def _name(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def wanted(
    data: Data, addresses: Addresses, namespaces: Iterable[str], searching: Iterable[str] = ()
) -> list[Workload]:
    """One gateway, one web UI, one pipeline per namespace, one responder for all namespaces.

    Args:
        data: the data folder.
        addresses: where to listen.
        namespaces: all of them.
        searching: those with scheduled searches; one scheduler serves them.
    """
    folder = ["--data", str(data.root)]
    listen = ["--host", addresses.host, "--port"]
    names = sorted(set(namespaces))
    served, searched = _options(names), _options(sorted(set(searching)))
    return [
        *(
            Workload(f"pipeline-{namespace}", ["worker", "pipeline", *folder, "--namespace", namespace])
            for namespace in names
        ),
        *([Workload("responder", ["worker", "responder", *folder, *served])] if served else []),
        *([Workload("scheduler", ["worker", "scheduler", *folder, *searched])] if searched else []),
        Workload("gateway", ["worker", "gateway", *folder, *listen, str(addresses.ingest_port)]),
        Workload("web", ["worker", "web", *folder, *listen, str(addresses.port)]),
    ]


def _options(namespaces: Iterable[str]) -> list[str]:
    return [argument for namespace in namespaces for argument in ("--namespace", namespace)]
