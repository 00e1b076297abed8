"""Elasticsearch answers a whole release with refusals, errors of single items, half answers, or late."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack, closing

import pytest
from tests.chaos.containers import restarts, started_again
from tests.chaos.streams import EVERY, PATIENCE, SOURCE, Stream
from tests.cluster.release import SYSTEM, Release
from tests.cluster.servers import Fronts
from tests.helpers import until
from tests.servers.elastic_faults import ITEMS_TOO_MANY, WHOLE, ElasticFaults

from vedette_backends.broker.rabbitmq import open_broker
from vedette_workers.librarian.replay import replay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FAULTS = (*WHOLE, ITEMS_TOO_MANY, "events rejected", "alerts rejected")
AT_LEAST = 1
"""Of each, on bulk requests of events or alerts; others meet more of them."""
REJECTED, UNALERTED = "DocumentRejected", "AlertRejected"
REASONS = {REJECTED, UNALERTED}


def test_whatever_elasticsearch_answers_each_event_is_stored_or_a_dead_letter(stream: Stream, fronts: Fronts) -> None:
    shop = stream.shop
    refused, before = stream.refused.copy(), waiting(shop)
    began = {namespace: restarts(shop, namespace) for namespace in ("shop", SYSTEM)}
    seed = time.time_ns()
    faults = ElasticFaults(random.Random(seed))

    def letters() -> Counter[str]:
        return Counter(reason for letter, reason in waiting(shop).items() if letter not in before)

    with ExitStack() as meddling:
        # The server rejects no document that it has taken before: so nothing may be under way when this begins.
        with stream.held():
            meddling.enter_context(fronts.elasticsearch.meddled(faults))
        until(
            lambda: all(faults.done[fault] >= AT_LEAST for fault in FAULTS) and letters().keys() == REASONS,
            seconds=2 * PATIENCE,
            what=f"each kind of fault, seed {seed}",
            pause=0.5,
        )
    stream.recovered("Elasticsearch answers 429, 503, halves, refuses items", lambda: letters()[REJECTED])
    assert stream.refused == refused, "events were to be taken all the time"
    stream.end()
    stream.stored(stream.answered, lambda: letters()[REJECTED])
    marked, set_aside = len(range(0, stream.answered, EVERY)), letters()
    assert stream.count() + set_aside[REJECTED] == stream.answered, f"seed {seed}"
    alerted = marked - set_aside[UNALERTED]
    until(lambda: len(stream.alerts()) >= alerted, seconds=PATIENCE, what=f"{alerted} alerts", pause=0.2)
    assert len(stream.alerts()) == alerted, f"seed {seed}"
    # What was set aside comes back whole, and only once: each event, each alert.
    ids = sorted(waiting(shop).keys() - before.keys())
    with closing(open_broker(shop.backends.rabbitmq.settings, "shop", name="test")) as broker:
        assert replay(shop.store(), broker, ids) == len(ids)
    stream.account()
    assert waiting(shop) == before
    for namespace, counts in began.items():
        assert not started_again(shop, namespace, counts)


def waiting(shop: Release) -> dict[str, str]:
    """Reasons of the source's dead letters that nobody has looked at, by id."""
    found: dict[str, str] = {}
    after: str | None = None
    while True:
        page, _, after = shop.store().search_dead_letters(source=SOURCE, state="waiting", size=1000, after=after)
        found.update((letter.id, letter.reason) for letter in page)
        if after is None:
            return found
