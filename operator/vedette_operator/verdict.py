"""What the reconciler found out about one object: conditions for its status, its part of the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from vedette_crds.problems import Problem
from vedette_engine.testing import TestResult

MAX_MESSAGE = 1000
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as decided now; `status` is True | False | Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of reconciling one spec. A pure function of the spec and the tables it names, so it can be cached.

    Attributes:
        findings: conditions that depend on the object alone.
        part: its entry in the bundle, JSON; None when it is not acceptable (the last good one stays in force).
        tests: how many tests passed, failed and were not run.
        problems: what is wrong, for people; paths are inside the object.
    """

    findings: Sequence[Finding]
    part: Mapping[str, Any] | None = None
    tests: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    @property
    def good(self) -> bool:
        """Whether the object may go into force."""
        return self.part is not None

    def to_json(self) -> bytes:
        """For the cache."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Verdict:
        """What `to_json` wrote."""
        raw = orjson.loads(data)
        return cls(
            findings=tuple(Finding(**item) for item in raw["findings"]),
            part=raw["part"],
            tests=raw["tests"],
            problems=tuple(Problem(**item) for item in raw["problems"]),
        )


def refused(reason: str, problems: Sequence[Problem], tests: Mapping[str, int] | None = None) -> Verdict:
    """Not acceptable; the message tells all problems, as far as a status can hold them."""
    message = "; ".join(_short(problem) for problem in problems)[:MAX_MESSAGE]
    told = list(problems[:MAX_PROBLEMS])
    if len(problems) > MAX_PROBLEMS:
        told[-1] = Problem(f"{len(problems) - len(told) + 1:,} more problems are not shown")
    return Verdict((Finding("Accepted", "False", reason, message),), None, tests or {}, tuple(told))


def tested(results: Sequence[TestResult]) -> Finding:
    """The Tested condition."""
    failed = [result for result in results if result.passed is False]
    skipped = [result for result in results if result.passed is None]
    if not results:
        return Finding("Tested", "True", "NoTests", "the object has no tests")
    if failed:
        message = "; ".join(f"{result.path} ({result.name}): {result.message}" for result in failed)
        return Finding("Tested", "False", "TestsFailed", message[:MAX_MESSAGE])
    if skipped:
        return Finding("Tested", "Unknown", "NotRun", f"{len(skipped)} of {len(results)} tests could not be run")
    return Finding("Tested", "True", "TestsPassed", f"{len(results)} tests passed")


def tally(results: Sequence[TestResult]) -> dict[str, int]:
    """Counts for the status."""
    return {
        "passed": sum(result.passed is True for result in results),
        "failed": sum(result.passed is False for result in results),
        "notRun": sum(result.passed is None for result in results),
    }


def as_problems(results: Sequence[TestResult]) -> list[Problem]:
    """Failed tests as problems."""
    return [
        Problem(f"test {result.name!r} failed: {result.message}", path=result.path)
        for result in results
        if result.passed is False
    ]


def _short(problem: Problem) -> str:
    text = f"{problem.path}: {problem.message}" if problem.path else problem.message
    # Lines are those of the text at the path; only who has the file knows its own.
    line = f" (line {problem.line} of the text)" if problem.line is not None else ""
    return text + line
