"""Keeps a `LocalCluster` equal to a folder of manifests, while people edit it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import watchfiles

import vedette_crds
from vedette_backends.cluster import changeset, files, objects, problems
from vedette_backends.cluster.changeset import KnownFile, ReadFile
from vedette_backends.cluster.files import Found, Listing
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Key
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_crds.load import load_text
from vedette_crds.problems import Problem

_LOGGER = logging.getLogger(__name__)

# A change is applied when the folder was quiet for a step, at the latest after the debounce.
_STEP_MILLISECONDS = 40
_DEBOUNCE_MILLISECONDS = 200
_TICK_MILLISECONDS = 250
_RESCAN_SECONDS = 10.0

# Editors and shells empty a file before they write it: so young and empty, it is still being written.
_EMPTY_FOR_NANOSECONDS = 1_000_000_000
# Two writes within the file system's clock tick leave the same mark.
_YOUNG_NANOSECONDS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one look at the folder came to. `again`: a file was too young to trust; look again soon."""

    read: int = 0
    changed: int = 0
    deleted: int = 0
    problems: int = 0
    again: bool = False


class FolderSync:
    """Applies the manifests of a folder, all changes of one look in one transaction.

    An object stays at its last good version while its file cannot be read or parsed. Files that did not change since
    the last look, also of an earlier process, are not read again.

    Args:
        folder: the root; names of files are told relative to it.
        cluster: what to write to.
        exclude: folders inside that hold no manifests: the data folder.
    """

    def __init__(self, folder: Path, cluster: LocalCluster, *, exclude: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._cluster = cluster
        self._exclude = tuple(exclude)
        self._loader = _loader_digest()

    def sync(self) -> SyncResult:
        """One look: read what changed, write what differs.

        Raises:
            UnavailableError, RefusedError: the database cannot be written; nothing was changed.
        """
        return self._apply(files.look(self._folder, self._exclude))

    def run(self, stop: threading.Event) -> None:
        """Follow the folder until `stop` is set; a change is applied within half a second.

        Failures to write are logged and tried again.
        """
        while not stop.is_set():
            folders = self._try_sync()[1]
            try:
                self._follow(folders, stop)
            except (OSError, RuntimeError) as error:
                # The system has no watches left, or a folder went away meanwhile: look by ourselves for a while.
                _LOGGER.warning("Cannot watch %s (%s); looking every second", self._folder, error)
                stop.wait(1.0)

    def _follow(self, folders: Sequence[Path], stop: threading.Event) -> None:
        """Watch these folders, each by itself, and return when the set of folders changed.

        A recursive watch would wake for every write in the data folder, which lies inside by default.
        """
        watched = set(folders)
        if not watched:
            stop.wait(1.0)
            return
        again = True  # once after the watch is set up: something may have changed before it was
        next_look = time.monotonic() + _RESCAN_SECONDS
        with contextlib.closing(
            watchfiles.watch(
                *sorted(watched),
                watch_filter=None,
                recursive=False,
                step=_STEP_MILLISECONDS,
                debounce=_DEBOUNCE_MILLISECONDS,
                rust_timeout=_TICK_MILLISECONDS,
                yield_on_timeout=True,
                stop_event=stop,
                raise_interrupt=False,
            )
        ) as watch:
            for changes in watch:
                if not (changes or again or time.monotonic() >= next_look):
                    continue
                again, now = self._try_sync()
                next_look = time.monotonic() + _RESCAN_SECONDS
                if set(now) != watched:
                    return

    def _try_sync(self) -> tuple[bool, list[Path]]:
        listing = files.look(self._folder, self._exclude)
        try:
            result = self._apply(listing)
        except (UnavailableError, RefusedError) as error:
            _LOGGER.warning("Cannot apply %s, trying again: %s", self._folder, error)
            return True, listing.folders
        if result.read or result.deleted:
            _LOGGER.info("%s: %s", self._folder, result)
        return result.again, listing.folders

    def _apply(self, listing: Listing) -> SyncResult:
        with self._cluster.reading() as connection:
            known = changeset.known_files(connection, self._loader)
        gone = {name for name in known if name not in listing.files and not listing.may_hold(name)}
        batch, again = self._read_changed(listing, known)
        with self._cluster.writing() as connection:
            before = objects.newest(connection)
            deleted = changeset.apply(connection, batch, gone)
            problems.replace(connection, problems.FOLDER, listing.problems)
            changeset.remember_loader(connection, self._loader)
            return SyncResult(
                read=len(batch),
                changed=objects.newest(connection) - before - deleted,
                deleted=deleted,
                problems=problems.count(connection),
                again=again,
            )

    def _read_changed(self, listing: Listing, known: Mapping[str, KnownFile]) -> tuple[list[ReadFile], bool]:
        now = time.time_ns()
        batch = []
        again = False
        for name, found in sorted(listing.files.items()):
            before = known.get(name)
            if before is not None and before.settled and before.mark == found.mark:
                continue
            if not found.size and before is not None and 0 <= now - found.modified < _EMPTY_FOR_NANOSECONDS:
                again = True
                continue
            # A mark that no file has makes the next look read it again.
            young = now - found.modified < _YOUNG_NANOSECONDS
            batch.append(_read(found, "" if young else found.mark, before))
        return batch, again


def _read(found: Found, mark: str, before: KnownFile | None) -> ReadFile:
    try:
        data = files.read(found)
    except OSError as error:
        problem = Problem(
            f"cannot be read: {error.strerror}", file=found.name, hint="what it held before stays in force"
        )
        return ReadFile(found.name, "", "", problems=[problem])
    digest = files.digest(data)
    if before is not None and before.settled and before.digest == digest:
        return ReadFile(found.name, mark, digest, same=True)
    try:
        loaded = load_text(data, found.name)
    except Exception as error:  # a fault of ours with one file must not stop the others
        _LOGGER.exception("Cannot load %s", found.name)
        message = f"cannot be understood: {type(error).__name__}: {error}"
        return ReadFile(found.name, mark, digest, problems=[Problem(message, file=found.name)])
    read = ReadFile(found.name, mark, digest, problems=list(loaded.problems))
    for document in loaded.documents:
        read.add(Key(document.kind, document.namespace, document.name), document.manifest, document.line)
    return read


def _loader_digest() -> str:
    """Names the loader: what a newer program finds wrong, or right, is found without an edit."""
    sources = sorted(
        (entry.name, entry.read_bytes())
        for entry in resources.files(vedette_crds).iterdir()
        if entry.name.endswith(".py")
    )
    return files.digest(b"".join(name.encode() + content for name, content in sources))
