"""Notices survive the way through a queue, nothing else is taken for one, and groups are what people mean."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.notices import (
    MAX_GROUP,
    MAX_NOTICES,
    MAX_WITHIN,
    Notice,
    NoticeError,
    decode,
    encode,
    group_of,
)

a_notice = st.builds(
    Notice,
    st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
    st.text("abc-", min_size=1, max_size=40),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
    st.integers(0, MAX_WITHIN),
)
values = st.lists(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.lists(st.text(max_size=5) | st.integers(), max_size=4),
    max_size=5,
)


@given(st.lists(a_notice, max_size=30))
def test_what_is_read_is_what_was_written_once_each(notices: list[Notice]) -> None:
    messages = list(encode(notices))
    assert [notice for message in messages for notice in decode(*message)] == list(dict.fromkeys(notices))


def test_many_notices_become_several_messages() -> None:
    notices = [Notice(f"a{number}", "r", number, "g", 1) for number in range(2 * MAX_NOTICES + 1)]
    assert [len(decode(*message)) for message in encode(notices)] == [MAX_NOTICES, MAX_NOTICES, 1]


GOOD = ["a", "r", 0, "g", 1]
HEADERS = {"v": "1", "kind": "alerts"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", HEADERS),
        (b"{}", {}),
        (orjson.dumps([GOOD]), {"v": "2", "kind": "alerts"}),
        (orjson.dumps([GOOD]), {"v": "1", "kind": "json"}),
        (b"7", HEADERS),
        (b"\xff", HEADERS),
        (orjson.dumps([GOOD[:4]]), HEADERS),
        (orjson.dumps([[*GOOD, 1]]), HEADERS),
        (orjson.dumps([[1, *GOOD[1:]]]), HEADERS),
        (orjson.dumps([["", *GOOD[1:]]]), HEADERS),
        (orjson.dumps([[*GOOD[:2], True, "g", 1]]), HEADERS),
        (orjson.dumps([[*GOOD[:4], -1]]), HEADERS),
        (orjson.dumps([[*GOOD[:3], "g" * (MAX_GROUP + 1), 1]]), HEADERS),
        (orjson.dumps([GOOD] * (MAX_NOTICES + 1)), HEADERS),
    ],
)
def test_anything_else_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(NoticeError):
        decode(body, headers)


@given(st.binary(max_size=100))
def test_any_bytes_are_notices_or_refused(body: bytes) -> None:
    try:
        decode(body, HEADERS)
    except NoticeError:
        return


@given(values)
def test_a_group_is_a_bounded_text_whatever_the_values(found: list[Any]) -> None:
    group = group_of(found)
    assert len(group) <= MAX_GROUP
    group.encode()
    assert group_of(list(found)) == group


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["a", "b"], ["ab", ""], False),
        ([None], [""], False),
        ([["b", "a", "a"]], [["a", "b"]], True),
        ([["a"]], ["a"], False),
        ([4711], ["4711"], True),
        ([True], ["true"], True),
        (["x" * 9000], ["x" * 9001], False),
        (["x" * 9000], ["x" * 9000], True),
        ([10**6000], [10**6000 + 1], False),
        (["\ud800"], ["?"], True),
    ],
    ids=["divided", "missing", "order", "list", "number", "boolean", "long", "long equal", "huge", "half a surrogate"],
)
def test_which_values_are_one_group(one: list[Any], other: list[Any], *, same: bool) -> None:
    assert (group_of(one) == group_of(other)) is same
