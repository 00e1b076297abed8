"""What of an object's metadata makes a change that the operator acts on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster.protocol import Key, Object
from vedette_operator import marks
from vedette_operator.marks import FINALIZER, PAUSE

words = st.sampled_from(["a", "b", FINALIZER])
metadata = st.fixed_dictionaries(
    {},
    optional={
        "uid": words,
        "deletionTimestamp": st.just("2026-11-22T10:00:00Z"),
        "finalizers": st.lists(words, max_size=2),
        "annotations": st.none() | st.dictionaries(st.sampled_from([PAUSE, "x"]), st.sampled_from(["true", "false"])),
        "labels": st.dictionaries(words, words, max_size=1),
    },
)
things = st.builds(
    lambda known, spec, status, generation, version: Object(
        Key("LogSource", "shop", "web"), {"metadata": known, "spec": spec}, status, generation, version
    ),
    metadata,
    st.dictionaries(words, words, max_size=1),
    st.dictionaries(words, words, max_size=1),
    st.integers(1, 2),
    st.integers(1, 5),
)


@given(things, things)
def test_a_shadow_stands_for_its_object_in_every_comparison(one: Object, other: Object) -> None:
    shadow = marks.shadow(one)
    assert marks.same(one, shadow)
    assert marks.same(shadow, other) == marks.same(one, other)
    assert (shadow.key, shadow.version) == (one.key, one.version)
    assert (marks.paused(shadow), marks.going(shadow)) == (marks.paused(one), marks.going(one))


@given(things)
def test_a_shadow_is_small(one: Object) -> None:
    shadow = marks.shadow(one)
    assert shadow.status == {}
    assert set(shadow.manifest) == {"metadata"}
    assert "labels" not in shadow.manifest["metadata"]


@pytest.mark.parametrize(
    ("annotations", "paused"),
    [(None, False), ({}, False), ({PAUSE: "true"}, True), ({PAUSE: "false"}, False), ({PAUSE: ""}, False)],
)
def test_only_the_word_true_pauses(annotations: Any, *, paused: bool) -> None:
    item = Object(Key("LogSource", "shop", "web"), {"metadata": {"annotations": annotations}}, {}, 1, 1)
    assert marks.paused(item) == paused
