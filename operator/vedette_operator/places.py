"""Where a mistake stands in a file, for people: statuses know paths inside objects, and lines inside Sigma's text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vedette_backends.cluster.protocol import Object
from vedette_crds.load import Document, load_text
from vedette_crds.problems import Problem

SIGMA = "spec.sigma"


def placed(problem: Problem, document: Document) -> Problem:
    """The problem of an object with the file and the line in it."""
    line = document.line_of(problem.path) or document.line
    if problem.line is not None and problem.path.startswith(SIGMA):
        line = document.line_in(SIGMA, problem.line) or line
    return replace(problem, object=problem.object or str(document), file=document.file, line=line)


def told(told: Mapping[str, Any]) -> Problem:
    """A problem as a status holds it."""
    return Problem(told.get("message", ""), path=told.get("path", ""), hint=told.get("hint", ""), line=told.get("line"))


def find_document(item: Object, folder: Path) -> Document | None:
    """The document that an object of a watched folder came from, read again; None when it is not there any more."""
    name = item.origin.rpartition(":")[0]
    if not name:
        return None
    try:
        loaded = load_text((folder / name).read_bytes(), name)
    except OSError:
        return None
    key = (item.key.kind, item.key.namespace, item.key.name)
    return next((one for one in loaded.documents if (one.kind, one.namespace, one.name) == key), None)


def locate(problem: Problem, item: Object, folder: Path) -> Problem:
    """The problem of an object of a watched folder with its file and line, as far as they can still be found."""
    document = find_document(item, folder)
    if document is not None:
        return placed(problem, document)
    file, _, line = item.origin.rpartition(":")
    within = f" (line {problem.line} of the text)" if problem.line is not None else ""
    return replace(
        problem,
        message=problem.message + within,
        object=problem.object or str(item.key),
        file=file,
        line=int(line) if line.isdigit() else None,
    )
