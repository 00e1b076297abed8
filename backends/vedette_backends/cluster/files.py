"""Finding a folder's manifests: which files count, and everything hostile that a folder can hold."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vedette_crds.problems import Problem

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_FILES = 20_000
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest file. `mark` changes whenever its content may have changed."""

    path: Path
    name: str
    mark: str
    size: int
    modified: int


@dataclass(slots=True)
class Listing:
    """What a look at the folder found.

    Attributes:
        files: by name relative to the folder, with `/`.
        folders: every folder that was looked into.
        problems: what could not be looked at, or does not count.
        unseen: names (of files, or of folders and what is in them) that may still hold what they held.
    """

    files: dict[str, Found] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)

    def may_hold(self, name: str) -> bool:
        """Whether the file of this name could not be seen, rather than being gone."""
        parts = name.split("/")
        return "" in self.unseen or any("/".join(parts[:end]) in self.unseen for end in range(1, len(parts) + 1))

    def report(self, name: str, message: str, hint: str = "what it held before stays in force") -> None:
        """Note a problem with a file or folder that was not looked into."""
        self.problems.append(Problem(message, file=name, hint=hint))
        self.unseen.add(name)


def look(root: Path, exclude: Sequence[Path] = ()) -> Listing:
    """Every manifest file below `root`.

    Names that begin with a dot are passed over, and so are the folders `exclude`. Folders are not entered through
    symbolic links, so there is no way round in circles; a linked file counts when it lies inside `root`, as in a
    mounted ConfigMap.
    """
    listing = Listing()
    outside = {path.resolve() for path in exclude}
    real = root.resolve()
    pending = [(real, "", 0)]
    while pending:
        folder, prefix, depth = pending.pop()
        if folder in outside:
            continue
        try:
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            listing.report(prefix.rstrip("/"), f"cannot be read: {error.strerror}")
            continue
        listing.folders.append(folder)
        for entry in here:
            if entry.name.startswith("."):
                continue
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if depth + 1 > MAX_DEPTH:
                    listing.report(_printable(name), f"folders are nested deeper than {MAX_DEPTH}")
                else:
                    pending.append((folder / entry.name, name + "/", depth + 1))
            elif entry.name.lower().endswith(SUFFIXES):
                _add(listing, entry, name, real)
    return listing


def _add(listing: Listing, entry: os.DirEntry[str], name: str, root: Path) -> None:
    if not name.isprintable():
        shown = _printable(name)
        listing.report(shown, "the name of the file holds control characters or is not UTF-8", "rename it")
        return
    if len(listing.files) >= MAX_FILES:
        listing.report("", f"the folder holds more than {MAX_FILES} manifest files; the others are not read")
        return
    try:
        if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(root):
            listing.report(name, "the link points outside the folder", "copy the file into the folder")
            return
        facts = entry.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = error.strerror if isinstance(error, OSError) else "links lead in a circle"
        listing.report(name, f"cannot be read: {reason}")
        return
    if not stat.S_ISREG(facts.st_mode):
        listing.report(name, "is not a regular file")
        return
    mark = f"{facts.st_size}.{facts.st_mtime_ns}.{facts.st_ctime_ns}.{facts.st_ino}.{facts.st_dev}"
    listing.files[name] = Found(Path(entry.path), name, mark, facts.st_size, facts.st_mtime_ns)


def read(found: Found) -> bytes:
    """The file's content. OSError when it cannot be read, or is larger than a manifest may be (EFBIG)."""
    # Not blocking: it may have become a pipe that nobody writes to.
    handle = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(None, "is not a regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise OSError(None, f"it is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    return data


def _printable(name: str) -> str:
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def digest(data: bytes) -> str:
    """Names a content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
