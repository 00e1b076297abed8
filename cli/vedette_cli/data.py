"""The data folder of the embedded mode: what is where in it, and how to open it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from vedette_backends.broker.embedded import EmbeddedBroker
    from vedette_backends.cluster.local import LocalCluster
    from vedette_backends.store.embedded import EmbeddedStore


DEFAULT_NAME = ".vedette"
UI_TOKEN = "ui-token"  # noqa: S105 # the name of a file
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Data:
    """Paths below one data folder (DESIGN §1, embedded)."""

    root: Path

    @property
    def cluster_file(self) -> Path:
        """Objects and their statuses."""
        return self.root / "cluster.db"

    @property
    def run(self) -> Path:
        """What belongs to the running processes: pids, the gateway's sources, addresses."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of the workers."""
        return self.root / "logs"

    @property
    def claims(self) -> Path:
        """One folder per PersistentVolumeClaim that manifests name."""
        return self.root / "pvc"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return self.root / "cache"

    @property
    def gateway_file(self) -> Path:
        """Which token stands for which source, as hashes."""
        return self.run / "gateway.json"

    def space(self, namespace: str) -> Path:
        """Everything of one namespace."""
        return self.root / "ns" / namespace

    def namespaces(self) -> list[str]:
        """Namespaces that have data."""
        folder = self.root / "ns"
        return sorted(item.name for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []

    def store(self, namespace: str, *, writer: bool = False) -> EmbeddedStore:
        """The store of a namespace."""
        from vedette_backends.store.embedded import open_store  # the gateway needs no store

        return open_store(self.space(namespace), writer=writer)

    def broker(self, namespace: str) -> EmbeddedBroker:
        """The broker of a namespace."""
        from vedette_backends.broker.embedded import open_broker  # not every command needs one

        return open_broker(self.space(namespace))

    def cluster(self) -> LocalCluster:
        """The objects."""
        from vedette_backends.cluster.local import LocalCluster  # workers need none

        return LocalCluster(self.cluster_file)

    def lock(self) -> int:
        """Take the folder for one supervisor; raises click.ClickException when another has it.

        The lock is the process's: the kernel gives it back however the process ends.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise click.ClickException(f"another vedette runs on {self.root}; stop it, or choose --data") from None
        return handle

    def secret(self, name: str) -> str:
        """A random text that stays the same for this data folder; only its owner may read the file."""
        file = self.run / name
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            # Whole or not at all: a crash must not leave an empty secret behind, nor two processes read two.
            handle, made = tempfile.mkstemp(dir=self.run, prefix=f".{name}-")
            with os.fdopen(handle, "w") as out:
                out.write(secrets.token_urlsafe(32) + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(made, file)
            Path(made).unlink()
        found = file.read_text().strip()
        if not found:
            raise click.ClickException(f"{file} is empty; remove it, and a new secret is made")
        return found


def data_of(folder: Path | None, data: Path | None) -> Data:
    """The data folder that a command means; raises click.UsageError when there is none yet."""
    root = data or ((folder or Path()) / DEFAULT_NAME)
    if not (root / "cluster.db").exists():
        raise click.UsageError(f"{root} is no data folder; start `vedette up` first, or name it with --data")
    return Data(root.resolve())


def per_namespace(make: Callable[[str], T]) -> Callable[[str], T]:
    """`make`, called once per namespace."""
    made: dict[str, T] = {}

    def get(namespace: str) -> T:
        if namespace not in made:
            made[namespace] = make(namespace)
        return made[namespace]

    return get
