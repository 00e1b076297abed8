"""RabbitMQ and Elasticsearch under a release fail in mid-stream, and come back."""

from __future__ import annotations

import pytest
from tests.chaos.streams import SOURCE, Stream
from tests.helpers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OUTAGE = 3500
"""Events that are sent during an outage: 35 seconds."""


def test_rabbitmq_is_restarted_short_of_memory_and_cuts_connections(stream: Stream) -> None:
    rabbit = stream.shop.backends.rabbitmq
    for _ in range(3):
        rabbit.ctl("close_all_connections", "a test")
        stream.passes(50)
    stream.recovered("RabbitMQ cuts all connections, three times")
    rabbit.restart()
    stream.recovered("RabbitMQ restarted")
    rabbit.restart(kill=True)
    stream.recovered("RabbitMQ killed and started")
    refused = stream.refused[503]
    with rabbit.alarmed():
        # The gateway says so as soon as a confirm takes too long.
        until(lambda: stream.refused[503] > refused, seconds=60, what="an answer 503 under the memory alarm")
    stream.recovered("RabbitMQ's memory alarm")
    stream.account()


def test_elasticsearch_is_down_or_read_only_while_events_are_taken(stream: Stream) -> None:
    elastic = stream.shop.backends.elasticsearch
    refused = stream.refused.copy()
    elastic.stop(kill=True)
    stream.passes(OUTAGE)
    elastic.start()
    stream.recovered(f"Elasticsearch killed while {OUTAGE} events came")
    assert stream.refused == refused, "events were to be taken while Elasticsearch was down"

    def block(value: object) -> None:
        elastic.ask("PUT", "/vedette-*.shop*/_settings", {"index.blocks.read_only_allow_delete": value})

    before = stream.count()
    block(value=True)
    stream.passes(500)
    block(value=None)
    stream.recovered("indices read-only")
    assert stream.count() > before
    with elastic.paused():
        stream.passes(1000)
    stream.recovered("Elasticsearch hangs")
    assert stream.shop.store().search_dead_letters(source=SOURCE)[1] == 0
    stream.account()
