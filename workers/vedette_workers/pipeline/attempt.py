"""What the disposable child of `isolation` runs: the processor of the namespace, with its effects thrown away."""

from __future__ import annotations

from pathlib import Path

from vedette_backends.store.embedded import open_store
from vedette_engine.alerting.bundle import decode
from vedette_engine.wire import Record
from vedette_workers.pipeline.cache import BundleCache
from vedette_workers.pipeline.claims import Claims
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Arrival, Effects
from vedette_workers.pipeline.follow import BundleFollower
from vedette_workers.pipeline.isolation import Try
from vedette_workers.pipeline.processor import Processor


def make_try(namespace: str, folder: Path) -> Try:
    """Loads the bundle in force from the namespace's folder and gives the function that tries one event."""
    store = open_store(folder, writer=False)
    processor = Processor(namespace, Counters())
    BundleFollower(store, processor.load, interval=0, clock=lambda: 1.0).poll()
    return _try(processor)


def make_try_cached(namespace: str, cache: Path, claims: Path | None) -> Try:
    """The same from the worker's own copy of the bundle: a child needs neither network nor credentials.

    Raises:
        OSError: there is none, or it is damaged; then no event is tried.
    """
    copy = BundleCache(cache)
    processor = Processor(namespace, Counters(), Claims(claims))
    processor.load(decode(copy.read(copy.head())), copy.read)
    return _try(processor)


def _try(processor: Processor) -> Try:
    def attempt(record: Record, arrival: Arrival) -> None:
        processor.process(record, arrival, Effects())

    return attempt
