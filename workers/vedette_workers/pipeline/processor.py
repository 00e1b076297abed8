"""What one event goes through, without any effect: normalise → enrich → match → encode.

A processor follows the bundle of its namespace; `load` changes only what differs from what it has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from vedette_backends.store.protocol import NewEvent
from vedette_engine.alerting.bundle import Bundle
from vedette_engine.alerting.ids import digest
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.routing import event_logsources
from vedette_engine.normalise.document import SOURCE
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import DEFAULT_MAX_EVENT_BYTES, SourceConfig
from vedette_engine.wire import Record
from vedette_workers.pipeline.claims import Claims
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Arrival, Effects
from vedette_workers.pipeline.enrichments import Enrichments
from vedette_workers.pipeline.ruleset import Ruleset

log = logging.getLogger(__name__)

Tables = Callable[[str], bytes]
Event = dict[str, Any]


@dataclass(slots=True)
class _Source:
    config: SourceConfig
    normaliser: Normaliser
    claimed: Logsource | None
    foreign: bool
    """Whether others publish to its queue directly."""


class Processor:
    """Bundle in, effects out. Not thread-safe: one thread calls it. `claims`: tables on volumes."""

    def __init__(self, namespace: str, counters: Counters, claims: Claims | None = None) -> None:
        self.namespace = namespace
        self.counters = counters
        self.sources: dict[str, _Source] = {}
        self.ruleset = Ruleset(namespace)
        self.enrichments = Enrichments(claims or Claims())

    # following the bundle -------------------------------------------------------------------------------------------
    def load(self, bundle: Bundle, tables: Tables) -> None:
        """Take over what `bundle` says. Raises before anything changed, so that the old bundle stays in force."""
        sources = {name: self._source(name, raw) for name, raw in bundle.sources.items()}
        enrichments = self.enrichments.prepare(bundle.enrichments, tables)
        fresh = self.ruleset.prepare(bundle)
        self.sources = sources
        self.enrichments.swap(enrichments)
        self.ruleset.swap(bundle, fresh)

    def _source(self, name: str, raw: Mapping[str, Any]) -> _Source:
        config = SourceConfig.from_json(raw)
        foreign = bool(raw.get("bindings"))
        have = self.sources.get(name)
        if have is not None and have.config == config and have.foreign == foreign:
            return have
        return _Source(config, Normaliser(config), _claim(config), foreign)

    def limit(self, source: str) -> int:
        """Bytes that a record of the source may have."""
        known = self.sources.get(source)
        return DEFAULT_MAX_EVENT_BYTES if known is None else known.config.max_event_bytes

    # events ---------------------------------------------------------------------------------------------------------
    def process(self, record: Record, arrival: Arrival, effects: Effects) -> None:
        """Add what `record` causes to `effects`. A record's own faults become dead letters, never exceptions."""
        try:
            parts = self._split(arrival.source, record)
        except Malformed as fault:
            effects.letters.append(arrival.letter(record, fault.reason, fault.detail))
            return
        for part in parts:
            try:
                self._process(part, record, arrival, effects)
            except Malformed as fault:
                effects.letters.append(arrival.letter(record, fault.reason, fault.detail))
            except Exception as fault:
                log.exception("event %s of source %s could not be processed", part.id, arrival.source)
                detail = f"{type(fault).__name__} while processing; the worker's log has more"
                effects.letters.append(arrival.letter(record, "ProcessingError", detail))

    def _split(self, source: str, record: Record) -> Sequence[Record]:
        """A record that holds several events (CloudTrail's `Records`) as one record each."""
        known = self.sources.get(source)
        if known is None:
            raise Malformed("UnknownSource", f"no LogSource {source} is in force in this namespace")
        if not known.normaliser.splits:
            return [record]
        try:
            parsed = orjson.loads(record.raw)
        except orjson.JSONDecodeError:
            return [record]  # the normaliser says what is wrong with it
        parts = known.normaliser.split(parsed)
        if not parts or parts[0] is parsed:
            return [record]
        return [
            record._replace(id=digest("part", record.id, str(number)), raw=orjson.dumps(part))
            for number, part in enumerate(parts)
        ]

    def _process(self, record: Record, whole: Record, arrival: Arrival, effects: Effects) -> None:
        """Add the one event of `record`, which is `whole` or a part of it: all that it causes, or nothing."""
        source, ingested = arrival.source, arrival.ingested
        known = self.sources[source]
        raw = record.raw
        event = known.normaliser.normalise(raw, None, ingested)
        enricher = self.enrichments.enricher
        if enricher is not None:
            enricher.apply(event, source)
        config = known.config
        logsources = event_logsources(event, known.claimed, security_4688=config.security_4688)
        document = known.normaliser.document(event, len(raw))
        # The document holds every value of the event, so keywords can be looked for in its text.
        matched = self.ruleset.match(event, orjson.dumps(document), logsources)
        document[SOURCE] = source
        time = event["@timestamp"]
        alerts = [self.ruleset.alerting.alert(rule, event, record.id, arrival, document) for rule in matched]
        told = zip(matched, alerts, strict=True)
        notices = [self.ruleset.alerting.notice(rule, event, alert) for rule, alert in told]
        content = blake2b(raw, digest_size=16).hexdigest()
        effects.events.append(
            (config.retention, NewEvent(record.id, ingested, time, content, document, arrival.repeat or record.keyed))
        )
        effects.alerts += alerts
        effects.notices += notices
        effects.causes += [(arrival, whole)] * len(alerts)
        for rule in matched:
            self.counters.rule_matched(rule.key.rpartition("/")[0], arrival.now)
        # Replay gives a record the id of its key and position: what a letter holds is always the whole.
        effects.originals.append((arrival, whole))


def _claim(config: SourceConfig) -> Logsource | None:
    """What the source says its events are; None when it says nothing, so that all rules are tried."""
    claim = Logsource(*(part.lower() or None for part in (config.product, config.category, config.service)))
    return claim if any(claim) else None
