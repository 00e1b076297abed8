"""`vedette test`: the tests inside manifests, as CI of a rules repository runs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import click

from vedette_cli.data import DEFAULT_NAME
from vedette_cli.terminal import plain
from vedette_crds.load import Document, load_path
from vedette_crds.problems import Problem
from vedette_engine.testing import TestResult
from vedette_operator.offline import folder_tables, judge_document


@dataclass(frozen=True, slots=True)
class _Outcome:
    document: Document
    results: Sequence[TestResult]
    problems: Sequence[Problem]
    seconds: float

    @property
    def title(self) -> str:
        return f"{self.document.kind} {self.document.namespace}/{self.document.name}"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write a JUnit report here.")
@click.option("-v", "--verbose", is_flag=True, help="Name the tests that passed, too.")
def test(paths: tuple[Path, ...], junit: Path | None, verbose: bool) -> None:
    """Run the tests inside the manifests at PATHS: sources, enrichments, rules.

    Exits 1 when a test fails or a manifest is not valid. Tests of what this version does not support yet count as
    not run.
    """
    outcomes: list[_Outcome] = []
    broken: list[Problem] = []
    for path in paths:
        loaded = load_path(path)
        broken += loaded.problems
        outcomes += _judge_all(path, loaded.documents)
    for problem in broken:
        click.echo(plain(f"✗ {problem}"), err=True)
    for outcome in outcomes:
        _show(outcome, verbose=verbose)
    results = [result for outcome in outcomes for result in outcome.results]
    passed = sum(result.passed is True for result in results)
    failed = sum(result.passed is False for result in results)
    faults = len(broken) + sum(len(outcome.problems) for outcome in outcomes)
    if junit is not None:
        _write_junit(junit, outcomes, broken)
    click.echo(f"{passed} passed, {failed} failed, {len(results) - passed - failed} not run, {faults} problems")
    sys.exit(1 if failed or faults else 0)


def _judge_all(path: Path, documents: Sequence[Document]) -> Iterator[_Outcome]:
    folder = path if path.is_dir() else path.parent
    tables = folder_tables(folder, folder / DEFAULT_NAME / "pvc", documents)
    shown = sys.stderr.isatty()
    for number, document in enumerate(documents, 1):
        if document.model is None:
            continue
        started = time.perf_counter()
        results, problems = judge_document(document, tables)
        yield _Outcome(document, results, problems, time.perf_counter() - started)
        if shown and number % 50 == 0:
            click.echo(f"\r{number}/{len(documents)} ", nl=False, err=True)


def _show(outcome: _Outcome, *, verbose: bool) -> None:
    document = outcome.document
    for problem in outcome.problems:
        click.echo(plain(f"✗ {problem}"))
    for result in outcome.results:
        place = f"{document.file}:{document.line_of(result.path) or document.line}"
        if result.passed is False:
            click.echo(plain(f"✗ {place}: {outcome.title}: {result.name}: {result.message}"))
        elif result.passed is None:
            click.echo(plain(f"- {place}: {outcome.title}: {result.name}: not run: {result.message}"))
        elif verbose:
            click.echo(plain(f"✓ {outcome.title}: {result.name}"))


def _write_junit(file: Path, outcomes: Sequence[_Outcome], broken: Sequence[Problem]) -> None:
    suites = ET.Element("testsuites")
    if broken:
        number = str(len(broken))
        suite = ET.SubElement(suites, "testsuite", name="manifests", tests=number, errors=number, failures="0")
        for problem in broken:
            name = plain(problem.object or problem.file)
            case = ET.SubElement(suite, "testcase", name=name, classname="manifests", file=plain(problem.file))
            ET.SubElement(case, "error", message=plain(str(problem)))
    for outcome in outcomes:
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=outcome.title,
            tests=str(len(outcome.results) + len(outcome.problems)),
            errors=str(len(outcome.problems)),
            failures=str(sum(result.passed is False for result in outcome.results)),
            skipped=str(sum(result.passed is None for result in outcome.results)),
            time=f"{outcome.seconds:.3f}",
        )
        for problem in outcome.problems:
            case = ET.SubElement(suite, "testcase", name=plain(problem.path or "manifest"), classname=outcome.title)
            ET.SubElement(case, "error", message=plain(str(problem)))
        for result in outcome.results:
            case = ET.SubElement(suite, "testcase", name=plain(result.name), classname=outcome.title)
            if result.passed is False:
                ET.SubElement(case, "failure", message=plain(result.message))
            elif result.passed is None:
                ET.SubElement(case, "skipped", message=plain(result.message))
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
