"""Sending dead letters through the pipeline again, under the ids that they had."""

from __future__ import annotations

from collections.abc import Sequence

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.store.protocol import DeadLetter, Store
from vedette_engine.wire import Run, encode

QUEUE_PREFIX = "events."
AT_ONCE = 100


def replay(store: Store, broker: Broker, ids: Sequence[str]) -> int:
    """Publish these letters and mark them replayed; returns how many. Letters that do not exist are passed over.

    A crash in between publishes some twice, which is harmless: the ids are the old ones.
    """
    done = 0
    for start in range(0, len(ids), AT_ONCE):
        found = map(store.get_dead_letter, ids[start : start + AT_ONCE])
        letters = [letter for letter in found if letter is not None]
        if letters:
            broker.publish([_message(letter) for letter in letters])
            done += store.mark_dead_letters([letter.id for letter in letters], "replayed")
    return done


def _message(letter: DeadLetter) -> Message:
    queue = QUEUE_PREFIX + letter.source
    headers = letter.headers
    if letter.reason == "UnreadableMessage":
        return Message(queue, letter.original, headers)
    run = Run(1, headers["key"], int(headers["position"]), headers["keyed"] == "1")
    body, made = encode(
        source=letter.source,
        ingested=int(headers["ingested"]),
        kind="text",
        records=[letter.original],
        runs=[run],
    )
    return Message(queue, body, made)
