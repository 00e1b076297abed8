"""What the operator counts, in one table; docs/reference/metrics.md prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from vedette_operator.cluster import ClusterOperator

PREFIX: Final = "vedette_operator_"
TABLE: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "objects": ("gauge", ("namespace", "kind"), "Objects that the operator knows."),
    "status_writes_total": ("counter", (), "Statuses written."),
    "status_failures_total": ("counter", (), "Statuses that the API server refused."),
    "status_waiting": ("gauge", (), "Objects whose newest status is not written yet."),
    "unpublished": ("gauge", (), "Namespaces whose newest bundle is not in force."),
}
"""Name without prefix → type, labels, help."""

_Sample = tuple[tuple[str, ...], float]


class _Reader(Collector):
    def __init__(self, operator: ClusterOperator) -> None:
        self._operator = operator

    def collect(self) -> Iterator[Metric]:
        for name, samples in self._read().items():
            kind, labels, text = TABLE[name]
            made = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family = made(PREFIX + name, text, labels=labels)
            for values, value in samples:
                family.add_metric(list(values), value)
            yield family

    def _read(self) -> dict[str, Iterable[_Sample]]:
        controller, writer = self._operator.controller, self._operator.writer
        return {
            "objects": [
                ((namespace, kind), len(held))
                for namespace, space in list(controller.spaces.items())
                for kind, held in space.objects.items()
            ],
            "status_writes_total": [((), writer.written)],
            "status_failures_total": [((), writer.failed)],
            "status_waiting": [((), writer.waiting())],
            "unpublished": [((), len(controller.unpublished))],
        }


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
