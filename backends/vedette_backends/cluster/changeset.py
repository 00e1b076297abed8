"""What the files of a folder, read anew, do to the objects: decided and written inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from vedette_backends.cluster import objects, problems
from vedette_backends.cluster.protocol import Key
from vedette_backends.errors import RefusedError
from vedette_crds.problems import Problem

MANAGER = "folder"

# Where the loader cuts the name of an object in its problems.
_TITLE_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was read last."""

    mark: str
    digest: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document of a file."""

    manifest: Mapping[str, Any]
    line: int | None


@dataclass(slots=True)
class ReadFile:
    """A file that was read again. `same`: its content is what it was; only the mark is new."""

    name: str
    mark: str
    digest: str
    same: bool = False
    problems: list[Problem] = field(default_factory=list)
    wanted: dict[Key, Wanted] = field(default_factory=dict)
    settled: bool = True

    def add(self, key: Key, manifest: Mapping[str, Any], line: int | None) -> None:
        """A document that was understood."""
        if key in self.wanted:
            first = self.wanted[key].line
            self.problems.append(
                Problem(f"the object is in this file twice, first in line {first}", str(key), file=self.name, line=line)
            )
        else:
            self.wanted[key] = Wanted(manifest, line)

    def may_hold(self, key: Key) -> bool:
        """Whether an object that is missing from what was understood may be in what was not.

        A problem names its object as far as that could be read: wholly, by its kind, or not at all.
        """
        names = {"", key.kind, str(key)[:_TITLE_CHARACTERS]}
        return any(problem.object in names for problem in self.problems)


def known_files(connection: sqlite3.Connection, loader: str) -> dict[str, KnownFile]:
    """Every file with objects or problems; none is settled when another loader read them."""
    row = connection.execute("SELECT value FROM setting WHERE name = 'loader'").fetchone()
    same_loader = row is not None and row[0] == loader
    rows = connection.execute("SELECT path, mark, digest, settled FROM file").fetchall()
    return {path: KnownFile(mark, digest, bool(settled) and same_loader) for path, mark, digest, settled in rows}


def remember_loader(connection: sqlite3.Connection, loader: str) -> None:
    """What `known_files` compares with."""
    connection.execute(
        "INSERT INTO setting VALUES ('loader', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        " WHERE value != excluded.value",
        (loader,),
    )


def apply(connection: sqlite3.Connection, batch: Sequence[ReadFile], gone: AbstractSet[str]) -> int:
    """Write what the files say; returns how many objects were deleted.

    An object belongs to the file that held it first, as long as that file has it. A document that moved to another file
    in the same batch stays the same object.
    """
    anew = {read.name: read for read in batch if not read.same}
    deleted = _Objects(connection, anew, gone).settle() if anew or gone else 0
    for read in batch:
        connection.execute(
            "INSERT INTO file VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE"
            " SET mark = excluded.mark, digest = excluded.digest, settled = excluded.settled"
            " WHERE (mark, digest, settled) != (excluded.mark, excluded.digest, excluded.settled)",
            (read.name, read.mark, read.digest, read.settled),
        )
        if not read.same:
            problems.replace(connection, problems.FILE, read.problems, file=read.name)
    for name in gone:
        connection.execute("DELETE FROM file WHERE path = ?", (name,))
        problems.replace(connection, problems.FILE, [], file=name)
    return deleted


class _Objects:
    """Whose is which object, before and after a batch."""

    def __init__(self, connection: sqlite3.Connection, anew: Mapping[str, ReadFile], gone: AbstractSet[str]) -> None:
        self._connection = connection
        self._anew = anew
        self._gone = gone
        rows = connection.execute("SELECT kind, namespace, name, file FROM object")
        self._holders: dict[Key, str | None] = {Key(*row[:3]): row[3] for row in rows}
        # Who held it and still has it goes first.
        self._claimed = {
            key: holder
            for key, holder in self._holders.items()
            if holder is not None and holder in anew and key in anew[holder].wanted
        }

    def settle(self) -> int:
        """Write and delete; returns how many were deleted."""
        for read in self._anew.values():
            for key, wanted in read.wanted.items():
                if refusal := self._refusal(key, read.name):
                    # It takes effect when the other one goes, without an edit here.
                    read.settled = False
                else:
                    self._claimed[key] = read.name
                    refusal = self._write(wanted, read.name)
                if refusal:
                    message, hint = refusal
                    read.problems.append(Problem(message, str(key), hint=hint, file=read.name, line=wanted.line))
        return self._delete()

    def _refusal(self, key: Key, name: str) -> tuple[str, str] | None:
        """Why this file's document cannot take effect, and what to do; None when it can."""
        other = self._claimed.get(key, name)
        if other == name and key in self._holders:
            holder = self._holders[key]
            if holder is None:
                message = "an object of this name was made by the program, and that one is in force"
                return message, "choose another name"
            if holder not in self._gone and holder not in self._anew:
                other = holder
        return None if other == name else (f"the object is in {other} as well, and that one is in force", "remove one")

    def _write(self, wanted: Wanted, name: str) -> tuple[str, str] | None:
        try:
            objects.write(self._connection, wanted.manifest, manager=MANAGER, file=name, line=wanted.line)
        except RefusedError as error:
            return f"cannot be kept: {error}", "what was there before stays in force"
        return None

    def _delete(self) -> int:
        deleted = 0
        for key, holder in self._holders.items():
            if holder is None or key in self._claimed:
                continue
            if holder in self._gone or (holder in self._anew and not self._anew[holder].may_hold(key)):
                objects.remove(self._connection, key)
                deleted += 1
        return deleted
