from __future__ import annotations

import pytest

from vedette_crds.conditions import REASONS, TYPES, Condition, find_condition, set_condition

THEN, NOW = "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"


def made(*kinds: str) -> list[Condition]:
    conditions: list[Condition] = []
    for kind in kinds:
        conditions = set_condition(conditions, kind, "True", "Valid", generation=1, now=THEN)
    return conditions


def test_a_new_condition_comes_last() -> None:
    conditions = set_condition(made("Accepted"), "Tested", "False", "TestsFailed", "one fails", generation=2, now=NOW)
    assert [one.type for one in conditions] == ["Accepted", "Tested"]
    assert conditions[1].last_transition_time == NOW
    assert conditions[1].observed_generation == 2


def test_the_time_stays_while_the_status_does() -> None:
    conditions = set_condition(made("Accepted", "Ready"), "Accepted", "True", "Valid", "still", generation=2, now=NOW)
    assert [one.type for one in conditions] == ["Accepted", "Ready"]
    assert conditions[0].last_transition_time == THEN
    assert (conditions[0].message, conditions[0].observed_generation) == ("still", 2)


def test_the_time_changes_with_the_status() -> None:
    (condition,) = set_condition(made("Accepted"), "Accepted", "False", "Invalid", generation=2, now=NOW)
    assert condition.last_transition_time == NOW


def test_what_was_given_is_not_changed() -> None:
    before = made("Accepted")
    set_condition(before, "Accepted", "False", "Invalid", generation=2, now=NOW)
    assert before[0].status == "True"


def test_a_long_message_is_cut_with_a_mark() -> None:
    (condition,) = set_condition([], "Accepted", "False", "Invalid", "x" * 10_000, generation=1, now=NOW)
    assert len(condition.message) == 4096
    assert condition.message.endswith("…")


def test_a_reason_must_be_documented() -> None:
    with pytest.raises(KeyError):
        set_condition([], "Accepted", "False", "BadLuck", generation=1, now=NOW)


def test_a_condition_is_found_by_its_type() -> None:
    found = find_condition(made("Accepted", "Ready"), "Ready")
    assert found is not None
    assert found.type == "Ready"
    assert find_condition([], "Ready") is None


def test_a_condition_is_written_as_kubernetes_writes_it() -> None:
    (condition,) = made("Accepted")
    assert condition.model_dump(exclude_none=True) == {
        "type": "Accepted",
        "status": "True",
        "reason": "Valid",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": THEN,
    }


def test_types_and_reasons_are_camel_case_and_explained() -> None:
    for name, meaning in {**TYPES, **REASONS}.items():
        assert name.isalpha()
        assert name[0].isupper()
        assert meaning
        assert not meaning.endswith(".")
