"""What processing some events wants done; nothing here does it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vedette_backends.store.protocol import Alert, DeadLetter, NewEvent
from vedette_engine.alerting.ids import dead_letter_id
from vedette_engine.wire import Record
from vedette_workers.pipeline.reasons import REASONS

ATTEMPT = "attempt"
"""Header of a message that replays a dead letter: the letter's id."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a record came here. Times in ms since the epoch.

    Attributes:
        source: name of the LogSource.
        ingested: when the gateway took it.
        now: when this worker took it.
        repeat: it may have been delivered before.
        attempt: the dead letter that this replays; empty for what comes for the first time.
    """

    source: str
    ingested: int
    now: int
    repeat: bool
    attempt: str = ""

    def letter(self, record: Record, reason: str, detail: str, *, distinct: str = "") -> DeadLetter:
        """A dead letter that can be replayed under the event's id; `distinct` tells letters of one event apart.

        A replay that fails for the same reason is another letter, or it would stay hidden behind the replayed one.

        Raises:
            KeyError: the reason is not documented.
        """
        REASONS[reason]  # an undocumented reason is a mistake in the program
        return DeadLetter(
            id=dead_letter_id(record.id, reason + distinct + self.attempt),
            time=self.now,
            source=self.source,
            reason=reason,
            detail=detail,
            original=record.raw,
            headers={
                "id": record.id,
                "key": record.key,
                "position": str(record.position),
                "keyed": str(int(record.keyed)),
                "ingested": str(self.ingested),
            },
        )


@dataclass(slots=True)
class Effects:
    """Events, alerts and dead letters to write.

    Attributes:
        events: (retention class, event) in the order of processing.
        bytes: size of the messages that the events came in.
        originals: (arrival, record) of each event, in the order of `events`: ids may repeat with other contents.
    """

    events: list[tuple[str, NewEvent]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    originals: list[tuple[Arrival, Record]] = field(default_factory=list)
    bytes: int = 0

    def expect_repeats(self) -> None:
        """A commit failed half-way: from now on every event may be stored already, and is looked up first."""
        self.events = [(retention, replace(event, maybe_repeat=True)) for retention, event in self.events]
