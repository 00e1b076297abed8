"""Sending dead letters through the pipeline again, under the ids that they had."""

from __future__ import annotations

from collections.abc import Container, Sequence

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.store.protocol import DeadLetter, Store
from vedette_engine.wire import QUEUE_PREFIX, Run, encode
from vedette_workers.pipeline.effects import ATTEMPT, CUT, ENCODING

AT_ONCE = 20
"""Letters in one call of the broker; each may be as large as a message can be."""


def replay(store: Store, broker: Broker, ids: Sequence[str]) -> int:
    """Publish these letters and mark them replayed; returns how many.

    Letters that do not exist or do not hold all of what came, and those of a source that has no queue, are passed over
    and stay as they are.
    A crash in between publishes some twice, which is harmless: the ids are the old ones, and are looked up.
    """
    queues = frozenset(broker.queues())
    distinct = list(dict.fromkeys(ids))
    done = 0
    for start in range(0, len(distinct), AT_ONCE):
        found = map(store.get_dead_letter, distinct[start : start + AT_ONCE])
        letters = [letter for letter in found if letter is not None and _replayable(letter, queues)]
        if letters:
            broker.publish([_message(letter) for letter in letters])
            done += store.mark_dead_letters([letter.id for letter in letters], "replayed")
    return done


def _replayable(letter: DeadLetter, queues: Container[str]) -> bool:
    return CUT not in letter.headers and _queue(letter) in queues


def _queue(letter: DeadLetter) -> str:
    return QUEUE_PREFIX + letter.source


def _message(letter: DeadLetter) -> Message:
    headers = letter.headers
    attempt = {ATTEMPT: letter.id}
    if ENCODING in headers:
        attempt[ENCODING] = headers[ENCODING]
    if letter.reason == "UnreadableMessage":
        return Message(_queue(letter), letter.original, {**headers, **attempt})
    # Keyed, whoever chose the key: the id may be stored already, when a letter is replayed twice.
    run = Run(1, headers["key"], int(headers["position"]), keyed=True)
    body, made = encode(
        source=letter.source,
        ingested=int(headers["ingested"]),
        kind="text",
        records=[letter.original],
        runs=[run],
    )
    return Message(_queue(letter), body, {**made, **attempt})
