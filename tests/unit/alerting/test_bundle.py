"""A bundle survives the way through the store, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.bundle import Bundle, BundledEnrichment, BundledRule, BundleError, decode, encode

names = st.text(max_size=10)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, plain, max_size=4)
rules = st.builds(
    BundledRule,
    name=names,
    hash=names,
    sigma=st.lists(objects, max_size=2),
    severity=names,
    title=names,
    summary=names,
    owner=names,
    runbook=names,
    tags=st.lists(names, max_size=3),
    version=names,
    incident=objects,
    search=objects,
)
enrichments = st.builds(
    BundledEnrichment, name=names, hash=names, spec=objects, tables=st.dictionaries(names, names | objects, max_size=2)
)
bundles = st.builds(
    Bundle,
    namespace=names,
    sources=st.dictionaries(names, objects, max_size=3),
    enrichments=st.lists(enrichments, max_size=2).map(tuple),
    rules=st.lists(rules, max_size=2).map(tuple),
)


@given(bundles)
def test_what_is_read_is_what_was_written(bundle: Bundle) -> None:
    assert decode(encode(bundle)) == bundle


@given(bundles)
def test_equal_bundles_give_equal_bytes_whatever_the_order_of_keys(bundle: Bundle) -> None:
    sources = dict(reversed(list(bundle.sources.items())))
    assert encode(Bundle(bundle.namespace, sources, bundle.enrichments, bundle.rules)) == encode(bundle)


WHOLE: dict[str, Any] = {"v": 1, "namespace": "n", "sources": {}, "enrichments": [], "rules": []}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff",
        orjson.dumps({**WHOLE, "v": 2}),
        orjson.dumps({name: value for name, value in WHOLE.items() if name != "v"}),
        orjson.dumps({name: value for name, value in WHOLE.items() if name != "rules"}),
        orjson.dumps({**WHOLE, "rules": None}),
        orjson.dumps({**WHOLE, "rules": [7]}),
        orjson.dumps({**WHOLE, "rules": [{"name": "r"}]}),
        orjson.dumps({**WHOLE, "enrichments": [{"name": "e", "hash": "", "spec": {}, "newer": 1}]}),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        decode(data)


def test_a_search_survives_the_way_and_is_left_out_where_there_is_none() -> None:
    data = encode(Bundle("shop", rules=(BundledRule("a", "", [{}]), BundledRule("b", "", [], search={"query": "*"}))))
    assert [rule.search for rule in decode(data).rules] == [{}, {"query": "*"}]
    # Workers of the version before know no such key, and refuse a bundle that has it.
    assert ["search" in rule for rule in orjson.loads(data)["rules"]] == [False, True]
