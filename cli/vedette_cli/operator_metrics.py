"""What the operator counts, for Prometheus; docs/reference/metrics.md lists it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from vedette_operator.cluster import ClusterOperator


class _Reader(Collector):
    def __init__(self, operator: ClusterOperator) -> None:
        self._operator = operator

    def collect(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily(
            "vedette_operator_objects", "Objects that the operator knows.", labels=["namespace", "kind"]
        )
        for namespace, space in list(self._operator.controller.spaces.items()):
            for kind, held in space.objects.items():
                objects.add_metric([namespace, kind], len(held))
        yield objects
        writer = self._operator.writer
        yield CounterMetricFamily("vedette_operator_status_writes", "Statuses written.", value=writer.written)
        yield CounterMetricFamily(
            "vedette_operator_status_failures", "Statuses that were refused.", value=writer.failed
        )
        yield GaugeMetricFamily("vedette_operator_status_waiting", "Statuses that wait.", value=writer.waiting())
        yield GaugeMetricFamily(
            "vedette_operator_unpublished",
            "Namespaces whose newest bundle is not in force.",
            value=len(self._operator.controller.unpublished),
        )


def exposition(operator: ClusterOperator) -> Callable[[], bytes]:
    """Renders the operator's metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Reader(operator))
    return lambda: generate_latest(registry)


def process_metrics() -> Callable[[], bytes]:
    """Renders what every process can tell: CPU, memory, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
