"""What the gateway counts, in one table; Prometheus text for `/metrics` and figures for heartbeats."""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

PREFIX: Final = "vedette_gateway_"
TABLE: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "requests_total": ("counter", ("route", "status"), "Requests by route and HTTP status."),
    "events_total": ("counter", ("namespace", "source"), "Events that were confirmed by the broker."),
    "bytes_total": ("counter", ("namespace", "source"), "Bytes of these events."),
    "rejected_events_total": ("counter", ("namespace", "source"), "Items of bulk requests that were refused."),
    "refused_requests_total": ("counter", ("namespace", "source", "status"), "Requests that were refused as a whole."),
    "authentication_failures_total": ("counter", (), "Requests without a token that a source has."),
    "messages_total": ("counter", ("namespace",), "Messages handed to the broker."),
    "publish_errors_total": ("counter", ("namespace", "error"), "Calls of the broker that failed, by error."),
    "bundle_errors_total": ("counter", (), "Bundles that could not be read or loaded; the last good one stays."),
    "in_flight_bytes": ("gauge", (), "Bytes between arrival and answer."),
    "sources": ("gauge", (), "Sources that may send."),
    "source_problems": ("gauge", (), "Problems in the loaded bundle; sources with one may not send."),
    "publish_seconds": ("histogram", (), "Time of one call of the broker, until all of it was durable."),
}
"""Name without prefix → type, labels, help."""

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one process since its start; the brokers' threads count too."""

    def __init__(self) -> None:
        self._values: defaultdict[str, defaultdict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
        self._lock = threading.Lock()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Raise a counter."""
        with self._lock:
            self._values[name][labels] += by

    def set(self, name: str, value: float) -> None:
        """Put a gauge without labels."""
        self._values[name][()] = value

    def get(self, name: str, *labels: str) -> float:
        """The present value; 0 for one that was never touched."""
        return self._values[name].get(labels, 0) if name in self._values else 0

    def published(self, seconds: float) -> None:
        """One call of the broker took this long."""
        with self._lock:
            self._buckets[bisect.bisect_left(_BOUNDS, seconds)] += 1
            self._sum += seconds

    def by_source(self, name: str, namespace: str) -> dict[str, float]:
        """A counter with labels (namespace, source, …), summed per source of one namespace."""
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, value in self._values[name].items():
            if labels[0] == namespace:
                sums[labels[1]] += value
        return dict(sums)

    def render(self) -> str:
        """Prometheus' text format 0.0.4."""
        lines: list[str] = []
        with self._lock:
            values = {name: dict(series) for name, series in self._values.items()}
        for name, (kind, labels, text) in TABLE.items():
            lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}"]
            lines += self._histogram(name) if kind == "histogram" else _lines(name, labels, values.get(name, {}))
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> Iterator[str]:
        total = 0
        for bound, count in zip([*map(str, _BOUNDS), "+Inf"], self._buckets, strict=True):
            total += count
            yield f'{PREFIX}{name}_bucket{{le="{bound}"}} {total}'
        yield f"{PREFIX}{name}_sum {self._sum:.6f}"
        yield f"{PREFIX}{name}_count {total}"


def _lines(name: str, labels: tuple[str, ...], values: dict[tuple[str, ...], float]) -> Iterator[str]:
    for given, value in sorted((values or ({} if labels else {(): 0.0})).items()):
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(labels, given, strict=True))
        yield f"{PREFIX}{name}{{{pairs}}} {value:.17g}" if pairs else f"{PREFIX}{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
