"""A pipeline's metrics, read when somebody scrapes; `vedette_workers.metrics` says what they mean."""

from __future__ import annotations

from collections.abc import Iterator

from vedette_workers.metrics import Sample
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.processor import Processor

_TOTALS = {
    "events": "vedette_pipeline_events_total",
    "duplicates": "vedette_pipeline_duplicate_events_total",
    "collapsed": "vedette_pipeline_collapsed_events_total",
    "bytes": "vedette_pipeline_bytes_total",
    "commits": "vedette_pipeline_commits_total",
    "commit_failures": "vedette_pipeline_commit_failures_total",
    "notices": "vedette_pipeline_notices_total",
    "expired_days": "vedette_housekeeping_expired_days_total",
    "drained": "vedette_housekeeping_drained_dead_letters_total",
}


def samples(counters: Counters, processor: Processor) -> Iterator[Sample]:
    """Everything the worker counts. Lists are copied first: the worker's thread goes on meanwhile."""
    for name, metric in _TOTALS.items():
        yield metric, (), counters.totals[name]
    for reason, count in list(counters.letters.items()):
        yield "vedette_pipeline_dead_letters_total", (reason,), count
    for name, source in list(counters.sources.items()):
        yield "vedette_pipeline_stored_events_total", (name,), source.events
        yield "vedette_pipeline_source_dead_letters_total", (name,), source.dead_letters
        yield "vedette_pipeline_lag_seconds", (name,), source.lag / 1000
        if source.last_ingested:
            yield "vedette_pipeline_last_event_timestamp_seconds", (name,), source.last_ingested / 1000
    for name, rule in counters.rules():
        yield "vedette_pipeline_rule_matches_total", (name,), rule["matches"]
        yield "vedette_pipeline_alerts_total", (name,), rule["alerts"]
        yield "vedette_pipeline_rule_errors_total", (name,), rule["errors"]
    yield "vedette_pipeline_rules", (), processor.ruleset.state()["rules"]
    yield "vedette_pipeline_sources", (), len(processor.sources)
    for name, outcomes in processor.enrichments.counters().items():
        for outcome, count in outcomes.items():
            yield "vedette_pipeline_enrichments_total", (name, outcome), count
    for name, known in list(processor.sources.items()):
        for counter, count in list(known.normaliser.counters.items()):
            yield "vedette_pipeline_normalisation_total", (name, counter), count
