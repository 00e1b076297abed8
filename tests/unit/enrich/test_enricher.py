from __future__ import annotations

from typing import Any

import pytest

from vedette_engine.enrich.base import Enricher, compile_enrichments


def enrich(
    event: dict[str, Any], *specs: dict[str, Any], source: str = "web", tables: dict[str, bytes] | None = None
) -> Enricher:
    enricher = compile_enrichments([(f"e{number}", spec) for number, spec in enumerate(specs)], tables)
    enricher.apply(event, source)
    return enricher


def test_enrichments_run_in_their_order_then_by_name() -> None:
    event: dict[str, Any] = {}
    enrich(
        event, {"set": {"a": 1}, "order": 20}, {"set": {"a": 2, "b": 2}, "order": 10}, {"set": {"b": 3}, "order": 10}
    )
    assert event == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("applies", "runs"),
    [
        ({}, True),
        ({"datasets": ["*"]}, True),
        ({"datasets": ["system.auth"]}, True),
        ({"datasets": ["other.log"]}, False),
        ({"sources": ["web"]}, True),
        ({"sources": ["db"]}, False),
        ({"fields": ["user.name"]}, True),
        ({"fields": ["user.name", "user.id"]}, False),
    ],
)
def test_an_enrichment_applies_by_dataset_source_and_fields(applies: dict[str, Any], *, runs: bool) -> None:
    event: dict[str, Any] = {"event.dataset": "system.auth", "user.name": "ana"}
    enricher = enrich(event, {"set": {"done": True}, "appliesTo": applies})
    assert ("done" in event) is runs
    assert enricher.counters == {"e0": {"applied": int(runs), "misses": 0, "failed": 0}}


def test_a_failure_tags_the_event_and_the_next_enrichment_still_runs() -> None:
    event: dict[str, Any] = {"a": 1, "b": 2, "tags": ["x"]}
    shared = event["tags"]
    enricher = enrich(event, {"rename": {"a": "b"}}, {"set": {"c": 3}})
    assert event == {"a": 1, "b": 2, "c": 3, "tags": ["x", "enrichment_failed"], "vedette.enrichment_failed": ["e0"]}
    assert shared == ["x"]
    assert enricher.counters["e0"]["failed"] == 1
    assert "b is taken" in enricher.errors["e0"]


def test_drop_field_removes_what_could_not_be_read_too() -> None:
    event: dict[str, Any] = {"a": 1, "b": 2}
    enrich(event, {"rename": {"a": "b"}, "onFailure": "drop-field"})
    assert event == {"b": 2, "tags": ["enrichment_failed"], "vedette.enrichment_failed": ["e0"]}


@pytest.mark.parametrize(
    "spec",
    [
        {"geoip": {"sourceField": "a", "targetField": "b.geo"}},
        {"lookup": {"keyField": "a", "table": {}, "set": {"b": "c"}}},
        {"cidr": {}},
        {"set": {"vedette.x": 1}},
        {"set": {"@timestamp": 1}},
        {"set": {"a": {"b": 1}}},
        {"rename": {"event.ingested": "x"}},
        {"drop": ["event.hash"]},
    ],
)
def test_an_enrichment_that_cannot_work_is_a_problem_and_fails_on_every_event(spec: dict[str, Any]) -> None:
    event: dict[str, Any] = {"a": "x"}
    enricher = enrich(event, spec)
    assert enricher.problems[0].object == "Enrichment e0"
    assert event["vedette.enrichment_failed"] == ["e0"]
    assert event["a"] == "x"


@pytest.mark.parametrize(
    ("spec", "before", "after"),
    [
        ({"set": {"a": [1, 2], "b": False}}, {"a": 0}, {"a": [1, 2], "b": False}),
        ({"rename": {"a": "b", "b": "a"}}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"rename": {"a": "b"}}, {"c": 1}, {"c": 1}),
        ({"drop": ["a", "x"]}, {"a": 1, "b": 2}, {"b": 2}),
    ],
)
def test_set_rename_and_drop(spec: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    enrich(before, spec)
    assert before == after
