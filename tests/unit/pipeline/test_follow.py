"""Workers follow the head of the bundle, and keep what they have when the newest cannot be taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.errors import UnavailableError
from vedette_engine.alerting.bundle import Bundle
from vedette_workers.pipeline.follow import BundleFollower


class Taker:
    """Takes bundles unless told to refuse them."""

    def __init__(self) -> None:
        self.taken: list[Bundle] = []
        self.refusal: Exception | None = None

    def load(self, bundle: Bundle, tables: Callable[[str], bytes]) -> None:
        del tables
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(bundle)


@pytest.fixture
def taker() -> Taker:
    return Taker()


def follower(store: Any, taker: Taker, times: list[float] | None = None) -> BundleFollower:
    clock = iter(times).__next__ if times else lambda: 1.0
    return BundleFollower(store, taker.load, interval=5.0 if times else 0.0, clock=clock)


def test_the_newest_bundle_is_loaded_once(space: Any, taker: Taker) -> None:
    follows = follower(space.store, taker)
    assert not follows.poll()
    digest = space.publish(Bundle("shop"))
    assert follows.poll()
    assert not follows.poll()
    assert follows.current == digest
    assert taker.taken == [Bundle("shop", {}, (), ())]


def test_the_store_is_asked_no_more_often_than_the_interval(space: Any, taker: Taker) -> None:
    follows = follower(space.store, taker, [1.0, 2.0, 5.9, 6.0])
    assert not follows.poll()
    space.publish(Bundle("shop"))
    assert [follows.poll() for _ in range(3)] == [False, False, True]


def test_a_refused_bundle_is_not_tried_again_and_the_next_one_is(
    space: Any, taker: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    follows = follower(space.store, taker)
    first = space.publish(Bundle("shop"))
    follows.poll()
    taker.refusal = KeyError("a fault of ours")
    space.publish(Bundle("shop", {"a": {}}))
    assert [follows.poll() for _ in range(3)] == [False, False, False]
    assert "refused: KeyError" in follows.problem
    assert sum("was refused" in message for message in caplog.messages) == 1
    assert follows.current == first
    taker.refusal = None
    space.publish(Bundle("shop", {"b": {}}))
    assert follows.poll()
    assert follows.problem == ""


def test_a_problem_goes_when_the_head_goes_back_to_the_bundle_in_force(space: Any, taker: Taker) -> None:
    follows = follower(space.store, taker)
    space.publish(Bundle("shop"))
    follows.poll()
    space.store.set_head("bundle", space.store.put_blob(b"damaged"))
    follows.poll()
    assert follows.problem
    space.publish(Bundle("shop"))
    assert not follows.poll()
    assert follows.problem == ""


def test_a_store_that_is_away_is_asked_again_and_the_problem_goes_with_it(
    space: Any, taker: Taker, unavailable: Any
) -> None:
    store = unavailable(space.store, {"head": [UnavailableError("gone")]})
    follows = follower(store, taker)
    assert not follows.poll()
    assert "gone" in follows.problem
    assert not follows.poll()
    assert follows.problem == ""
    store.failures["get_blob"] = [UnavailableError("gone")]
    space.publish(Bundle("shop"))
    assert [follows.poll(), follows.poll()] == [False, True]
