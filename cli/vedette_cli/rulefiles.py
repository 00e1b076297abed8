"""Rules of a folder for `eval` and `explain`: plain Sigma files and AlertRule manifests alike, compiled once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import orjson

from vedette_crds.alertrule import AlertRule
from vedette_crds.features import not_yet_supported
from vedette_crds.load import Document, load_text
from vedette_crds.problems import Problem
from vedette_engine.alerting.search_rules import check_search
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.detect.rule import Rule
from vedette_operator.cache import ContentCache, code_stamp, text_key
from vedette_operator.places import placed

SUFFIXES = {".yml", ".yaml"}
MAX_FILE = 2 << 20
POOL_FROM = 200
CHUNK = 50


@dataclass(frozen=True, slots=True)
class SearchRule:
    """A rule that searches what was stored."""

    title: str
    spec: SearchSpec


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """What a folder or file held. `problems` name file and line."""

    rules: Sequence[Rule]
    problems: Sequence[Problem]
    searches: Sequence[SearchRule] = ()


def cache_folder() -> Path:
    """Where this user's caches go, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vedette"


def read_rules(path: Path, progress: Callable[[int, int], None] | None = None) -> RuleFiles:
    """All rules below `path`, in the order of the files' names."""
    files = list(_files(path))
    texts = [_text(file) for file in files]
    cache = ContentCache(cache_folder() / "rules.db", code_stamp())
    try:
        compiled = _compile_all([text or b"" for text in texts], cache, progress)
    finally:
        cache.close()
    rules: list[Rule] = []
    problems: list[Problem] = []
    searches: list[SearchRule] = []
    for file, text, (found, faults, searching) in zip(files, texts, compiled, strict=True):
        if text is None:
            problems.append(Problem(f"larger than {MAX_FILE >> 20} MiB", file=str(file)))
            continue
        rules += [Rule.from_json(item) for item in found]
        problems += [Problem(**fault).at(file=str(file)) for fault in faults]
        searches += [SearchRule(title, SearchSpec.from_json(search)) for title, search in searching]
    # Two files may hold the same rule; the engine tells rules apart by key.
    unique = [replace(rule, key=f"{index}:{rule.key}") for index, rule in enumerate(rules)]
    return RuleFiles(unique, problems, searches)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder) / name for name in sorted(names) if Path(name).suffix in SUFFIXES)


def _text(file: Path) -> bytes | None:
    return None if file.stat().st_size > MAX_FILE else file.read_bytes()


def _compile_all(
    texts: Sequence[bytes], cache: ContentCache, progress: Callable[[int, int], None] | None
) -> list[_Compiled]:
    keys = [text_key(text) for text in texts]
    bodies = [cache.get(key) for key in keys]
    missing = [index for index, body in enumerate(bodies) if body is None]
    for index, body in zip(missing, _compile_missing([texts[index] for index in missing], progress), strict=True):
        bodies[index] = body
    cache.put((keys[index], bodies[index] or b"") for index in missing)
    return [tuple(orjson.loads(body or b"")) for body in bodies]


def _compile_missing(texts: Sequence[bytes], progress: Callable[[int, int], None] | None) -> Iterator[bytes]:
    if len(texts) < POOL_FROM:
        yield from map(_compile, texts)
        return
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, body in enumerate(pool.map(_compile, texts, chunksize=CHUNK), 1):
            if progress is not None and done % CHUNK == 0:
                progress(done, len(texts))
            yield body


_Compiled = tuple[list[dict[str, Any]], list[dict[str, Any]], list[tuple[str, dict[str, Any]]]]
"""Compiled Sigma rules, problems, and titles with searches; all as JSON has them."""


def _compile(text: bytes) -> bytes:
    """What is in a file, `_Compiled` as JSON."""
    from vedette_engine.detect.sigma import compile_sigma  # pySigma takes 0.5 s; a warm cache spares it

    rules: list[Rule] = []
    problems: list[Problem] = []
    documents = _manifests(text, problems)
    for sigma, line in _sigma_texts(text, documents):
        compiled = compile_sigma(sigma)
        rules += compiled.rules
        problems += [replace(fault, line=(fault.line or 1) + line - 1) for fault in compiled.problems]
    searches = list(_searches(documents or (), problems))
    return orjson.dumps([[rule.to_json() for rule in rules], problems, searches])


def _manifests(text: bytes, problems: list[Problem]) -> Sequence[Document] | None:
    """The manifests in a file; None where it is a Sigma file."""
    if b"vedette.dev/" not in text:
        return None
    loaded = load_text(text)
    problems += loaded.problems
    return loaded.documents


def _sigma_texts(text: bytes, documents: Sequence[Document] | None) -> Iterator[tuple[str, int]]:
    """(Sigma text, its first line) of a file: the file itself, or what its AlertRules hold."""
    if documents is None:
        yield text.decode("utf-8", "replace"), 1
        return
    for document in documents:
        sigma = document.manifest.get("spec", {}).get("sigma")
        if document.kind == "AlertRule" and isinstance(sigma, str):
            yield sigma, document.line_in("spec.sigma", 1) or document.line


def _searches(documents: Sequence[Document], problems: list[Problem]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Title and search of the AlertRules that have one and can be run."""
    for document in documents:
        rule = document.model
        if isinstance(rule, AlertRule) and rule.spec.search is not None:
            search, faults = check_search(rule.spec.search)
            faults = not_yet_supported(rule) or faults
            problems += [placed(fault, document) for fault in faults]
            if not faults:
                yield rule.spec.title or rule.name, search.to_json()


def show_progress(done: int, everything: int) -> None:
    """A line that rewrites itself, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\rcompiling rules {done}/{everything} ", nl=done >= everything, err=True)
