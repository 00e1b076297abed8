"""The table of what is wrong in a folder's files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict

from vedette_crds.problems import Problem

FOLDER = "folder"
FILE = "file"

# A file can be wrong in every line; people mend the first ones first.
MAX_PER_FILE = 200


def read(connection: sqlite3.Connection) -> list[Problem]:
    """All problems, by file and line."""
    rows = connection.execute("SELECT body FROM problem ORDER BY file, part, position").fetchall()
    return [Problem(**json.loads(row[0])) for row in rows]


def count(connection: sqlite3.Connection) -> int:
    """How many there are."""
    number: int = connection.execute("SELECT count(*) FROM problem").fetchone()[0]
    return number


def replace(connection: sqlite3.Connection, part: str, problems: Iterable[Problem], *, file: str | None = None) -> None:
    """Inside a transaction: these instead of what the part (of one file, if given) had; writes only a difference."""
    wanted = list(_rows(problems))
    where = (part, file, file)
    current = connection.execute(
        "SELECT file, position, body FROM problem WHERE part = ? AND (? IS NULL OR file = ?) ORDER BY file, position",
        where,
    ).fetchall()
    if current == sorted(wanted):
        return
    connection.execute("DELETE FROM problem WHERE part = ? AND (? IS NULL OR file = ?)", where)
    connection.executemany("INSERT INTO problem VALUES (?, ?, ?, ?)", [(part, *row) for row in wanted])


def _rows(problems: Iterable[Problem]) -> Iterable[tuple[str, int, str]]:
    by_file: dict[str, list[Problem]] = {}
    for problem in problems:
        by_file.setdefault(problem.file, []).append(problem)
    for file, found in by_file.items():
        shown = sorted(found, key=lambda problem: problem.line or 0)
        if len(shown) > MAX_PER_FILE:
            rest = len(shown) - MAX_PER_FILE
            shown = [*shown[:MAX_PER_FILE], Problem(f"{rest} more problems are not shown", file=file)]
        for position, problem in enumerate(shown):
            # ASCII only: a message can quote half a surrogate pair.
            yield file, position, json.dumps(asdict(problem))
