"""What the operator counts, as Prometheus reads it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from vedette_backends.cluster.protocol import Key, Object
from vedette_cli.operator_metrics import exposition, process_metrics
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Verdict


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """(name, values of the labels by their names) → value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def operator(**kinds: int) -> Any:
    """An operator as far as its metrics read it, with so many objects of each kind in the shop."""
    space = Space("shop", None)
    for kind, count in kinds.items():
        for number in range(count):
            item = Object(Key(kind, "shop", f"o{number}"), {}, {}, 1, 1)
            space.objects[kind][f"o{number}"] = Known(item, Verdict(()))
    writer = SimpleNamespace(written=7, failed=2, waiting=lambda: 3)
    return SimpleNamespace(
        controller=SimpleNamespace(spaces={"shop": space}, unpublished={"shop", "bank"}), writer=writer
    )


def test_objects_are_counted_by_namespace_and_kind() -> None:
    found = samples(exposition(operator(AlertRule=3, LogSource=1))())
    counted = {labels[1:]: value for labels, value in found.items() if labels[0] == "vedette_operator_objects"}
    assert counted == {("LogSource", "shop"): 1, ("Enrichment", "shop"): 0, ("AlertRule", "shop"): 3}


def test_statuses_and_bundles_are_told_as_they_are_now() -> None:
    made = operator()
    render = exposition(made)
    found = samples(render())
    assert found["vedette_operator_status_writes_total",] == 7
    assert found["vedette_operator_status_failures_total",] == 2
    assert found["vedette_operator_status_waiting",] == 3
    assert found["vedette_operator_unpublished",] == 2
    made.writer.written = 8
    made.controller.unpublished = set()
    found = samples(render())
    assert (found["vedette_operator_status_writes_total",], found["vedette_operator_unpublished",]) == (8, 0)


def test_every_process_tells_its_cpu_and_memory() -> None:
    for render in (process_metrics(), exposition(operator())):
        found = samples(render())
        assert found["process_resident_memory_bytes",] > 0
        assert found["process_cpu_seconds_total",] >= 0
