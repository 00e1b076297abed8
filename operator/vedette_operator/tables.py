"""The files that enrichments read: ConfigMaps, files of a claim, files beside the manifests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from vedette_crds.problems import Problem

MAX_TABLE = 512 << 20


class Configs(Protocol):
    """Where ConfigMaps are found: a cluster, or the documents of a folder."""

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value of a ConfigMap."""


class Tables:
    """Finds tables. `claims`: folder with one folder per claim; `folder`: the manifests'."""

    on_workers = False
    """Whether only workers can read volumes."""

    def __init__(self, configs: Configs, claims: Path, folder: Path) -> None:
        self._configs = configs
        self._claims = claims
        self._folder = folder

    def read(self, namespace: str, reference: Mapping[str, Any], path: str) -> bytes | Problem:
        """Content of the table that `reference` (as in a manifest) names, or why it cannot be had."""
        if (config := reference.get("configMap")) is not None:
            found = self._configs.config(namespace, config["name"], config["key"])
            return (
                found if found is not None else _missing(f"ConfigMap {config['name']} with key {config['key']}", path)
            )
        file = self.file(reference)
        if file is None:
            return Problem("the file lies outside its folder", path=path, hint="copy it there; links do not lead out")
        try:
            if file.exists() and not file.is_file():
                return Problem(f"{file} is not a file", path=path, hint="put the file there")
            if file.stat().st_size > MAX_TABLE:
                return Problem(f"{file.name} is larger than {MAX_TABLE >> 20} MiB", path=path)
            return file.read_bytes()
        except OSError as error:
            return Problem(f"{file} cannot be read: {error.strerror}", path=path, hint="put the file there")

    def file(self, reference: Mapping[str, Any]) -> Path | None:
        """The file behind a reference; None for those that are no files, or that lead out of their folder."""
        if (claim := reference.get("pvc")) is not None:
            return _inside(self._claims / claim["claimName"], claim["path"])
        if (name := reference.get("file")) is not None:
            return _inside(self._folder, name)
        return None

    def stamp(self, _namespace: str, reference: Mapping[str, Any]) -> object:
        """Changes when the table may have; None when there is no file. ConfigMaps of a folder tell by themselves."""
        file = self.file(reference)
        try:
            state = file.stat() if file else None
        except OSError:
            return None
        return (state.st_mtime_ns, state.st_size) if state else None


class ClusterTables(Tables):
    """Finds tables in a cluster: ConfigMaps, read again after `age` seconds. Volumes are left to the workers."""

    on_workers = True

    def __init__(self, configs: Configs, *, age: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(configs, Path("/"), Path("/"))
        self._age = age
        self._clock = clock
        self._stamps: dict[tuple[str, str, str], tuple[float, object]] = {}

    def read(self, namespace: str, reference: Mapping[str, Any], path: str) -> bytes | Problem:
        """Content of a ConfigMap's key."""
        if "configMap" not in reference:
            hint = "put it into a ConfigMap or onto a volume"
            return Problem("files beside the manifests exist under `vedette up` only", path=path, hint=hint)
        return super().read(namespace, reference, path)

    def stamp(self, namespace: str, reference: Mapping[str, Any]) -> object:
        """Changes when the ConfigMap's key does; the workers look after volumes."""
        config = reference.get("configMap")
        if config is None:
            return None
        place = (namespace, config["name"], config["key"])
        until, known = self._stamps.get(place, (0.0, None))
        if self._clock() >= until:
            content = self._configs.config(*place)
            known = None if content is None else sha256(content).digest()
            self._stamps[place] = (self._clock() + self._age, known)
        return known


def _inside(folder: Path, name: str) -> Path | None:
    file = (folder / name).resolve()
    return file if file.is_relative_to(folder.resolve()) else None


def _missing(what: str, path: str) -> Problem:
    return Problem(f"{what} does not exist", path=path)
