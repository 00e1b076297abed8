"""The chart's NetworkPolicies and those that the operator makes of the same settings mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.chart.charts import RELEASE, Manifest, only

from vedette_operator.config import parse_config
from vedette_operator.desired import access

PLACES: list[dict[str, Any]] = [
    {},
    {"ports": [5671, 9200]},
    {"cidrs": ["10.0.0.0/8", "fd00::/8"], "ports": [5671]},
    {"podLabels": {"app": "rabbitmq"}, "ports": [5671]},
    {"namespaceLabels": {"team": "data"}, "ports": [5671]},
    {"namespaceLabels": {"team": "data"}, "podLabels": {"app": "rabbitmq"}},
    {"cidrs": ["10.0.0.0/8"], "podLabels": {"app": "rabbitmq"}},
]
WithValues = Callable[..., list[Manifest]]


def specs(manifests: list[Manifest]) -> tuple[Manifest, Manifest]:
    """Of the librarian's policy, which the chart makes, and of the pipeline's, which the operator does."""
    librarian = only(manifests, "NetworkPolicy", f"{RELEASE}-librarian")["spec"]
    config = parse_config(only(manifests, "ConfigMap", f"{RELEASE}-operator")["data"]["operator.yaml"])
    (pipeline,) = (
        policy["spec"]
        for policy in access.network_policies(config, "shop")
        if policy["metadata"]["name"] == "vedette-pipeline"
    )
    return librarian, pipeline


@pytest.mark.parametrize("name", ["backends", "dns", "metricsFrom"])
def test_a_place_means_the_same_in_the_release_and_in_a_tenants_namespace(with_values: WithValues, name: str) -> None:
    ours, theirs = specs(with_values({"networkPolicy": {name: PLACES}}))
    assert ours["egress"] == theirs["egress"]
    assert ours["ingress"] == theirs["ingress"]


def test_without_settings_they_mean_the_same_too(with_values: WithValues) -> None:
    ours, theirs = specs(with_values({}))
    assert ours["egress"] == theirs["egress"]
    assert ours["ingress"] == theirs["ingress"]


def test_labels_of_pods_alone_mean_these_pods_in_every_namespace(with_values: WithValues) -> None:
    places = [{"podLabels": {"app": "rabbitmq"}}]
    for spec in specs(with_values({"networkPolicy": {"backends": places}})):
        (reached,) = (rule["to"] for rule in spec["egress"] if "ports" not in rule)
        assert reached == [{"podSelector": {"matchLabels": {"app": "rabbitmq"}}, "namespaceSelector": {}}]
