"""Running the tests inside AlertRules: timelines of events in, alerts expected.

The same code serves `vedette test`, admission and the reconciler, and matches with the naive evaluators, which are the
specification of what a rule means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vedette_crds.alertrule import AlertRuleSpec, Expectation, RuleTest, TimelineEntry
from vedette_crds.duration import parse_duration
from vedette_engine.alerting.search_timeline import MAX_STEPS, Occurrence, Timelines, TooLongError
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.detect.logsource import Logsource, Logsources, fits
from vedette_engine.detect.naive import matches
from vedette_engine.detect.naming import ECS
from vedette_engine.detect.rule import Rule
from vedette_engine.testing import TestResult

Event = dict[str, Any]
MAX_NAME = 2_000

_Raised = tuple[Callable[[str], str], Mapping[str, Any]]
"""An alert: from the names that a test uses to those of its event, and that event."""


def run_rule_tests(spec: AlertRuleSpec, documents: Sequence[Rule]) -> list[TestResult]:
    """One result per test, in order.

    Args:
        spec: of the AlertRule; its search, if it has one, is without problems.
        documents: its compiled Sigma documents; none where it has a search.
    """
    paths = [f"spec.tests[{index}]" for index in range(len(spec.tests))]
    if spec.search is None:
        return [_run_sigma(test, documents, path) for test, path in zip(spec.tests, paths, strict=True)]
    timelines = Timelines(SearchSpec.of(spec.search))
    return [_run_search(test, timelines, path) for test, path in zip(spec.tests, paths, strict=True)]


def tests_not_run(spec: AlertRuleSpec, why: str) -> list[TestResult]:
    """Results of a rule whose tests cannot be run at all."""
    return [TestResult(test.name, None, why, f"spec.tests[{index}]") for index, test in enumerate(spec.tests)]


def flatten(event: Mapping[str, Any]) -> Event:
    """Nested mappings as dotted names, in their order, however deep; null means absent."""
    flat: Event = {}
    levels = [("", iter(event.items()))]
    while levels:
        prefix, items = levels[-1]
        for name, value in items:
            if isinstance(value, Mapping):
                # A name below so many others says nothing any more, and would be as long as they are together.
                levels.append((f"{prefix}{name}."[-MAX_NAME:], iter(value.items())))
                break
            if value is not None:
                flat[f"{prefix}{name}"] = value
        else:
            levels.pop()
    return flat


def as_event(raw: Mapping[str, Any], logsource: Logsource) -> Event:
    """A test's event under the names that normalised events have; both native and ECS names are understood."""
    return {ECS.field(logsource, name): value for name, value in flatten(raw).items()}


def _run_sigma(test: RuleTest, documents: Sequence[Rule], path: str) -> TestResult:
    raised = [event for entry in test.timeline for event in _raised(entry, documents)]
    return _compared(test.name, raised, test.expect, path)


def _run_search(test: RuleTest, timelines: Timelines, path: str) -> TestResult:
    try:
        opened = timelines.play([_occurrence(entry) for entry in test.timeline])
    except TooLongError:
        message = f"the rule's tests take more than {MAX_STEPS:,} steps: let fewer events come, or a longer `every`"
        return TestResult(test.name, False, message, f"{path}.timeline")
    return _compared(test.name, [(str, event) for event in opened], test.expect, path)


def _occurrence(entry: TimelineEntry) -> Occurrence:
    at = parse_duration(entry.at)
    arrives = at if entry.arrives is None else parse_duration(entry.arrives)
    event = flatten(entry.event)
    if entry.repeat is None:
        return Occurrence(event, at, arrives)
    return Occurrence(event, at, arrives, entry.repeat.count, parse_duration(entry.repeat.every))


def _compared(test: str, raised: Sequence[_Raised], expect: Expectation, path: str) -> TestResult:
    if len(raised) != expect.alerts:
        return TestResult(test, False, _count_message(len(raised), expect.alerts), f"{path}.expect.alerts")
    for number, (rename, event) in enumerate(raised, 1):
        for name, wanted in (expect.fields or {}).items():
            found = event.get(rename(name))
            if not _same(found, wanted):
                shown = "is absent" if found is None else f"is {found!r}"
                message = f"alert {number}: {name} {shown}, expected {wanted!r}"
                return TestResult(test, False, message, f"{path}.expect.fields")
    return TestResult(test, True, "", path)


def _raised(entry: TimelineEntry, documents: Sequence[Rule]) -> Iterator[_Raised]:
    times = entry.repeat.count if entry.repeat else 1
    for rule in documents:
        claimed = rule.logsource
        if entry.logsource is not None:
            said = entry.logsource
            claimed = Logsource(*(part and part.lower() for part in (said.product, said.category, said.service)))
        if not fits(rule.logsource, _as_set(claimed)):
            continue
        event = as_event(entry.event, claimed)
        if matches(rule, event):
            yield from [(partial(ECS.field, rule.logsource), event)] * times


def _as_set(claimed: Logsource) -> Logsources:
    return Logsources(*(frozenset({part} if part else ()) for part in claimed))


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return any(_same(item, wanted) for item in found)
    return bool(found == wanted) or (found is not None and str(found) == str(wanted))


def _count_message(found: int, wanted: int) -> str:
    return f"raised {found} alert{'' if found == 1 else 's'}, expected {wanted}"
