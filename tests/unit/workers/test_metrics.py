"""What every worker exposes is what the table says, no more and no less, and the reference page prints the table."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vedette_backends.broker.embedded import open_broker
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.store.embedded import open_store
from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.searches import SearchSpec
from vedette_engine.query.tree import MatchAll
from vedette_workers.librarian.worker import Librarian
from vedette_workers.librarian.worker import Settings as LibrarianSettings
from vedette_workers.metrics import METRICS, Exposition
from vedette_workers.pipeline.worker import PipelineWorker
from vedette_workers.pipeline.worker import Settings as PipelineSettings
from vedette_workers.responder.worker import ResponderWorker
from vedette_workers.responder.worker import Settings as ResponderSettings
from vedette_workers.scheduler.plan import Entry
from vedette_workers.scheduler.round import Scheduled
from vedette_workers.scheduler.worker import SchedulerWorker
from vedette_workers.scheduler.worker import Settings as SchedulerSettings
from vedette_workers.status import StatusServer

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
SEARCH = BundledRule("guesses", "h", ())
Worker = PipelineWorker | ResponderWorker | SchedulerWorker | Librarian


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[dict[str, Worker]]:
    store = open_store(tmp_path, writer=True)
    broker = open_broker(tmp_path)
    cluster = LocalCluster(tmp_path / "cluster.db")
    yield {
        "pipeline": PipelineWorker(PipelineSettings("shop"), store, broker, lambda *_: lambda *_: None),
        "responder": ResponderWorker(ResponderSettings("shop"), store, broker, cluster),
        "scheduler": SchedulerWorker(SchedulerSettings("shop"), store, broker),
        "librarian": Librarian(LibrarianSettings(), store, lambda _: store, lambda _: broker),
    }
    for opened in (cluster, broker, store):
        opened.close()


@pytest.fixture
def scrape(workers: dict[str, Worker]) -> Callable[[str], dict[str, Any]]:
    """A worker's metrics as Prometheus gets them, by name."""

    def read(role: Any) -> dict[str, Any]:
        worker = workers[role]
        server = StatusServer(worker.vitals, Exposition(role, worker.samples).render, host="127.0.0.1", port=0)
        server.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        server.close()
        families = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            families[name] = family
        return families

    return read


def count_something(worker: Any) -> None:
    """So that every metric of a pipeline has a value."""
    counters = worker.counters
    counters.source("app").seen(3, 1, 1_795_000_000_000)
    counters.rule_matched("ssh", 1)
    counters.letters["TooLarge"] += 1


@pytest.mark.parametrize("role", ["pipeline", "responder", "scheduler", "librarian"])
def test_a_worker_exposes_the_table_s_metrics_and_no_others(workers: Any, scrape: Any, role: str) -> None:
    if role == "pipeline":
        count_something(workers[role])
    if role == "scheduler":
        workers[role].plan.entries["guesses"] = Entry(Scheduled(SEARCH, SearchSpec("*", 1, 1), MatchAll()), 0.0)
    found = scrape(role)
    wanted = {spec.name: spec for spec in METRICS if role in spec.roles}
    assert {name for name in found if not name.startswith("process_")} == wanted.keys()
    for name, spec in wanted.items():
        assert found[name].type == spec.kind
        assert found[name].documentation == spec.text
        for sample in found[name].samples:
            assert tuple(sample.labels) == spec.labels


def test_what_a_pipeline_counted_is_what_is_scraped(workers: Any, scrape: Any) -> None:
    count_something(workers["pipeline"])
    found = scrape("pipeline")
    (sample,) = found["vedette_pipeline_stored_events_total"].samples
    assert (sample.labels, sample.value) == ({"source": "app"}, 3)
    (sample,) = found["vedette_pipeline_dead_letters_total"].samples
    assert (sample.labels, sample.value) == ({"reason": "TooLarge"}, 1)
    (info,) = found["vedette_worker_info"].samples
    assert info.labels["role"] == "pipeline"


def test_every_metric_has_a_name_as_prometheus_wants_it() -> None:
    for spec in METRICS:
        assert spec.name.startswith("vedette_")
        assert spec.name.endswith("_total") == (spec.kind == "counter"), spec.name
        assert spec.text.endswith(".")
        assert spec.roles
    assert len({spec.name for spec in METRICS}) == len(METRICS)


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_every_metric_is_in_the_reference(spec: Any) -> None:
    assert f"| `{spec.name}` | {spec.kind} | {', '.join(spec.labels)} |" in PAGE.read_text()
