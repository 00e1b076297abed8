"""Running the tests inside AlertRules: timelines of events in, alerts expected.

The same code serves `vedette test`, admission and the reconciler, and matches with the naive evaluator, which is the
specification of what a rule means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vedette_crds.alertrule import AlertRuleSpec, RuleTest, TimelineEntry
from vedette_engine.detect.logsource import Logsource, Logsources, fits
from vedette_engine.detect.naive import matches
from vedette_engine.detect.naming import ECS
from vedette_engine.detect.rule import Rule
from vedette_engine.testing import TestResult

Event = dict[str, Any]
MAX_NAME = 2_000


def run_rule_tests(spec: AlertRuleSpec, documents: Sequence[Rule]) -> list[TestResult]:
    """One result per test, in order. `documents`: the rule's compiled Sigma documents."""
    return [_run(test, documents, f"spec.tests[{index}]") for index, test in enumerate(spec.tests)]


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


def _run(test: RuleTest, documents: Sequence[Rule], path: str) -> TestResult:
    raised = [event for entry in test.timeline for event in _raised(entry, documents)]
    expect = test.expect
    if len(raised) != expect.alerts:
        return TestResult(test.name, False, _count_message(len(raised), expect.alerts), f"{path}.expect.alerts")
    for number, (rule, event) in enumerate(raised, 1):
        for name, wanted in (expect.fields or {}).items():
            found = event.get(ECS.field(rule.logsource, name))
            if not _same(found, wanted):
                shown = "is absent" if found is None else f"is {found!r}"
                message = f"alert {number}: {name} {shown}, expected {wanted!r}"
                return TestResult(test.name, False, message, f"{path}.expect.fields")
    return TestResult(test.name, True, "", path)


def _raised(entry: TimelineEntry, documents: Sequence[Rule]) -> Iterator[tuple[Rule, Event]]:
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
            yield from [(rule, event)] * times


def _as_set(claimed: Logsource) -> Logsources:
    return Logsources(*(frozenset({part} if part else ()) for part in claimed))


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return any(_same(item, wanted) for item in found)
    return bool(found == wanted) or (found is not None and str(found) == str(wanted))


def _count_message(found: int, wanted: int) -> str:
    return f"raised {found} alert{'' if found == 1 else 's'}, expected {wanted}"
