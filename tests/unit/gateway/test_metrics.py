from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_workers.gateway.metrics import PREFIX, TABLE, Metrics

LINE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.e+]+')


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5), st.lists(st.floats(0, 100), max_size=5))
def test_the_text_is_prometheus_whatever_the_labels_hold(labels: list[tuple[str, str]], times: list[float]) -> None:
    metrics = Metrics()
    for pair in labels:
        metrics.add("events_total", *pair)
    for seconds in times:
        metrics.published(seconds)
    text = metrics.render()
    assert f"{PREFIX}publish_seconds_count {len(times)}" in text
    for line in text.rstrip("\n").split("\n"):
        assert line.startswith("# ") or LINE.fullmatch(line.replace("+Inf", "Inf")), line


def test_every_metric_of_the_table_is_rendered_with_help_and_type() -> None:
    text = Metrics().render()
    for name, (kind, _, _) in TABLE.items():
        assert f"# TYPE {PREFIX}{name} {kind}" in text


def test_requests_events_and_bytes_are_counted(client: Any) -> None:
    client.post("/events", b'{"a":1}\n{"b":2}')
    client.post("/events", b"nonsense")
    text = client.get("/metrics").text
    assert 'vedette_gateway_requests_total{route="events",status="200"} 1' in text
    assert 'vedette_gateway_requests_total{route="events",status="400"} 1' in text
    assert 'vedette_gateway_events_total{namespace="shop",source="web"} 2' in text
    assert 'vedette_gateway_bytes_total{namespace="shop",source="web"} 14' in text
    assert 'vedette_gateway_refused_requests_total{namespace="shop",source="web",status="400"} 1' in text
    assert "vedette_gateway_sources 3" in text
    assert "vedette_gateway_in_flight_bytes 0" in text


def test_a_heartbeat_tells_the_figures_of_one_namespace(client: Any) -> None:
    client.post("/events", b'{"a":1}\n{"b":2}')
    client.post("/_bulk", b'{"delete":{}}\n')
    client.post("/events", b"nonsense")
    beat = client.gateway.heartbeat("shop")
    assert beat["counters"] == {"events": 2, "bytes": 14, "rejected": 1, "refused_requests": 1}
    assert set(beat["sources"]) == {"web", "auth"}
    assert beat["sources"]["web"]["events"] == 2
    assert beat["sources"]["web"]["last_ingested"] >= beat["started"]
    assert beat["sources"]["auth"]["last_ingested"] is None
    assert client.gateway.heartbeat("bank")["counters"]["events"] == 0
    assert client.gateway.namespaces() == ["bank", "shop"]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_names_follow_the_conventions(name: str) -> None:
    kind, labels, text = TABLE[name]
    assert (kind == "counter") == name.endswith("_total")
    assert text.endswith(".")
    assert len(set(labels)) == len(labels)
