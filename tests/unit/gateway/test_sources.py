from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.problems import ProblemsError
from vedette_workers.gateway.sources import SourceTable, digest

A, B = digest("a"), digest("b")


def entry(name: str, *tokens: bytes, **more: Any) -> dict[str, Any]:
    return {"namespace": "shop", "name": name, "tokens": [token.hex() for token in tokens], **more}


def load(*entries: object) -> SourceTable:
    return SourceTable.load({"v": 1, "sources": list(entries)})


def test_a_source_may_have_two_tokens_while_one_replaces_the_other() -> None:
    table = load(entry("web", A, B, A))
    assert table.find(A) == table.find(B)
    assert len(table.sources()) == 1
    assert table.problems == ()


def test_sources_that_share_a_token_are_all_left_out_and_named() -> None:
    table = load(entry("one", A), entry("two", A, B), entry("three", digest("c")))
    assert table.find(A) is None
    assert table.find(B) is None
    assert [source.name for source in table.sources()] == ["three"]
    assert {problem.object for problem in table.problems} == {"LogSource shop/one", "LogSource shop/two"}
    assert all("token" in problem.message for problem in table.problems)


@pytest.mark.parametrize(
    "bad",
    [
        entry("web"),
        entry("Not a label", A),
        {"namespace": "shop", "name": "web", "tokens": ["plain text"]},
        entry("web", A, limits={"eventsPerSecond": 0}),
        entry("web", A, limits={"maxEventBytes": 1 << 40}),
        entry("web", A, surprise=1),
        None,
        7,
    ],
)
def test_a_bad_entry_is_left_out_with_a_problem_that_says_where(bad: object) -> None:
    table = load(bad, entry("good", B))
    assert [source.name for source in table.sources()] == ["good"]
    assert "sources[0]" in table.problems[0].object
    assert digest("a").hex() not in str(table.problems)


@pytest.mark.parametrize("bundle", [{}, {"v": 2, "sources": []}, {"v": 1}, [], None, {"v": 1, "sources": {}}])
def test_what_is_no_bundle_of_this_version_is_refused(bundle: Any) -> None:
    with pytest.raises(ProblemsError):
        SourceTable.load(bundle)


def test_formats_of_lines_and_the_queue_follow_from_the_entry() -> None:
    table = load(entry("web", A), entry("auth", B, format="syslog", queue="elsewhere"))
    web, auth = table.find(A), table.find(B)
    assert web is not None
    assert auth is not None
    assert (web.text, web.queue) == (False, "events.web")
    assert (auth.text, auth.queue) == (True, "elsewhere")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON | st.fixed_dictionaries({"namespace": JSON, "name": JSON, "tokens": JSON}), max_size=4))
def test_any_entries_give_a_table(entries: list[object]) -> None:
    assert len(load(*entries).sources()) <= len(entries)
