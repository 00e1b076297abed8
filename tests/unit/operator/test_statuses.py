"""Findings as conditions, and which turns of Ready are worth an Event."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vedette_operator
from vedette_crds.conditions import MAX_MESSAGE, REASONS, TYPES, Condition
from vedette_operator.statuses import conditions, event_type
from vedette_operator.verdict import Finding

THEN, NOW = 1_795_341_600_000, 1_795_345_200_000
ACCEPTED = Finding("Accepted", "True", "Valid")


def condition(status: str, reason: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "reason": reason, "message": ""}


# conditions ----------------------------------------------------------------------------------------------------------
def test_conditions_stand_in_the_order_of_the_findings_and_are_what_the_kinds_say() -> None:
    made = conditions([ACCEPTED, Finding("Ready", "False", "TestsFailed", "one fails")], (), 2, NOW)
    assert [one["type"] for one in made] == ["Accepted", "Ready"]
    assert [Condition.model_validate(one).model_dump(exclude_none=True) for one in made] == made
    assert made[1] == {
        "type": "Ready",
        "status": "False",
        "reason": "TestsFailed",
        "message": "one fails",
        "observedGeneration": 2,
        "lastTransitionTime": "2026-11-22T11:00:00Z",
    }


@pytest.mark.parametrize(("status", "since"), [("True", "2026-11-22T10:00:00Z"), ("False", "2026-11-22T11:00:00Z")])
def test_the_time_stays_while_the_status_does(status: str, since: str) -> None:
    before = conditions([ACCEPTED], (), 1, THEN)
    (now,) = conditions([Finding("Accepted", status, "Invalid", "another reason")], before, 2, NOW)
    assert now["lastTransitionTime"] == since
    assert (now["reason"], now["message"], now["observedGeneration"]) == ("Invalid", "another reason", 2)
    assert before[0]["observedGeneration"] == 1


def test_a_long_message_is_cut_with_a_mark() -> None:
    (made,) = conditions([Finding("Accepted", "False", "Invalid", "x" * 10_000)], (), 1, NOW)
    assert len(made["message"]) == MAX_MESSAGE
    assert made["message"].endswith("…")


def written() -> Iterator[tuple[str, str]]:
    """Type and reason of every finding that stands in the operator's source."""
    for file in Path(vedette_operator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                texts = [part.value if isinstance(part, ast.Constant) else None for part in node.args[:3]]
                if len(texts) == 3 and isinstance(texts[0], str) and isinstance(texts[2], str):
                    yield texts[0], texts[2]


def test_every_type_and_every_reason_is_documented() -> None:
    found = set(written())
    assert len(found) > 20
    assert {kind for kind, _ in found} <= TYPES.keys()
    assert {reason for _, reason in found} <= REASONS.keys()


# events --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (None, ("True", "AllGood"), None),
        (("False", "NoWorkers"), ("True", "AllGood"), "Normal"),
        (("False", "Starting"), ("True", "AllGood"), "Normal"),
        (("True", "AllGood"), ("True", "LastGoodVersion"), None),
        (None, ("False", "TestsFailed"), "Warning"),
        (("True", "AllGood"), ("False", "NoWorkers"), "Warning"),
        (("False", "Starting"), ("False", "NoWorkers"), "Warning"),
    ],
)
def test_an_event_tells_of_turns(before: tuple[str, str] | None, now: tuple[str, str], kind: str | None) -> None:
    assert event_type(None if before is None else condition(*before), condition(*now)) == kind


@pytest.mark.parametrize("now", [("False", "Starting"), ("False", "Waiting"), ("Unknown", "NoWorkers")])
@pytest.mark.parametrize("before", [None, ("True", "AllGood"), ("False", "TestsFailed")])
def test_what_passes_by_itself_is_no_event(before: tuple[str, str] | None, now: tuple[str, str]) -> None:
    assert event_type(None if before is None else condition(*before), condition(*now)) is None
