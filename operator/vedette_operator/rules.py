"""Judging one AlertRule: valid, compiled, its tests run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vedette_crds.alertrule import AlertRule, AlertRuleSpec
from vedette_crds.duration import parse_duration
from vedette_crds.features import not_yet_supported
from vedette_crds.problems import Problem
from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.ruletests import run_rule_tests, tests_not_run
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma
from vedette_operator.verdict import Finding, Verdict, as_problems, refused, tally, tested


def judge(rule: AlertRule, spec_hash: str) -> Verdict:
    """Whether the rule may go into force, and what workers load if so. Pure."""
    unsupported = not_yet_supported(rule)
    if unsupported:
        results = tests_not_run(rule.spec, "the rule needs what this version does not support yet")
        return refused("NotYetSupported", unsupported, tally(results))
    compiled = compile_sigma(rule.spec.sigma or "")
    if compiled.problems or not compiled.rules:
        problems = [_under_sigma(problem) for problem in compiled.problems]
        problems = problems or [Problem("no Sigma rule is in here", path="spec.sigma")]
        return refused("Invalid", problems, tally(tests_not_run(rule.spec, "the rule does not compile")))
    results = run_rule_tests(rule.spec, compiled.rules)
    accepted = Finding("Accepted", "True", "Valid", f"{len(compiled.rules)} Sigma rules compiled")
    finding = tested(results)
    if finding.status == "False":
        return Verdict((accepted, finding), None, tally(results), tuple(as_problems(results)))
    return Verdict((accepted, finding), _bundled(rule, spec_hash, compiled.rules), tally(results))


def _bundled(rule: AlertRule, spec_hash: str, documents: tuple[Rule, ...]) -> Mapping[str, Any]:
    spec = rule.spec
    bundled = BundledRule(
        name=rule.metadata.name,
        hash=spec_hash,
        sigma=[document.to_json() for document in documents],
        severity=spec.severity or "",
        title=spec.title or "",
        summary=spec.summary or "",
        owner=spec.owner or "",
        runbook=spec.runbook or "",
        tags=list(spec.tags or ()),
        incident=_incident(spec),
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
