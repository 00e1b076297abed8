"""Which version of an object workers have: numbers of bundles, and the condition Loaded that follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.store.protocol import Heartbeat
from vedette_engine.alerting.bundle import Bundle, BundledRule
from vedette_operator.observe import Loading
from vedette_operator.space import HEADS, Space


def rule(name: str, content: str) -> BundledRule:
    return BundledRule(name=name, hash=content, sigma=[])


def bundle(**rules: str) -> Bundle:
    """Rules by name, each with what stands for its content."""
    held = [rule(name, content) for name, content in sorted(rules.items())]
    return Bundle(namespace="shop", sources={}, enrichments=[], rules=held)


def beat(head: str, **body: Any) -> Heartbeat:
    return Heartbeat("pipeline", "1", 0, {"role": "pipeline", "bundle": head, **body})


def live(space: Space, name: str, *heads: str) -> bool:
    """Whether workers with these bundles have the rule as it is in force."""
    loading = Loading.of(space, [beat(head) for head in heads])
    return loading.finding(space.since("AlertRule", name)).status == "True"


def test_a_rule_is_live_when_every_worker_has_a_bundle_with_it() -> None:
    space = Space("shop", None)
    space.in_force(bundle(a="1"), "h1")
    space.in_force(bundle(a="1", b="1"), "h2")
    assert live(space, "b", "h2", "h2")
    assert not live(space, "b", "h1", "h2")
    assert not live(space, "b", "h2", "unknown")


def test_a_rule_that_did_not_change_stays_live_while_workers_load_another() -> None:
    space = Space("shop", None)
    space.in_force(bundle(a="1"), "h1")
    space.in_force(bundle(a="1", b="1"), "h2")
    assert live(space, "a", "h1")
    assert not live(space, "b", "h1")


def test_a_rule_that_changed_is_live_only_with_its_new_version() -> None:
    space = Space("shop", None)
    space.in_force(bundle(a="1"), "h1")
    space.in_force(bundle(a="2"), "h2")
    assert not live(space, "a", "h1")
    assert live(space, "a", "h2")


def test_a_rule_that_goes_back_to_what_it_was_needs_the_bundle_that_says_so() -> None:
    space = Space("shop", None)
    space.in_force(bundle(a="1"), "h1")
    space.in_force(bundle(a="2"), "h2")
    space.in_force(bundle(a="1"), "h1")
    # The same content as before has the same hash: whoever has it has the newest.
    assert live(space, "a", "h1")
    assert not live(space, "a", "h2")


def test_a_rule_that_was_deleted_and_comes_again_needs_a_bundle_with_it() -> None:
    space = Space("shop", None)
    space.in_force(bundle(a="1", b="1"), "h1")
    space.in_force(bundle(b="1"), "h2")
    space.in_force(bundle(a="1", b="2"), "h3")
    assert not live(space, "a", "h2")
    assert live(space, "a", "h3")


def test_the_bundle_that_an_earlier_run_published_counts() -> None:
    space = Space("shop", bundle(a="1"), "h0")
    assert live(space, "a", "h0")
    space.in_force(bundle(a="1", b="1"), "h1")
    assert live(space, "a", "h0")
    assert not live(space, "b", "h0")
    assert not live(space, "a", "older than that")


def test_bundles_of_long_ago_are_forgotten() -> None:
    space = Space("shop", None)
    for number in range(HEADS + 10):
        space.in_force(bundle(a="1", b=str(number)), f"h{number}")
    assert space.number("h0") == -1
    assert not live(space, "a", "h0")
    assert live(space, "a", f"h{20}")


contents = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), min_size=1)


@given(st.lists(contents, min_size=1, max_size=8), st.data())
def test_a_rule_is_live_exactly_on_workers_whose_bundle_holds_what_is_in_force(
    history: list[dict[str, str]], data: st.DataObject
) -> None:
    space = Space("shop", None)
    for rules in history:
        space.in_force(bundle(**rules), repr(sorted(rules.items())))
    loaded = data.draw(st.sampled_from(history))
    head = repr(sorted(loaded.items()))
    for name, content in history[-1].items():
        if live(space, name, head):
            assert loaded.get(name) == content
    assert all(live(space, name, repr(sorted(history[-1].items()))) for name in history[-1])


# sources that go -----------------------------------------------------------------------------------------------------
def with_sources(*names: str) -> Bundle:
    return Bundle(namespace="shop", sources={name: {"dataset": name} for name in names}, enrichments=[], rules=[])


def test_workers_have_left_a_source_when_their_bundle_is_one_without_it() -> None:
    space = Space("shop", with_sources("web", "db"), "h0")
    assert not space.is_left("web", ["h0"])
    assert not space.is_left("web", [])  # the bundle without it is not in force yet
    space.in_force(with_sources("db"), "h1")
    space.in_force(with_sources("db", "mail"), "h2")
    assert not space.is_left("web", ["h2", "h0"])
    assert not space.is_left("web", ["h2", "unheard of"])
    assert space.is_left("web", ["h1", "h2"])
    assert space.is_left("web", [])
    space.in_force(with_sources("db", "web"), "h3")
    assert not space.is_left("web", ["h1", "h2", "h3"])
    space.in_force(with_sources("db"), "h4")
    assert not space.is_left("web", ["h1"])
    assert space.is_left("web", ["h4"])


# Loaded --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        ([], ("Unknown", "NoWorkers")),
        ([beat("h1")], ("True", "Live")),
        ([beat("h1"), beat("h0")], ("False", "Waiting")),
        ([beat("h1"), beat("h0", errors=["no memory"])], ("False", "WorkerFailed")),
        ([beat("h1", errors=["something else"])], ("True", "Live")),
        ([Heartbeat("pipeline", "1", 0, {"role": "pipeline"})], ("False", "Waiting")),
    ],
    ids=["no worker", "live", "one is behind", "one failed", "an error beside it", "nothing loaded yet"],
)
def test_loaded_says_what_the_slowest_worker_does(beats: list[Heartbeat], expected: tuple[str, str]) -> None:
    space = Space("shop", bundle(), "h0")
    space.in_force(bundle(a="1"), "h1")
    found = Loading.of(space, beats).finding(space.since("AlertRule", "a"))
    assert (found.type, found.status, found.reason) == ("Loaded", *expected)
