"""What processing some events wants done; nothing here does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vedette_backends.store.protocol import Alert, DeadLetter, NewEvent
from vedette_engine.alerting.ids import dead_letter_id
from vedette_engine.alerting.notices import Notice
from vedette_engine.wire import Record
from vedette_workers.pipeline.reasons import REASONS

ATTEMPT = "attempt"
"""Header of a message that replays a dead letter: the letter's id."""
ENCODING = "encoding"
"""Header of a message, and of a dead letter, whose records are compressed as a foreign publisher did it."""
CUT = "cut"
"""Header of a dead letter that does not hold all of what came: how many bytes that was. It cannot be replayed."""
MAX_KEPT = 16 << 20
"""Bytes of a dead letter: what a message of ours may hold, and less than a store takes in one request."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a record came here. Times in ms since the epoch.

    Attributes:
        source: name of the LogSource.
        ingested: when the gateway took it; for what a foreign publisher sent, when this worker first saw it.
        now: when this worker took it.
        repeat: it may have been delivered before.
        attempt: the dead letter that this replays; empty for what comes for the first time.
        encoding: content encoding of the records; empty when they are plain.
    """

    source: str
    ingested: int
    now: int
    repeat: bool
    attempt: str = ""
    encoding: str = ""

    def decompressed(self) -> Arrival:
        """The same for records that are plain now."""
        return replace(self, encoding="")

    def letter(self, record: Record, reason: str, detail: str, *, distinct: str = "") -> DeadLetter:
        """A dead letter that can be replayed under the event's id; `distinct` tells letters of one event apart.

        A replay that fails for the same reason is another letter, or it would stay hidden behind the replayed one.

        Raises:
            KeyError: the reason is not documented.
        """
        REASONS[reason]  # an undocumented reason is a mistake in the program
        original, told, cut_headers = cut(record.raw, detail)
        return DeadLetter(
            id=dead_letter_id(record.id, reason + distinct + self.attempt),
            time=self.now,
            source=self.source,
            reason=reason,
            detail=told,
            original=original,
            headers={
                "id": record.id,
                "key": record.key,
                "position": str(record.position),
                "keyed": str(int(record.keyed)),
                "ingested": str(self.ingested),
                **({ENCODING: self.encoding} if self.encoding else {}),
                **cut_headers,
            },
        )


def cut(raw: bytes, detail: str) -> tuple[bytes, str, Mapping[str, str]]:
    """(original, detail, headers) of a dead letter: what no store takes in one piece is cut, and the letter says so."""
    if len(raw) <= MAX_KEPT:
        return raw, detail, {}
    told = f"{detail} (of {len(raw)} bytes the first {MAX_KEPT} are kept)"
    return raw[:MAX_KEPT], told, {CUT: str(len(raw))}


@dataclass(slots=True)
class Effects:
    """Events, alerts and dead letters to write.

    Attributes:
        events: (retention class, event) in the order of processing.
        bytes: size of the messages that the events came in.
        originals: (arrival, record) of each event, in the order of `events`: ids may repeat with other contents.
        causes: (arrival, record) behind each alert, in the order of `alerts`.
        notices: what the responder is told of each alert, in the order of `alerts`; None for those it need not know.
    """

    events: list[tuple[str, NewEvent]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    originals: list[tuple[Arrival, Record]] = field(default_factory=list)
    causes: list[tuple[Arrival, Record]] = field(default_factory=list)
    notices: list[Notice | None] = field(default_factory=list)
    bytes: int = 0

    def expect_repeats(self) -> None:
        """A commit failed half-way: from now on every event may be stored already, and is looked up first."""
        self.events = [(retention, replace(event, maybe_repeat=True)) for retention, event in self.events]
