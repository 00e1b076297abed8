"""Ids do not depend on when or how often something is processed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.ids import alert_id, dead_letter_id, digest, incident_name

texts = st.lists(st.text(max_size=8), min_size=1, max_size=4)


@given(one=texts, other=texts)
def test_different_parts_give_different_digests(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_ids_stay_the_same_from_version_to_version() -> None:
    """They are kept in stores: a change here raises every alert a second time."""
    assert alert_id("shop", "ssh", "4d9d", "e1") == "c00b9ecc944d53d1a65576bb7c6131b6"
    assert dead_letter_id("e1", "Malformed") == "50ec60953ea9ead14afe5ff3dd86dc03"
    assert incident_name(1_795_000_000_000, "ssh", "192.0.2.7", "a1") == "inc-20261118-bb8b517a76"


def test_every_part_of_an_alert_counts() -> None:
    base = ["ns", "rule", "document", "event"]
    changed = {alert_id(*[*base[:index], "x", *base[index + 1 :]]) for index in range(4)}
    assert len(changed | {alert_id(*base)}) == 5


def test_half_a_surrogate_pair_has_a_digest_too() -> None:
    assert digest("\ud800") != digest("\udc00")


@given(time=st.integers(-(2**63), 2**63), rule=st.text(max_size=40), group=st.text(), first=st.text())
def test_incidents_have_names_that_a_cluster_takes_whatever_the_time(
    time: int, rule: str, group: str, first: str
) -> None:
    name = incident_name(time, rule, group, first)
    assert re.fullmatch(r"inc-[0-9]{8}-[0-9a-f]{10}", name)
    assert len(name) <= 40


@pytest.mark.parametrize(
    ("time", "day"),
    [
        (0, "19700101"),
        (-1, "19691231"),
        (1_795_000_000_000, "20261118"),
        (-62_135_596_800_000, "00010101"),
        (-62_167_219_200_000, "00010101"),
        (253_402_300_799_999, "99991231"),
        (253_402_300_800_000, "99991231"),
    ],
)
def test_the_day_in_the_name_is_that_of_the_event(time: int, day: str) -> None:
    assert incident_name(time, "r", "", "a").split("-")[1] == day
