"""What an Incident says when an alert opens it: short, plain, and accepted by the kind whatever the events hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.incident import Incident
from vedette_engine.alerting.incidents import ENTITY_FIELDS, describe, entities, is_open, manifest, timestamp

texts = st.text(max_size=300)
documents = st.lists(
    st.dictionaries(
        st.sampled_from(ENTITY_FIELDS),
        texts | st.integers() | st.booleans() | st.none() | st.lists(texts | st.integers(), max_size=4),
        max_size=4,
    ),
    max_size=5,
)


@given(
    title=texts,
    severity=texts,
    summary=st.text(max_size=3000),
    runbook=texts,
    events=documents,
    occurred=st.integers(-(2**63), 2**63),
)
def test_the_kind_accepts_it_whatever_the_alert_says(
    title: str, severity: str, summary: str, runbook: str, events: list[dict[str, Any]], occurred: int
) -> None:
    about = entities(events)
    description = describe(rule="ssh", alert="a" * 32, summary=summary, runbook=runbook, about=about)
    made = manifest(
        "shop",
        "inc-20261118-bb8b517a76",
        rule="ssh",
        alert="a" * 32,
        title=title,
        severity=severity,
        description=description,
        occurred=occurred,
        opened=1_795_000_000_000,
    )
    model = Incident.model_validate(made)
    assert "\n" not in model.spec.title
    assert is_open(made["spec"])


@given(documents)
def test_entities_are_bounded_and_in_the_order_of_their_fields(events: list[dict[str, Any]]) -> None:
    found = entities(events)
    assert list(found) == [name for name in ENTITY_FIELDS if name in found]
    for values in found.values():
        assert 0 < len(values) <= 20
        assert len(set(values)) == len(values)
        assert all(0 < len(value) <= 256 for value in values)


def test_entities_name_who_and_what_once_each() -> None:
    events: list[dict[str, Any]] = [
        {"user.name": "root", "source.ip": ["192.0.2.7", "192.0.2.8"], "message": "x"},
        {"user.name": "root", "host.name": "-"},
        {"user.name": "ana"},
    ]
    assert entities(events) == {"user.name": ["root", "ana"], "source.ip": ["192.0.2.7", "192.0.2.8"]}


def test_a_description_says_why_and_where_to_go_on() -> None:
    about = {"source.ip": [f"192.0.2.{number}" for number in range(7)]}
    text = describe(rule="ssh", alert="a1", summary="guessed\na password", runbook="https://run.example", about=about)
    assert text.splitlines() == [
        "guessed a password",
        "Opened by rule ssh because of alert a1.",
        "source.ip: 192.0.2.0, 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 2 more",
        "Runbook: https://run.example",
    ]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_000_000_123, "2026-11-18T11:06:40.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-(2**62), "0001-01-01T00:00:00.000Z"),
        (2**62, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_iso_8601_in_utc_and_stay_within_the_calendar(time: int, text: str) -> None:
    assert timestamp(time) == text
