"""What the webhook counts, in one table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX: Final = "vedette_admission_"
TABLE: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "reviews_total": (
        "counter",
        ("kind", "operation", "outcome"),
        "Reviews; the outcome is accepted, refused, passed (not looked at), overrun (no time) or fault.",
    ),
    "review_seconds": ("histogram", ("kind",), "Time from a review's arrival to its answer."),
    "in_flight": ("gauge", (), "Reviews between arrival and answer."),
    "bad_requests_total": ("counter", (), "Requests that were no review."),
    "children_replaced_total": ("counter", (), "Processes that were ended in the middle of a judgement."),
    "certificate_loads_total": ("counter", ("result",), "Loads of the serving certificate: loaded or failed."),
    "certificate_expires_seconds": ("gauge", (), "End of the serving certificate's validity, seconds since the epoch."),
}
"""Name without prefix → type, labels, help."""

_KINDS: Final = ("AlertRule", "LogSource", "Enrichment", "Incident")
_OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE")
_BOUNDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0)


class Metrics:
    """Counters of one process since its start."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._all: dict[str, Counter | Gauge | Histogram] = {
            name: _make(name, kind, labels, text, self._registry) for name, (kind, labels, text) in TABLE.items()
        }

    def add(self, name: str, *labels: str) -> None:
        """Raise a counter by one."""
        counter = self._all[name]
        assert isinstance(counter, Counter)
        (counter.labels(*labels) if labels else counter).inc()

    def set(self, name: str, value: float) -> None:
        """Put a gauge."""
        gauge = self._all[name]
        assert isinstance(gauge, Gauge)
        gauge.set(value)

    @contextlib.contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts one review in and out."""
        gauge = self._all["in_flight"]
        assert isinstance(gauge, Gauge)
        with gauge.track_inprogress():
            yield

    def reviewed(self, kind: str, operation: str, outcome: str, seconds: float) -> None:
        """One review was answered; what others named is counted under a few names only."""
        kind = kind if kind in _KINDS else "other"
        self.add("reviews_total", kind, operation if operation in _OPERATIONS else "other", outcome)
        histogram = self._all["review_seconds"]
        assert isinstance(histogram, Histogram)
        histogram.labels(kind).observe(seconds)

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


def _make(
    name: str, kind: str, labels: tuple[str, ...], text: str, registry: CollectorRegistry
) -> Counter | Gauge | Histogram:
    if kind == "histogram":
        return Histogram(PREFIX + name, text, labels, registry=registry, buckets=_BOUNDS)
    maker: type[Counter | Gauge] = Counter if kind == "counter" else Gauge
    return maker(PREFIX + name, text, labels, registry=registry)
