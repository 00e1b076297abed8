"""The normaliser of a source: bytes in, flat ECS event out.

record → format reader (or parser of whole records) → parser → mapping → time, dataset, Vedette's own fields
"""

from __future__ import annotations

from typing import Any

from vedette_crds.problems import Problem, ProblemsError
from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.document import Document, to_document
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.flatten import Event, put
from vedette_engine.normalise.formats import FORMATS, as_object, protect
from vedette_engine.normalise.mapping import compile_mapping
from vedette_engine.normalise.names import SUPPLIED
from vedette_engine.normalise.parsers import PARSERS, Parser, whole
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.times import has_finer_digits, parse_time, read_zone

FUTURE = 300_000
"""Milliseconds that an event may be ahead of its arrival before it is marked."""

TIME_PROBLEM = "vedette.timestamp_problem"
"""Field that says why `@timestamp` is not, or perhaps not, the event's own: missing | unreadable | future."""


class Normaliser:
    """Makes events of one source.

    Attributes:
        source: what it was made from.
        counters: what happened so far; names in `vedette_engine.normalise.counters.COUNTERS`.

    Raises:
        ProblemsError: the source names a format, parser, time zone or conversion that does not exist.
    """

    def __init__(self, source: SourceConfig) -> None:
        self.source = source
        self.counters: Counters = {}
        problems: list[Problem] = []
        reader = FORMATS.get(source.format)
        if reader is None:
            problems.append(Problem(f"unknown format {source.format!r}", path="format", hint=", ".join(FORMATS)))
        parser = PARSERS.get(source.parser) if source.parser else Parser()
        if parser is None:
            problems.append(Problem(f"unknown parser {source.parser!r}", path="parser", hint=", ".join(PARSERS)))
        try:
            self._zone = read_zone(source.timezone)
        except ValueError as error:
            problems.append(Problem(str(error), path="timezone", hint="Europe/Berlin, UTC, +02:00"))
        steps, wrong = compile_mapping(source.mapping, getattr(self, "_zone", None) or read_zone("UTC"))
        problems += wrong
        if problems or reader is None or parser is None:
            place = f"LogSource {source.namespace}/{source.name}"
            raise ProblemsError(problem.at(object=place, under="spec") for problem in problems)
        self._reader = reader
        self._text_reader = FORMATS["syslog"] if parser.text else None
        self._parser = parser
        self._steps = steps

    @property
    def splits(self) -> bool:
        """Whether one decoded message may hold several records."""
        return self._parser.split is not whole

    def split(self, parsed: Any) -> list[Any]:
        """The records that one decoded message holds; most hold one."""
        return self._parser.split(parsed)

    def normalise(self, raw: bytes, parsed: Any | None, ingested: int) -> Event:
        """The event of a record.

        Args:
            raw: the record's bytes as they came.
            parsed: its JSON if it was decoded already, else None.
            ingested: when it arrived, milliseconds.

        Raises:
            Malformed: no event can be made of it; a dead letter.
        """
        try:
            event = self._normalise(raw, parsed, ingested)
        except Malformed:
            count(self.counters, "malformed")
            raise
        count(self.counters, "events")
        return event

    def document(self, event: Event, size: int | None = None) -> Document:
        """`to_document` with this normaliser's counters; `size` is that of the raw record."""
        return to_document(event, self.counters, size)

    def _normalise(self, raw: bytes, parsed: Any | None, ingested: int) -> Event:
        if len(raw) > self.source.max_event_bytes:
            limit = self.source.max_event_bytes
            raise Malformed("TooLarge", f"the record has {len(raw)} bytes, the source allows {limit}")
        rounded = self.counters.get("rounded", 0)
        event = self._read(raw, parsed)
        if self.counters.get("rounded", 0) > rounded:
            event.setdefault("event.original", raw.decode(errors="replace"))
        if self._parser.parse is not None:
            self._parser.parse(event, self.counters)
        for step in self._steps:
            step(event, self.counters)
        self._finish(event, ingested)
        return event

    def _read(self, raw: bytes, parsed: Any | None) -> Event:
        if self._parser.read is not None:
            return protect(self._parser.read(as_object(raw, parsed), self.counters), self.counters)
        if self._text_reader is not None and parsed is None:
            try:
                return self._reader(raw, None, self.counters)
            except Malformed as error:
                if error.reason not in {"MalformedJson", "NotAnObject"}:
                    raise
                return self._text_reader(raw, None, self.counters)
        return self._reader(raw, parsed, self.counters)

    def _finish(self, event: Event, ingested: int) -> None:
        self._set_time(event, ingested)
        event["event.ingested"] = ingested
        dataset = self.source.dataset
        if dataset:
            supplied = event.get("event.dataset")
            if supplied is not None and supplied != dataset:
                put(event, f"{SUPPLIED}event.dataset", supplied, self.counters)
            event["event.dataset"] = dataset

    def _set_time(self, event: Event, ingested: int) -> None:
        """Reads `@timestamp`; what cannot be read, or would lose digits, is kept as it was written."""
        written = event.get("@timestamp")
        if written is None:
            event["@timestamp"] = ingested
            event[TIME_PROBLEM] = "missing"
            count(self.counters, "time_missing")
            return
        time = parse_time(written, self._zone, ingested)
        if time is None:
            put(event, f"{SUPPLIED}@timestamp", written, self.counters)
            event["@timestamp"] = ingested
            event[TIME_PROBLEM] = "unreadable"
            count(self.counters, "time_unreadable")
            return
        if isinstance(written, str) and has_finer_digits(written) and not _held_elsewhere(event, written):
            put(event, f"{SUPPLIED}@timestamp", written, self.counters)
        event["@timestamp"] = time
        if time > ingested + FUTURE:
            event[TIME_PROBLEM] = "future"
            count(self.counters, "time_future")


def _held_elsewhere(event: Event, written: str) -> bool:
    """Whether the time stands in another field too, as it was written; readers that copy it keep the source."""
    return (
        event.get("winlog.time_created") == written
        or "event.original" in event
        or any(event.get(name) == written for name in ("timestamp", "eventTime", "aws.cloudtrail.eventTime"))
    )
