"""The reference pages say what the program says, and the operator exposes what its table says."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vedette_cli import operator_metrics, reference
from vedette_operator.admission import metrics as webhook_metrics
from vedette_workers.gateway import metrics as gateway_metrics
from vedette_workers.metrics import METRICS

NAMES = [
    *(module.PREFIX + name for module in (gateway_metrics, operator_metrics, webhook_metrics) for name in module.TABLE),
    *(spec.name for spec in METRICS),
]


@pytest.fixture
def exposed() -> dict[str, Any]:
    """Metrics of an operator with two rules, by name as they are scraped."""
    space = SimpleNamespace(objects={"AlertRule": {"one": None, "two": None}, "LogSource": {}})
    operator: Any = SimpleNamespace(
        controller=SimpleNamespace(spaces={"shop": space}, unpublished={"shop"}),
        writer=SimpleNamespace(written=3, failed=1, waiting=lambda: 2),
    )
    text = operator_metrics.exposition(operator)().decode()
    families = list(text_string_to_metric_families(text))
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in families}


def test_the_pages_are_fresh() -> None:
    # In a process of its own: click remembers of a command how it was called first.
    subprocess.run([sys.executable, "-m", "vedette_cli.reference", "--check"], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_of_every_process_is_in_the_reference(name: str) -> None:
    assert reference.telemetry().count(f"| `{name}` |") == 1


def test_the_operator_exposes_the_table_s_metrics_and_no_others(exposed: dict[str, Any]) -> None:
    wanted = {operator_metrics.PREFIX + name: spec for name, spec in operator_metrics.TABLE.items()}
    assert {name for name in exposed if not name.startswith("process_")} == wanted.keys()
    for name, (kind, labels, text) in wanted.items():
        assert exposed[name].type == kind
        assert exposed[name].documentation == text
        for sample in exposed[name].samples:
            assert set(sample.labels) == set(labels)


def test_the_operator_tells_how_many_objects_of_each_kind_it_knows(exposed: dict[str, Any]) -> None:
    samples = exposed["vedette_operator_objects"].samples
    assert {(one.labels["namespace"], one.labels["kind"]): one.value for one in samples} == {
        ("shop", "AlertRule"): 2,
        ("shop", "LogSource"): 0,
    }
    assert exposed["vedette_operator_status_writes_total"].samples[0].value == 3
