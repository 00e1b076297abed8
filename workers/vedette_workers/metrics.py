"""Every metric of the workers in one table, and how a worker exposes its own.

A worker counts as it works and is read when somebody scrapes: nothing here costs time per event. Labels are names that
the tenant's own objects have, or come from tables in the program; no text of an event becomes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vedette_workers.status import Vitals

log = logging.getLogger(__name__)

Kind = Literal["counter", "gauge"]
Role = Literal["pipeline", "responder", "scheduler", "librarian"]
Sample = tuple[str, tuple[str, ...], float]
"""(name as in `METRICS`, values of its labels in order, value)."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric.

    Attributes:
        name: as it is scraped; counters end with `_total`.
        kind: counter or gauge.
        labels: their names.
        text: what it means, with its unit.
        roles: who exposes it.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    roles: tuple[Role, ...]


_ALL: Final[tuple[Role, ...]] = ("pipeline", "responder", "scheduler", "librarian")
_PIPELINE: Final[tuple[Role, ...]] = ("pipeline",)
_RESPONDER: Final[tuple[Role, ...]] = ("responder",)
_SCHEDULER: Final[tuple[Role, ...]] = ("scheduler",)
_LIBRARIAN: Final[tuple[Role, ...]] = ("librarian",)

METRICS: Final[tuple[Spec, ...]] = (
    Spec("vedette_worker_info", "gauge", ("role", "version"), "Always 1: which worker this is.", _ALL),
    Spec("vedette_worker_live", "gauge", (), "1 while the main loop goes on, as /livez says.", _ALL),
    Spec("vedette_worker_ready", "gauge", (), "1 while nothing hinders the work, as /readyz says.", _ALL),
    Spec("vedette_pipeline_events_total", "counter", (), "Events committed, repeats included.", _PIPELINE),
    Spec("vedette_pipeline_stored_events_total", "counter", ("source",), "Events stored anew.", _PIPELINE),
    Spec("vedette_pipeline_duplicate_events_total", "counter", (), "Events that were stored already.", _PIPELINE),
    Spec(
        "vedette_pipeline_collapsed_events_total",
        "counter",
        (),
        "Events of foreign publishers without a message id that were taken for an earlier one with equal content and "
        "time.",
        _PIPELINE,
    ),
    Spec("vedette_pipeline_dead_letters_total", "counter", ("reason",), "Dead letters written, by reason.", _PIPELINE),
    Spec(
        "vedette_pipeline_source_dead_letters_total",
        "counter",
        ("source",),
        "Dead letters written, by source.",
        _PIPELINE,
    ),
    Spec("vedette_pipeline_bytes_total", "counter", (), "Bytes of the messages consumed.", _PIPELINE),
    Spec("vedette_pipeline_commits_total", "counter", (), "Batches committed.", _PIPELINE),
    Spec(
        "vedette_pipeline_commit_failures_total",
        "counter",
        (),
        "Attempts to commit a batch that a backend made fail; the batch is held and tried again.",
        _PIPELINE,
    ),
    Spec(
        "vedette_pipeline_lag_seconds",
        "gauge",
        ("source",),
        "How long the oldest message of the source's queue has been waiting.",
        _PIPELINE,
    ),
    Spec(
        "vedette_pipeline_last_event_timestamp_seconds",
        "gauge",
        ("source",),
        "Arrival of the newest stored event, seconds since the epoch.",
        _PIPELINE,
    ),
    Spec("vedette_pipeline_rule_matches_total", "counter", ("rule",), "Events that matched the AlertRule.", _PIPELINE),
    Spec("vedette_pipeline_alerts_total", "counter", ("rule",), "Alerts created.", _PIPELINE),
    Spec(
        "vedette_pipeline_rule_errors_total",
        "counter",
        ("rule",),
        "Events on which the AlertRule could not be tried.",
        _PIPELINE,
    ),
    Spec("vedette_pipeline_notices_total", "counter", (), "Alerts told to the responder, repeats included.", _PIPELINE),
    Spec("vedette_pipeline_rules", "gauge", (), "Sigma rules loaded.", _PIPELINE),
    Spec("vedette_pipeline_sources", "gauge", (), "LogSources in force.", _PIPELINE),
    Spec(
        "vedette_pipeline_enrichments_total",
        "counter",
        ("enrichment", "outcome"),
        "Events that the Enrichment was tried on: applied, misses or failed.",
        _PIPELINE,
    ),
    Spec(
        "vedette_pipeline_normalisation_total",
        "counter",
        ("source", "counter"),
        "What happened to fields and records on the way to ECS; the counters are listed below.",
        _PIPELINE,
    ),
    Spec("vedette_responder_notices_total", "counter", (), "Notices dealt with.", _RESPONDER),
    Spec("vedette_responder_incidents_opened_total", "counter", (), "Incidents created.", _RESPONDER),
    Spec("vedette_responder_alerts_linked_total", "counter", (), "Alerts put into an incident.", _RESPONDER),
    Spec(
        "vedette_responder_alerts_limited_total",
        "counter",
        (),
        "Alerts that joined the last incident of their rule because it had opened too many.",
        _RESPONDER,
    ),
    Spec(
        "vedette_responder_failures_total",
        "counter",
        (),
        "Attempts that failed; the notice is kept and tried again.",
        _RESPONDER,
    ),
    Spec(
        "vedette_responder_rejected_messages_total",
        "counter",
        (),
        "Messages in the queue of notices that are none; they lie in its dead-letter queue.",
        _RESPONDER,
    ),
    Spec("vedette_responder_waiting_notices", "gauge", (), "Notices taken from the queue and not done.", _RESPONDER),
    Spec("vedette_scheduler_rules", "gauge", (), "Scheduled searches in force.", _SCHEDULER),
    Spec("vedette_scheduler_rounds_total", "counter", ("rule",), "Rounds that came to their end.", _SCHEDULER),
    Spec(
        "vedette_scheduler_rule_matches_total",
        "counter",
        ("rule",),
        "Events that were stored since the round before and match the query; one of several groups counts in each.",
        _SCHEDULER,
    ),
    Spec("vedette_scheduler_alerts_total", "counter", ("rule",), "Alerts created.", _SCHEDULER),
    Spec(
        "vedette_scheduler_truncated_total",
        "counter",
        ("rule",),
        "Groups that were not looked at in full, because a round reads 10,000 events of a group, and 10,000 groups.",
        _SCHEDULER,
    ),
    Spec(
        "vedette_scheduler_skipped_groups_total",
        "counter",
        ("rule",),
        "Groups of events that could not be judged and were left out; the log says why.",
        _SCHEDULER,
    ),
    Spec(
        "vedette_scheduler_forgotten_alerts_total",
        "counter",
        ("rule",),
        "Alerts forgotten before their time, because a rule remembers 10,000; late events may raise them again.",
        _SCHEDULER,
    ),
    Spec(
        "vedette_scheduler_failures_total",
        "counter",
        ("rule",),
        "Rounds that failed; the next try begins where the last round ended.",
        _SCHEDULER,
    ),
    Spec(
        "vedette_scheduler_rejected_alerts_total",
        "counter",
        ("rule",),
        "Alerts that the store cannot hold; the log names them.",
        _SCHEDULER,
    ),
    Spec(
        "vedette_scheduler_lag_seconds",
        "gauge",
        ("rule",),
        "How late the next round is; 0 while rounds come in time.",
        _SCHEDULER,
    ),
    Spec("vedette_librarian_namespaces", "gauge", (), "Namespaces served.", _LIBRARIAN),
    Spec("vedette_librarian_failures_total", "counter", (), "Rounds in a namespace that failed.", _LIBRARIAN),
    Spec(
        "vedette_housekeeping_expired_days_total",
        "counter",
        (),
        "Days of events dropped because their retention was over; in a cluster the librarian does it.",
        ("pipeline", "librarian"),
    ),
    Spec(
        "vedette_housekeeping_drained_dead_letters_total",
        "counter",
        (),
        "Events moved from dead-letter queues into the store; in a cluster the librarian does it.",
        ("pipeline", "librarian"),
    ),
)


def vital_samples(vitals: Vitals) -> Iterator[Sample]:
    """What every worker has."""
    yield "vedette_worker_live", (), float(not vitals.hanging())
    yield "vedette_worker_ready", (), float(not vitals.unready())


class Exposition:
    """The metrics of one worker in Prometheus' text format.

    Args:
        role: which of the table's metrics it has.
        read: gives the values at the moment of a scrape; called from any thread.
    """

    def __init__(self, role: Role, read: Callable[[], Iterable[Sample]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Reader(role, read))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Text format 0.0.4."""
        return generate_latest(self._registry)


class _Reader(Collector):
    def __init__(self, role: Role, read: Callable[[], Iterable[Sample]]) -> None:
        self._role = role
        self._read = read

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Any] = {}
        for spec in METRICS:
            if self._role in spec.roles:
                family = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
                families[spec.name] = family(spec.name, spec.text, labels=spec.labels)
        families["vedette_worker_info"].add_metric((self._role, version("vedette")), 1)
        for name, labels, value in self._read():
            families[name].add_metric(labels, value)
        yield from families.values()
