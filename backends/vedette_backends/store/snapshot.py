"""A consistent copy of a namespace's store, and the way back.

The caller holds the writer's lock, so no commit happens in between; segment files never change once they are written,
so they can be copied while merges go on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from vedette_backends.errors import NotFoundError, RefusedError, UnavailableError
from vedette_backends.store.sqlite import Database

_DATABASE: Final = "state.db"
_EVENTS: Final = "events"
_BLOBS: Final = "blobs"
_COMPLETE: Final = "complete"
_ATTEMPTS: Final = 5


def write_snapshot(source: Path, target: Path, database: Database) -> None:
    """Copy the store in `source` into the empty folder `target`.

    Raises:
        RefusedError: `target` holds something.
        UnavailableError: it cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise RefusedError(f"{target} is not empty")
        database.copy_to(target / _DATABASE)
        for partition in sorted((source / _EVENTS).glob("*/*/")):
            if not partition.name.startswith("."):
                _copy_index(partition, target / _EVENTS / partition.parent.name / partition.name)
        if (source / _BLOBS).is_dir():
            shutil.copytree(source / _BLOBS, target / _BLOBS, ignore=shutil.ignore_patterns(".new-*"))
        (target / _COMPLETE).touch()
    except OSError as error:
        raise UnavailableError(f"the snapshot {target} cannot be written: {error}") from error


def _copy_index(source: Path, target: Path) -> None:
    """Copy one partition. A merge that ends meanwhile removes files that were listed: then the listing is repeated."""
    for attempt in range(_ATTEMPTS):
        try:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.lock", "*.new"))
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(target, ignore_errors=True)
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def restore_snapshot(source: Path, target: Path) -> None:
    """Make `target`, which must not exist or be empty, the store that `source` is a snapshot of.

    Raises:
        NotFoundError: `source` is no complete snapshot.
        RefusedError: `target` holds something.
    """
    if not (source / _COMPLETE).exists():
        raise NotFoundError(f"{source} is not a complete snapshot")
    try:
        if target.exists() and any(target.iterdir()):
            raise RefusedError(f"{target} is not empty: restore into a new folder")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_COMPLETE))
    except OSError as error:
        raise UnavailableError(f"{target} cannot be written: {error}") from error
