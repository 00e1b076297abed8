"""One namespace with its real store and broker, and workers on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import DeadLetter, Store, StoredEvent, TimeRange
from vedette_crds.alertrule import AlertRule
from vedette_crds.load import load_text
from vedette_crds.logsource import LogSource
from vedette_engine.alerting.bundle import Bundle, BundledEnrichment, BundledRule, encode
from vedette_engine.query.tree import MatchAll
from vedette_engine.wire import Record, Run
from vedette_engine.wire import encode as encode_message
from vedette_operator import rules, sources
from vedette_workers.pipeline.attempt import make_try
from vedette_workers.pipeline.counters import Counters
from vedette_workers.pipeline.effects import Arrival, Effects
from vedette_workers.pipeline.isolation import MakeTry
from vedette_workers.pipeline.processor import Processor
from vedette_workers.pipeline.worker import PipelineWorker, Settings
from vedette_workers.status import Vitals

NAMESPACE = "shop"
NOW = 1_795_000_000_000
HEAD = "bundle"

SOURCE = """
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: {name}, namespace: shop}}
spec:
  input: {{http: {{tokenSecretRef: {{name: {name}, key: token}}}}}}
  format: {format}
  {extra}
  dataset: test.{name}
  logsource: {{category: test}}
  retention: {{search: {retention}}}
"""
RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {name}, namespace: shop}}
spec:
  {extra}
  sigma: |
    title: Event {value} was seen
    id: 5b6c2f1e-0000-4000-8000-0000000000aa
    level: high
    tags: [attack.t1059]
    logsource: {{category: test}}
    detection: {{sel: {{event.action: {value}}}, condition: sel}}
"""


def source(name: str = "app", *, format: str = "json", retention: str = "30d", extra: str = "") -> str:  # noqa: A002 # the field's own name
    """A LogSource's manifest."""
    return SOURCE.format(name=name, format=format, retention=retention, extra=extra)


def rule(name: str = "marked", value: str = "marked", extra: str = "owner: ana") -> str:
    """An AlertRule's manifest."""
    return RULE.format(name=name, value=value, extra=extra)


def bundle_of(*manifests: str, enrichments: Sequence[BundledEnrichment] = ()) -> Bundle:
    """The bundle of these manifests, all of which must be good."""
    made_sources, made_rules = {}, []
    for text in manifests:
        loaded = load_text(text)
        assert loaded.problems == []
        for document in loaded.documents:
            if isinstance(document.model, LogSource):
                verdict = sources.judge(document.model)
                assert verdict.part is not None, verdict
                made_sources[document.name] = verdict.part
            if isinstance(document.model, AlertRule):
                verdict = rules.judge(document.model, sha256(text.encode()).hexdigest())
                assert verdict.part is not None, verdict
                made_rules.append(BundledRule(**verdict.part))
    return Bundle(NAMESPACE, made_sources, tuple(enrichments), tuple(made_rules))


class Unavailable:
    """A real store or broker, except that named methods raise the given errors first, before or after they work.

    `failures`: method → errors still to raise; `late`: of those methods, which do their work before they fail.
    """

    def __init__(self, store: Store | Broker, failures: dict[str, list[Exception]], late: Sequence[str] = ()) -> None:
        self._store = store
        self.failures = failures
        self._late = late

    def __getattr__(self, name: str) -> object:
        method = getattr(self._store, name)

        def call(*arguments: object, **options: object) -> object:
            errors = self.failures.get(name)
            if errors:
                if name in self._late:
                    method(*arguments, **options)
                raise errors.pop(0)
            return method(*arguments, **options)

        return call


class Namespace:
    """A namespace's folder with everything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: EmbeddedStore = open_store(folder, writer=True)
        self.broker: EmbeddedBroker = open_broker(folder)
        self._workers: list[tuple[PipelineWorker, threading.Thread]] = []

    # bundle ---------------------------------------------------------------------------------------------------------
    def bundle(self, *manifests: str, enrichments: Sequence[BundledEnrichment] = ()) -> Bundle:
        """The bundle of these manifests, all of which must be good."""
        return bundle_of(*manifests, enrichments=enrichments)

    def publish(self, bundle: Bundle) -> str:
        """Declare the queues, put the bundle into force; its hash."""
        for name in bundle.sources:
            self.broker.declare(f"events.{name}")
        digest = self.store.put_blob(encode(bundle))
        self.store.set_head(HEAD, digest)
        return digest

    # events ---------------------------------------------------------------------------------------------------------
    def send(
        self, *records: bytes, source: str = "app", key: str = "k", keyed: bool = True, ingested: int = NOW
    ) -> None:
        """One message with these records."""
        body, headers = encode_message(
            source=source, ingested=ingested, kind="text", records=records, runs=[Run(len(records), key, 0, keyed)]
        )
        self.broker.publish([Message(f"events.{source}", body, headers)])

    def events(self) -> list[StoredEvent]:
        """All stored events."""
        return list(self.store.search_events(MatchAll(), TimeRange(), size=5000).events)

    def count(self) -> int:
        """How many events are stored."""
        return self.store.count_events(MatchAll(), TimeRange())

    def letters(self, state: str | None = "waiting") -> list[DeadLetter]:
        """Dead letters."""
        return self.store.search_dead_letters(state=state, size=500)[0]

    # workers --------------------------------------------------------------------------------------------------------
    def worker(
        self,
        *,
        make: MakeTry = make_try,
        store: Store | None = None,
        broker: Broker | None = None,
        vitals: Vitals | None = None,
        **settings: Any,
    ) -> PipelineWorker:
        """A worker that runs in a thread until the test ends; `settings` as its own."""
        made = PipelineWorker(
            Settings(NAMESPACE, bundle_interval=0.02, beat_interval=0.05, **settings),
            store or self.store,
            broker or self.broker,
            make,
            self.folder,
            clock=lambda: NOW + 5,
            vitals=vitals,
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        self._workers.append((made, thread))
        return made

    def stop(self, *, seconds: float = 20) -> None:
        """Stop the workers; they must end by themselves."""
        for worker, thread in self._workers:
            worker.stop()
            thread.join(seconds)
            assert not thread.is_alive(), "the worker does not end"
        self._workers.clear()

    def drained(self, source: str = "app") -> bool:
        """Whether a source's queue holds nothing any more."""
        stats = self.broker.stats(f"events.{source}")
        return not stats.ready and not stats.unacked

    def wait_drained(self, source: str = "app") -> None:
        """Wait until everything that was sent is acknowledged."""
        until(lambda: self.drained(source), seconds=20, what="an empty queue")

    def close(self) -> None:
        """Stop what runs and release files."""
        self.stop()
        self.broker.close()
        self.store.close()


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Namespace]:
    made = Namespace(tmp_path / "ns")
    yield made
    made.close()


@pytest.fixture
def make_source() -> Callable[..., str]:
    return source


@pytest.fixture
def make_rule() -> Callable[..., str]:
    return rule


@pytest.fixture
def unavailable() -> Callable[..., Unavailable]:
    return Unavailable


class Line:
    """A processor alone: records in, effects out. No enrichment here has a table."""

    def __init__(self) -> None:
        self.processor = Processor(NAMESPACE, Counters())

    def load(self, *manifests: str, enrichments: Sequence[BundledEnrichment] = ()) -> None:
        self.processor.load(bundle_of(*manifests, enrichments=enrichments), lambda _: b"")

    def run(self, *records: bytes, source: str = "app", repeat: bool = False) -> Effects:
        effects = Effects()
        for number, raw in enumerate(records):
            record = Record(f"{number:032x}", raw, "k", number, keyed=False)
            self.processor.process(record, Arrival(source, NOW, NOW + 5, repeat), effects)
        return effects


@pytest.fixture
def line() -> Line:
    return Line()
