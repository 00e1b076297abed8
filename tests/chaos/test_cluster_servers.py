"""RabbitMQ and Elasticsearch under a release fail in mid-stream, and come back."""

from __future__ import annotations

import random
import time

import pytest
from tests.chaos.streams import PATIENCE, PER_REQUEST, Stream
from tests.cluster.servers import Fronts
from tests.helpers import until
from tests.servers.amqp_faults import WAYS, AmqpFaults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OUTAGE = 3500
"""Events that are sent during an outage: 35 seconds."""
CUTS = 3
"""Of each kind."""


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
    refused = stream.refused[503]
    with rabbit.short_of_disk():
        until(lambda: stream.refused[503] > refused, seconds=60, what="an answer 503 under the disk alarm")
        answered = stream.answered
        until(lambda: stream.refused[503] > refused + 5, seconds=60, what="more of them")
        assert stream.answered <= answered + PER_REQUEST, "nothing can be taken under the disk alarm"
    stream.recovered("RabbitMQ's disk alarm")
    stream.account()


def test_connections_to_rabbitmq_break_while_something_is_published(stream: Stream, fronts: Fronts) -> None:
    """In the middle of frames, and when the message is there but its publisher does not know."""
    seed = time.time_ns()
    faults = AmqpFaults(random.Random(seed))
    with fronts.rabbitmq.meddled(faults):
        until(
            lambda: all(faults.done[way] >= CUTS for way in WAYS),
            seconds=PATIENCE,
            what=f"{CUTS} cuts of each kind, seed {seed}",
        )
    stream.recovered(f"connections to RabbitMQ cut in mid-publish, {3 * CUTS} times and more")
    stream.account()


def test_elasticsearch_is_down_or_read_only_while_events_are_taken(stream: Stream) -> None:
    elastic = stream.shop.backends.elasticsearch
    refused, letters = stream.refused.copy(), stream.letters()
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
    assert stream.letters() == letters
    stream.account()
