"""What a tenant's namespace is told, and what comes back, when something is missing, changed by hand or paused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from tests.servers.apiserver import ApiServer
from tests.unit.desired.tenants import World

from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.cluster.kubernetes import connect
from vedette_backends.errors import UnavailableError
from vedette_operator import tenant as module
from vedette_operator.config import OperatorConfig
from vedette_operator.marks import PAUSE

pytestmark = pytest.mark.slow


# faults --------------------------------------------------------------------------------------------------------------
def test_a_namespace_that_is_not_served_is_told_so(world: World, make_config: Callable[..., OperatorConfig]) -> None:
    world.config = make_config(tenants=["another"])
    world.restart()
    world.put("web")
    world.tenants.prepare(world.name)
    world.tenants.ensure(world.space)
    assert set(world.conditions("web").values()) == {("False", "NotATenant")}
    assert "tenants" in world.message("web", "Available")
    assert world.deployments() == {}
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert "finalizers" not in world.source("web")["metadata"]


def test_a_store_that_is_down_stops_what_needs_it_and_nothing_else(world: World) -> None:
    world.put("web")
    world.store.fails = UnavailableError("connection refused")
    world.ensure()
    assert world.conditions("web") == {
        "TopologyReady": ("True", "Declared"),
        "TemplateReady": ("False", "BackendUnavailable"),
        "Available": ("False", "BackendUnavailable"),
    }
    assert "Elasticsearch cannot be reached" in world.message("web", "TemplateReady")
    assert world.deployments() == {}
    world.store.fails = None
    world.ensure(later=module.CHECK_EVERY)
    assert world.conditions("web")["TemplateReady"] == ("True", "Declared")
    assert world.deployments()


def test_a_broker_that_is_down_stops_what_needs_it_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("web")
    nobody = dataclasses.replace(world.rabbitmq.settings, management_url="http://127.0.0.1:9")
    monkeypatch.setattr(world, "admin", RabbitMQAdmin(nobody))
    world.restart()
    world.hear("web")
    world.tenants.ensure(world.space)
    assert world.conditions("web")["TopologyReady"] == ("False", "BackendUnavailable")
    assert world.conditions("web")["TemplateReady"] == ("True", "Declared")
    assert world.deployments()


def test_rights_that_are_missing_are_named(world: World, api_server: ApiServer, tmp_path: Any) -> None:
    world.put("web")
    rules = {
        "apiGroups": ["", "vedette.dev"],
        "resources": ["namespaces", "logsources"],
        "verbs": ["get", "list", "patch"],
    }
    api_server.role(world.name, "poor", rules)
    token = api_server.token(world.name, "poor")
    poor = KubernetesResources(connect(api_server.kubeconfig_of(token, tmp_path / "config")))
    world.resources, everything = poor, world.resources
    world.restart()
    world.hear("web")
    world.tenants.ensure(world.space)
    world.resources = everything
    poor.close()
    assert set(world.conditions("web").values()) == {("False", "Forbidden")}
    assert "secrets" in world.message("web", "Available")
    assert "`tenants`" in world.message("web", "Available")


def test_a_deployment_that_somebody_deletes_or_changes_comes_back(world: World) -> None:
    world.put("web")
    world.ensure()
    world.hear("web")
    world.ensure()
    last = world.resources.get("apps/v1", "Deployment", world.name, "vedette-pipeline")
    assert last is not None
    world.resources.delete("apps/v1", "Deployment", world.name, "vedette-pipeline")
    assert world.tenants.noticed(last, deleted=True)
    world.ensure()
    assert "vedette-pipeline" in world.deployments()


def test_a_user_a_vhost_and_a_password_that_were_changed_by_hand_are_put_right(world: World) -> None:
    world.put("web")
    world.ensure()
    world.admin.delete_user(world.user())
    world.ensure(later=module.CHECK_EVERY)
    assert world.user() in world.admin.users()


def test_whoever_deletes_the_secret_gets_another_password_and_pods_that_have_it(world: World) -> None:
    world.put("web")
    world.ensure()
    before = world.secret("vedette-backends"), _template(world)
    world.resources.delete("v1", "Secret", world.name, "vedette-backends")
    world.ensure(later=100)
    after = world.secret("vedette-backends"), _template(world)
    assert before[0]["rabbitmq-url"] != after[0]["rabbitmq-url"]
    assert before[1] != after[1]


def test_a_paused_source_keeps_what_it_had(world: World) -> None:
    world.put("big", workers={"mode": "dedicated"})
    world.put("web")
    world.ensure()
    before = world.deployments()["vedette-pipeline-big"]
    world.resources.patch(
        "vedette.dev/v1alpha1",
        "LogSource",
        world.name,
        "big",
        {"metadata": {"annotations": {PAUSE: "true"}}, "spec": {"workers": {"mode": "shared"}}},
    )
    world.hear("big")
    world.ensure(later=100)
    assert world.deployments()["vedette-pipeline-big"] == before
    assert world.args("vedette-pipeline")[-2:] == ["--except", "big"]
    world.resources.patch(
        "vedette.dev/v1alpha1", "LogSource", world.name, "big", {"metadata": {"annotations": {PAUSE: None}}}
    )
    world.hear("big")
    world.ensure(later=100)
    assert set(world.deployments()) == {"vedette-pipeline", "vedette-responder"}


def _template(world: World) -> Any:
    return world.deployments()["vedette-pipeline"]["template"]["metadata"]["annotations"]["vedette.dev/backends-hash"]
