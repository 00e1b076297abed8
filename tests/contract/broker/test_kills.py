"""Publishers and consumers that are killed at any moment: nothing confirmed is lost, nothing comes again unmarked."""

import random
import subprocess
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.broker.protocol import Broker, Message

_PUBLISHER = """
import itertools
for n in itertools.count():
    broker.publish([Message('q', f'{NAME}-{n}-{part}'.encode() + bytes(5000)) for part in range(3)])
    say(n)
"""

# What a consumer did is on disk before it acks, as a store does it.
_CONSUMER = """
import os
log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
consumer = broker.consume(['q'], prefetch=4)
say('ready')
while True:
    for d in consumer.fetch(3, 1.0):
        os.write(log, f"{d.body.rstrip(bytes(1)).decode()} {d.deliveries} {int(d.redelivered)}\\n".encode())
        consumer.ack([d.tag])
"""


@pytest.mark.slow
def test_any_process_may_be_killed_at_any_moment(
    place: Any, broker: Broker, heard: Callable[..., str], kill: Callable[..., None], until_empty: Callable[..., None]
) -> None:
    broker.declare("q")
    dice = random.Random(7)
    log = place.folder / "consumed"
    confirmed: set[str] = set()

    def start(number: int) -> subprocess.Popen[str]:
        if number % 2:
            child: subprocess.Popen[str] = place.child(f"LOG = {str(log)!r}\n{_CONSUMER}")
            assert heard(child) == "ready"
            return child
        name = f"p{len(place.children)}"
        child = place.child(f"NAME = {name!r}\n{_PUBLISHER}")
        names[child.pid] = name
        return child

    def note(child: subprocess.Popen[str], words: list[str]) -> None:
        if child.pid in names:
            confirmed.update(f"{names[child.pid]}-{n}-{part}" for n in words for part in range(3))

    names: dict[int, str] = {}
    children = [start(number) for number in range(4)]
    for _ in range(24):
        number = dice.randrange(4)
        child = children[number]
        if child.pid in names:
            note(child, [heard(child) for _ in range(dice.randrange(1, 15))])
        kill(child)
        assert child.stdout is not None
        note(child, child.stdout.read().split())
        children[number] = start(number)
    for child in children[::2]:
        kill(child)
        assert child.stdout is not None
        note(child, child.stdout.read().split())
    until_empty("q")
    taken: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        body, deliveries, redelivered = line.split()
        taken[body].append((int(deliveries), int(redelivered)))
    assert len(confirmed) > 300
    assert confirmed <= set(taken)
    for times in taken.values():
        counts = [deliveries for deliveries, _ in times]
        assert counts == sorted(set(counts))
        assert all(redelivered == (deliveries > 1) for deliveries, redelivered in times)


# RabbitMQ has no transactions over quorum queues: there a part of a call may be durable.
@pytest.mark.slow
@pytest.mark.parametrize("place", ["embedded"], indirect=True)
def test_a_publisher_killed_in_the_middle_leaves_whole_calls(
    place: Any, broker: Broker, heard: Callable[..., str], kill: Callable[..., None]
) -> None:
    broker.declare("q")
    for number in range(8):
        child = place.child(f"NAME = 'x{number}'\n" + _PUBLISHER.replace("bytes(5000)", "bytes(900_000)"))
        heard(child)
        kill(child)
    found = broker.consume(["q"], prefetch=1000).fetch(1000, 5)
    parts = [delivery.body[:40].rstrip(b"\0").decode().rsplit("-", 1) for delivery in found]
    assert [part for _, part in parts] == ["0", "1", "2"] * (len(found) // 3)
    assert len({call for call, _ in parts}) * 3 == len(found) >= 24
    broker.publish([Message("q", b"fine")])
