"""Which groups an event belongs to, and that the query of a group finds just its events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.groups import (
    MAX_GROUPS,
    belongs,
    canonical,
    canonical_group,
    group_query,
    group_text,
    groups_of,
    values_of,
)
from vedette_engine.normalise.document import to_document
from vedette_engine.query.naive import matches
from vedette_engine.query.tree import Term

FIELDS = ("user.name", "source.ip", "source.port", "x.flag")
texts = st.sampled_from(["a", "A", "ß", "ẞ", "İ", "-", "", "*", "a b", '"', "\\", "true", "4711"])
values = {
    "user.name": texts,
    "source.ip": st.sampled_from(["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "2001:DB8:0::1"]),
    "source.port": st.integers(0, 3) | st.sampled_from(["1", "x"]),
    "x.flag": texts | st.booleans() | st.integers(0, 2) | st.sampled_from([0.5, 1.0]),
}
events = st.fixed_dictionaries(
    {}, optional={name: held | st.lists(held, max_size=3) for name, held in values.items()}
).map(lambda event: to_document({**event, "@timestamp": 0}))


@given(events, events, st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
def test_the_query_of_a_group_finds_exactly_its_events(
    one: dict[str, Any], other: dict[str, Any], group_by: list[str]
) -> None:
    theirs = set(groups_of(other, group_by))
    for group in groups_of(one, group_by):
        query = group_query(group_by, group)
        assert matches(query, one)
        assert matches(query, other) == (group in theirs) == belongs(other, group_by, group)


@given(events, st.sampled_from(FIELDS))
def test_values_are_one_where_a_term_takes_them_for_equal(document: dict[str, Any], field: str) -> None:
    for value in values_of(document, field):
        assert matches(Term(field, value), document)
        assert canonical(field, value) == value


@given(events, st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
def test_a_group_that_a_store_tells_in_other_spellings_is_the_same(
    document: dict[str, Any], group_by: list[str]
) -> None:
    for group in groups_of(document, group_by):
        upper = [None if value is None else value.upper() if value.isascii() else value for value in group]
        assert canonical_group(group_by, upper) == group


@pytest.mark.parametrize(
    ("event", "groups"),
    [
        ({}, [(None, None)]),
        ({"user.name": "Ana"}, [("ana", None)]),
        ({"user.name": ["Ana", "ana", "Bo"]}, [("ana", None), ("bo", None)]),
        (
            {"user.name": ["a", "b"], "source.ip": ["192.0.2.1", "::ffff:c000:202"]},
            [("a", "192.0.2.1"), ("a", "192.0.2.2"), ("b", "192.0.2.1"), ("b", "192.0.2.2")],
        ),
        ({"user.name": []}, [(None, None)]),
    ],
)
def test_values_multiply_and_absence_is_one(event: dict[str, Any], groups: list[tuple[str | None, ...]]) -> None:
    assert list(groups_of(to_document(event), ("user.name", "source.ip"))) == groups


def test_an_event_belongs_to_one_group_where_nothing_is_grouped_by() -> None:
    assert list(groups_of({}, ())) == [()]


def test_long_lists_do_not_multiply_without_end() -> None:
    many = [str(number) for number in range(100)]
    event = to_document({f"a.{number}": many for number in range(10)})
    assert len(list(groups_of(event, [f"a.{number}" for number in range(10)]))) == MAX_GROUPS


def test_a_text_too_long_to_search_for_is_no_value() -> None:
    document = to_document({"user.name": ["x" * 8000, "y" * 8001]})
    assert values_of(document, "user.name") == ("x" * 8000,)


def test_different_groups_have_different_texts_of_bounded_length() -> None:
    groups = [(None,), ("",), ("null",), ("a", "b"), ("a,b",), ("x" * 9000,), ("x" * 9001,), (None, None)]
    texts = {group_text(group) for group in groups}
    assert len(texts) == len(groups)
    assert max(map(len, texts)) <= 512
