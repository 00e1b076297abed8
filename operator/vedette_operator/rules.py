"""Judging one AlertRule: valid, compiled, its tests run.

The control loop, admission and `vedette test` judge alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette_backends.store import compile as embedded
from vedette_backends.store import elastic_query
from vedette_backends.store.protocol import TimeRange
from vedette_crds.alertrule import AlertRule, AlertRuleSpec
from vedette_crds.duration import format_duration, parse_duration
from vedette_crds.features import not_yet_supported
from vedette_crds.problems import Problem
from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.ruletests import run_rule_tests, tests_not_run
from vedette_engine.alerting.search_rules import PATH as SEARCH
from vedette_engine.alerting.search_rules import check_search
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma
from vedette_engine.query import lucene
from vedette_engine.query.tree import QueryError
from vedette_engine.testing import TestResult
from vedette_operator.verdict import Finding, Verdict, as_problems, refused, tally, tested


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule as far as it could be compiled: one of the two, or problems.

    Attributes:
        documents: Sigma documents.
        search: the scheduled search.
        problems: why it cannot be run; paths are inside the object, lines inside the Sigma text.
        results: of its tests, which are not run where there are problems.
    """

    documents: tuple[Rule, ...] = ()
    search: SearchSpec | None = None
    problems: Sequence[Problem] = ()
    results: Sequence[TestResult] = ()

    def __str__(self) -> str:
        if self.search is None:
            return f"{len(self.documents)} Sigma rules compiled"
        every, window = format_duration(self.search.every), format_duration(self.search.window)
        return f"searches every {every} in windows of {window}"


def compile_rule(spec: AlertRuleSpec) -> Compiled:
    """Compile what the rule detects with, and run its tests."""
    made = _compile_sigma(spec) if spec.search is None else _compile_search(spec)
    if made.problems:
        return Compiled(problems=made.problems, results=tests_not_run(spec, "the rule does not compile"))
    return Compiled(made.documents, made.search, results=run_rule_tests(spec, made.documents))


def _compile_sigma(spec: AlertRuleSpec) -> Compiled:
    compiled = compile_sigma(spec.sigma or "")
    problems = [_under_sigma(problem) for problem in compiled.problems]
    if not problems and not compiled.rules:
        problems = [Problem("no Sigma rule is in here", path="spec.sigma")]
    return Compiled(tuple(compiled.rules), problems=problems)


def _compile_search(spec: AlertRuleSpec) -> Compiled:
    assert spec.search is not None
    search, problems = check_search(spec.search)
    if not problems:
        query = lucene.parse(search.query)
        # A rule means the same on a laptop and in a cluster, so both have to be able to ask.
        for store in (embedded, elastic_query):
            try:
                store.compile_query(query, TimeRange())
            except QueryError as error:
                problems.append(Problem(str(error), path=f"{SEARCH}.query"))
                break
    return Compiled(search=search, problems=problems)


def judge(rule: AlertRule, spec_hash: str) -> Verdict:
    """Whether the rule may go into force, and what workers load if so. Pure."""
    unsupported = not_yet_supported(rule)
    if unsupported:
        not_run = tests_not_run(rule.spec, "the rule needs what this version does not support yet")
        return refused("NotYetSupported", unsupported, tally(not_run))
    compiled = compile_rule(rule.spec)
    results = compiled.results
    if compiled.problems:
        return refused("Invalid", compiled.problems, tally(results))
    accepted = Finding("Accepted", "True", "Valid", str(compiled))
    finding = tested(results)
    if finding.status == "False":
        return Verdict((accepted, finding), None, tally(results), tuple(as_problems(results)))
    return Verdict((accepted, finding), _bundled(rule, spec_hash, compiled), tally(results))


def _bundled(rule: AlertRule, spec_hash: str, compiled: Compiled) -> Mapping[str, Any]:
    spec = rule.spec
    bundled = BundledRule(
        name=rule.metadata.name,
        hash=spec_hash,
        sigma=[document.to_json() for document in compiled.documents],
        severity=spec.severity or "",
        title=spec.title or "",
        summary=spec.summary or "",
        owner=spec.owner or "",
        runbook=spec.runbook or "",
        tags=list(spec.tags or ()),
        incident=_incident(spec),
        search={} if compiled.search is None else compiled.search.to_json(),
    )
    return {name: getattr(bundled, name) for name in BundledRule.__dataclass_fields__}


def _incident(spec: AlertRuleSpec) -> Mapping[str, Any]:
    wanted = spec.incident
    if wanted.open != "auto":
        return {}
    return {"groupBy": list(wanted.group_by), "within": parse_duration(wanted.within)}


def data_available(part: Mapping[str, Any], claims: Sequence[Logsource]) -> Finding:
    """Whether some source of the namespace can bring events that the rule looks at; informs only.

    Args:
        part: the rule's part of the bundle.
        claims: what the namespace's sources say they are; an empty claim may be anything.
    """
    if part.get("search"):
        return Finding("DataAvailable", "Unknown", "Query", "the rule searches the events of all sources")
    for document in part["sigma"]:
        wanted = Logsource(*document["logsource"])
        if not any(_could_satisfy(claim, wanted) for claim in claims):
            return Finding("DataAvailable", "False", "NoSource", f"no source brings {wanted}")
    return Finding("DataAvailable", "True", "SourceFound", "")


def _could_satisfy(claim: Logsource, wanted: Logsource) -> bool:
    # What a source leaves open, its events may still turn out to be (a Windows source has many categories).
    return all(want is None or have is None or have == want for have, want in zip(claim, wanted, strict=True))


def _under_sigma(problem: Problem) -> Problem:
    """The problem's line is inside the Sigma text; whoever knows the file turns it into the file's."""
    path = f"spec.sigma.{problem.path}" if problem.path else "spec.sigma"
    return Problem(problem.message, problem.object, path, problem.hint, problem.file, problem.line)
