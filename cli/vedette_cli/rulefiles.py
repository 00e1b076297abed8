"""Sigma rules of a folder for `eval` and `explain`: plain Sigma files and AlertRule manifests alike, compiled once."""

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

from vedette_crds.load import load_text
from vedette_crds.problems import Problem
from vedette_engine.detect.rule import Rule
from vedette_operator.cache import ContentCache, code_stamp, text_key

SUFFIXES = {".yml", ".yaml"}
MAX_FILE = 2 << 20
POOL_FROM = 200
CHUNK = 50


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """What a folder or file held. `problems` name file and line."""

    rules: Sequence[Rule]
    problems: Sequence[Problem]


def cache_folder() -> Path:
    """Where this user's caches go, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vedette"


def read_rules(path: Path, progress: Callable[[int, int], None] | None = None) -> RuleFiles:
    """All Sigma rules below `path`, in the order of the files' names."""
    files = list(_files(path))
    texts = [_text(file) for file in files]
    cache = ContentCache(cache_folder() / "rules.db", code_stamp())
    try:
        compiled = _compile_all([text or b"" for text in texts], cache, progress)
    finally:
        cache.close()
    rules: list[Rule] = []
    problems: list[Problem] = []
    for file, text, (found, faults) in zip(files, texts, compiled, strict=True):
        if text is None:
            problems.append(Problem(f"larger than {MAX_FILE >> 20} MiB", file=str(file)))
            continue
        rules += [Rule.from_json(item) for item in found]
        problems += [Problem(**fault).at(file=str(file)) for fault in faults]
    # Two files may hold the same rule; the engine tells rules apart by key.
    unique = [replace(rule, key=f"{index}:{rule.key}") for index, rule in enumerate(rules)]
    return RuleFiles(unique, problems)


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
) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
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


def _compile(text: bytes) -> bytes:
    """[compiled rules, problems] as JSON."""
    from vedette_engine.detect.sigma import compile_sigma  # pySigma takes 0.5 s; a warm cache spares it

    rules: list[Rule] = []
    problems: list[Problem] = []
    for sigma, line in _sigma_texts(text, problems):
        compiled = compile_sigma(sigma)
        rules += compiled.rules
        problems += [replace(fault, line=(fault.line or 1) + line - 1) for fault in compiled.problems]
    return orjson.dumps([[rule.to_json() for rule in rules], problems])


def _sigma_texts(text: bytes, problems: list[Problem]) -> Iterator[tuple[str, int]]:
    """(Sigma text, its first line) of a file: the file itself, or what its AlertRules hold."""
    if b"vedette.dev/" not in text:
        yield text.decode("utf-8", "replace"), 1
        return
    loaded = load_text(text)
    problems += loaded.problems
    for document in loaded.documents:
        sigma = document.manifest.get("spec", {}).get("sigma")
        if document.kind == "AlertRule" and isinstance(sigma, str):
            yield sigma, document.line_in("spec.sigma", 1) or document.line


def show_progress(done: int, everything: int) -> None:
    """A line that rewrites itself, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\rcompiling rules {done}/{everything} ", nl=done >= everything, err=True)
