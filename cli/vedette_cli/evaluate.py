"""`vedette eval`: events against Sigma rules, without a server."""

from __future__ import annotations

import contextlib
import itertools
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import orjson

from vedette_cli.rulefiles import RuleFiles, read_rules, show_progress
from vedette_cli.shapes import Shape, to_flat
from vedette_cli.terminal import plain
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.logsource import Logsource, Logsources
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.normalise.errors import Malformed

PROGRESS_EVERY = 1.0
SAMPLE = 400
"""Events that an engine is built for, of a file that can be read twice."""


def parse_logsource(text: str | None) -> Logsource | None:
    """`category=process_creation,product=windows` → Logsource; raises click.BadParameter."""
    if not text:
        return None
    parts = dict.fromkeys(("product", "category", "service"))
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        if name not in parts or not equals or not value:
            raise click.BadParameter(f"{item!r} is not product=…, category=… or service=…", param_hint="--logsource")
        parts[name] = value.strip().lower()
    return Logsource(**parts)


@click.command(name="eval")
@click.option(
    "--rules",
    "rules",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder or file with Sigma rules or AlertRule manifests.",
)
@click.option(
    "--events",
    "events",
    required=True,
    type=click.Path(exists=True, allow_dash=True, dir_okay=False, path_type=Path),
    help="NDJSON with one event a line, native Sigma names or ECS; - for standard input.",
)
@click.option(
    "--logsource",
    "logsource",
    metavar="K=V,…",
    help="What the events are, e.g. category=process_creation,product=windows. Default: told by each event.",
)
def evaluate(rules: Path, events: Path, logsource: str | None) -> None:
    """Match events against rules: one JSON line per match to standard output, figures to standard error.

    Rules with a scheduled search are left out.

    Exits 0 when it ran, whether anything matched or not.
    """
    claimed = parse_logsource(logsource)
    started = time.perf_counter()
    loaded = read_rules(rules, show_progress)
    _tell_rules(loaded, time.perf_counter() - started)
    source: IO[bytes] = sys.stdin.buffer if str(events) == "-" else events.open("rb")
    with source:
        run = _Run(loaded, claimed)
        if source.seekable() and source is not sys.stdin.buffer:
            run.learn(source)
        run.over(source)


class _Run:
    def __init__(self, loaded: RuleFiles, claimed: Logsource | None) -> None:
        self._loaded = loaded
        self._fixed = None if claimed is None else Logsources(*(frozenset({part} if part else ()) for part in claimed))
        self._engines: dict[Shape, Engine] = {}
        self._count: Counter[str] = Counter()
        self._samples: dict[Shape, list[dict[str, Any]]] = {shape: [] for shape in Shape}

    def learn(self, source: IO[bytes]) -> None:
        """Build the engines for events like the first ones of a file, and go back to its beginning."""
        for line in itertools.islice(source, SAMPLE):
            with contextlib.suppress(orjson.JSONDecodeError):
                raw = orjson.loads(line)
                if isinstance(raw, dict):
                    shape, event = to_flat(raw)
                    self._samples[shape].append(event)
        source.seek(0)

    def over(self, source: IO[bytes]) -> None:
        """Match every line, and tell the figures at the end."""
        started = reported = time.perf_counter()
        out = sys.stdout.buffer
        for number, line in enumerate(source, 1):
            for rule in self._match(line, number):
                out.write(orjson.dumps({"line": number, "rule": rule.id, "title": rule.title}) + b"\n")
                self._count["matches"] += 1
            if number % 1000 == 0 and time.perf_counter() - reported > PROGRESS_EVERY:
                reported = time.perf_counter()
                _progress(self._count["events"], reported - started)
        out.flush()
        self._tell(time.perf_counter() - started)

    def _match(self, line: bytes, number: int) -> Iterator[Any]:
        line = line.strip()
        if not line:
            return
        try:
            raw = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return self._skip(number, f"not JSON: {error}")
        if not isinstance(raw, dict):
            return self._skip(number, "not a JSON object")
        try:
            shape, event = to_flat(raw)
        except Malformed as error:
            return self._skip(number, error.detail)
        self._count["events"] += 1
        logsources = self._fixed or event_logsources(event, None)
        if logsources is None:
            self._count["unrouted"] += 1
        yield from self._engine(shape).match(event, line if event is raw else None, logsources)

    def _skip(self, number: int, why: str) -> None:
        self._count["skipped"] += 1
        click.echo(f"line {number} skipped: {why}", err=True)

    def _engine(self, shape: Shape) -> Engine:
        if shape not in self._engines:
            naming = ECS if shape is Shape.ECS else NATIVE
            self._engines[shape] = Engine(self._loaded.rules, naming=naming, sample=self._samples[shape])
        return self._engines[shape]

    def _tell(self, seconds: float) -> None:
        events = self._count["events"]
        rate = f"{events / seconds:,.0f} events/s" if seconds > 0 else ""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        click.echo(
            f"{events:,} events, {self._count['matches']:,} matches, {self._count['skipped']:,} lines skipped, "
            f"{self._count['unrouted']:,} events of unknown log source tried against all rules; "
            f"{rate}, peak memory {peak} MB",
            err=True,
        )


def _tell_rules(loaded: RuleFiles, seconds: float) -> None:
    for problem in loaded.problems:
        click.echo(plain(f"rejected: {problem}"), err=True)
    click.echo(f"{len(loaded.rules):,} rules loaded, {len(loaded.problems):,} problems, {seconds:.1f} s", err=True)
    if loaded.searches:
        number = len(loaded.searches)
        told = "1 scheduled search is" if number == 1 else f"{number:,} scheduled searches are"
        click.echo(f"{told} not tried, since that takes more than one event: see `vedette test`", err=True)


def _progress(events: int, seconds: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{events:,} events, {events / seconds:,.0f}/s ", nl=False, err=True)
