"""Alerts about Vedette itself speak of metrics that exist."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.chart.charts import ROOT, Manifest, of_kind

METRICS = re.compile(r"vedette_[a-z_]+")


def test_every_metric_in_an_alert_exists(rendered: Callable[[str], list[Manifest]]) -> None:
    told = [ROOT / "docs" / "reference" / "metrics.md", ROOT / "cli" / "vedette_cli" / "operator_metrics.py"]
    exist = {name for path in told for name in METRICS.findall(path.read_text("utf-8"))}
    (rule,) = of_kind(rendered("everything"), "PrometheusRule")
    used = {
        name for group in rule["spec"]["groups"] for alert in group["rules"] for name in METRICS.findall(alert["expr"])
    }
    assert len(used) > 5
    assert used <= exist


def test_absent_pods_are_noticed_only_where_prometheus_would_see_them(
    with_values: Callable[..., list[Manifest]], rendered: Callable[[str], list[Manifest]]
) -> None:
    def names(manifests: list[Manifest]) -> set[str]:
        (rule,) = of_kind(manifests, "PrometheusRule")
        return {alert["alert"] for group in rule["spec"]["groups"] for alert in group["rules"]}

    down = {"VedetteOperatorDown", "VedetteGatewayDown", "VedetteWebhookDown"}
    assert down < names(rendered("everything"))
    unseen = with_values({"monitoring": {"serviceMonitor": {"enabled": False}}}, on="everything")
    assert not down & names(unseen)
    smaller = with_values({"gateway": {"enabled": False}, "webhook": {"enabled": False}}, on="everything")
    assert down & names(smaller) == {"VedetteOperatorDown"}


def test_monitors_select_services_and_pods_of_vedette(rendered: Callable[[str], list[Manifest]]) -> None:
    manifests = rendered("everything")
    for monitor in of_kind(manifests, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (item for item in of_kind(manifests, "Service") if selector <= item["metadata"]["labels"].items())
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    (tenants,) = of_kind(manifests, "PodMonitor")
    assert tenants["spec"]["namespaceSelector"]["matchNames"] == ["shop", "bank"]
