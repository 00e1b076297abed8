"""Judging one manifest at admission, with the functions that the reconciler judges with: so the answers agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from vedette_crds.alertrule import AlertRule
from vedette_crds.enrichment import Enrichment
from vedette_crds.features import not_yet_supported
from vedette_crds.kinds import KINDS
from vedette_crds.load import validate
from vedette_crds.logsource import LogSource
from vedette_crds.manifest_yaml import Spot
from vedette_crds.problems import Problem
from vedette_crds.resource import DEFAULT_NAMESPACE, Resource
from vedette_engine.detect.sigma import compile_sigma
from vedette_engine.enrich.base import compile_enrichment
from vedette_engine.enrich.testing import run_enrichment_tests
from vedette_operator import rules, sources
from vedette_operator.cache import object_key
from vedette_operator.enrichments import references
from vedette_operator.verdict import Verdict, as_problems

_USERS_METADATA = ("name", "namespace", "labels", "annotations")
# Lines inside the Sigma text are told from 1, lines of the manifest are not known: the file stays with the user.
_PLACES = Spot(0, inside={"spec": Spot(0, inside={"sigma": Spot(0, text_line=1)})})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What admission says. `problems` refuse the object, `warnings` are passed on to whoever applies it."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def to_json(self) -> bytes:
        """For the way between processes."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Judgement:
        """What `to_json` wrote."""
        raw = orjson.loads(data)
        return cls(
            tuple(Problem(**item) for item in raw["problems"]), tuple(Problem(**item) for item in raw["warnings"])
        )


def judge(manifest: Mapping[str, Any]) -> Judgement:
    """The judgement on one object of a kind of ours, as the API server has it. Pure."""
    written = _as_written(manifest)
    model, problems = validate(written, KINDS[manifest["kind"]], _PLACES)
    if problems:
        return Judgement(tuple(problems))
    assert isinstance(model, Resource)
    later = not_yet_supported(model)
    if later:
        return Judgement(warnings=tuple(later))
    return _JUDGES.get(type(model), _nothing_more)(model, written)


def _as_written(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the user wrote: without the status, and without the server's metadata."""
    metadata = manifest.get("metadata")
    if isinstance(metadata, Mapping):
        metadata = {name: metadata[name] for name in _USERS_METADATA if name in metadata}
        metadata.setdefault("namespace", DEFAULT_NAMESPACE)
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _rule(rule: Any, written: Mapping[str, Any]) -> Judgement:
    assert isinstance(rule, AlertRule)
    verdict = rules.judge(rule, object_key(written))
    if verdict.problems:
        return Judgement(tuple(verdict.problems))
    sigma = rule.spec.sigma
    doubts = [] if sigma is None else [_in_sigma(doubt) for doubt in compile_sigma(sigma).warnings]
    return Judgement(warnings=(*doubts, *_untested(verdict)))


def _source(source: Any, _written: Mapping[str, Any]) -> Judgement:
    assert isinstance(source, LogSource)
    verdict = sources.judge(source)
    return Judgement(tuple(verdict.problems)) if verdict.problems else Judgement(warnings=_untested(verdict))


def _enrichment(enrichment: Any, written: Mapping[str, Any]) -> Judgement:
    assert isinstance(enrichment, Enrichment)
    name, spec = enrichment.metadata.name, written["spec"]
    wanted = list(references(spec))
    for path, reference in wanted:
        if "file" in reference:
            hint = "in a cluster use pvc or configMap"
            return Judgement(
                warnings=(Problem("files beside the manifests exist for `vedette up` only", "", path, hint),)
            )
    if wanted:
        # The table lies where only workers and the reconciler look; without it there is nothing to run.
        return Judgement(warnings=_waiting(enrichment))
    _, problems = compile_enrichment(name, spec, None)
    problems = problems or as_problems(run_enrichment_tests(spec, None, name=name))
    if problems:
        return Judgement(tuple(problems))
    return Judgement(warnings=() if enrichment.spec.tests else (_no_tests(),))


def _waiting(enrichment: Enrichment) -> tuple[Problem, ...]:
    tests = enrichment.spec.tests
    if not tests:
        return (_no_tests(),)
    message = f"{len(tests)} test{'s were' if len(tests) > 1 else ' was'} not run, since the table is not at hand here"
    return (Problem(message, path="spec.tests", hint="the operator runs them; see the condition Tested"),)


def _nothing_more(_model: Any, _written: Mapping[str, Any]) -> Judgement:
    return Judgement()


def _untested(verdict: Verdict) -> tuple[Problem, ...]:
    reasons = {finding.reason for finding in verdict.findings if finding.type == "Tested"}
    return (_no_tests(),) if "NoTests" in reasons else ()


def _no_tests() -> Problem:
    return Problem("there are no tests", path="spec.tests", hint="nothing shows that it does what it should")


def _in_sigma(doubt: Problem) -> Problem:
    return doubt.at(under="spec.sigma")


_JUDGES: Mapping[type[Resource], Callable[[Any, Mapping[str, Any]], Judgement]] = {
    AlertRule: _rule,
    LogSource: _source,
    Enrichment: _enrichment,
}
