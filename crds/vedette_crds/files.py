"""The manifest files of a folder, read within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vedette_crds.problems import Problem

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_DEPTH = 20
MAX_FILES = 20_000


class Entry(NamedTuple):
    """A file: its name as the user would write it, and its bytes or why they cannot be had."""

    name: str
    content: bytes | Problem


def read_entries(path: Path, max_bytes: int) -> Iterator[Entry]:
    """The file, or all manifests below the folder in the order of their names."""
    if not path.exists():
        yield Entry(str(path), Problem("there is no such file or folder", file=str(path)))
    elif path.is_dir():
        for count, found in enumerate(_walk(path)):
            if isinstance(found, Problem):
                yield Entry(found.file, found)
            elif count == MAX_FILES:
                hint = "give several folders instead"
                yield Entry(
                    str(path), Problem(f"the folder has more than {MAX_FILES:,} files", file=str(path), hint=hint)
                )
                return
            else:
                yield Entry(str(found), _read(found, max_bytes))
    else:
        yield Entry(str(path), _read(path, max_bytes))


def _walk(root: Path) -> Iterator[Path | Problem]:
    real_root = root.resolve()
    failed: list[Problem] = []

    def on_error(error: OSError) -> None:
        name = str(error.filename)
        failed.append(Problem(f"the folder cannot be read: {error.strerror}", file=name))

    for folder, folders, files in os.walk(root, onerror=on_error):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(here.relative_to(root).parts) >= MAX_DEPTH and folders:
            yield Problem(f"folders are nested more than {MAX_DEPTH} deep; what lies deeper is not read", file=folder)
            folders.clear()
        for name in sorted(files):
            file = here / name
            if not name.startswith(".") and file.suffix in SUFFIXES and _is_inside(file, real_root):
                yield file
    yield from failed


def _is_inside(file: Path, root: Path) -> bool:
    """Whether a link stays in the folder; a link elsewhere could make secrets of the machine appear in messages."""
    return not file.is_symlink() or file.resolve().is_relative_to(root)


def _read(file: Path, max_bytes: int) -> bytes | Problem:
    try:
        if not file.is_file():
            return Problem("this is not an ordinary file", file=str(file))
        with file.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        return Problem(f"the file cannot be read: {error.strerror}", file=str(file))
    if len(content) > max_bytes:
        hint = f"at most {max_bytes:,} bytes: split it"
        return Problem("the file is too large", file=str(file), hint=hint)
    return content
