"""What a tenant's namespace gets, on a real API server and a real RabbitMQ."""

from __future__ import annotations

import pytest
from tests.servers.rabbitmq import RabbitMQ
from tests.unit.desired.tenants import AMQP, World

from vedette_backends.broker.protocol import Message
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_operator import tenant as module
from vedette_operator.desired.scaling import Load
from vedette_operator.marks import FINALIZER
from vedette_operator.space import Known
from vedette_operator.verdict import Verdict

pytestmark = pytest.mark.slow


# making --------------------------------------------------------------------------------------------------------------
def test_a_source_gets_all_that_it_needs(world: World) -> None:
    world.put("web", retention={"search": "90d"})
    world.tenants.prepare(world.name)
    world.ensure()
    assert world.conditions("web") == {
        "TopologyReady": ("True", "Declared"),
        "TemplateReady": ("True", "Declared"),
        "Available": ("False", "Starting"),
    }
    assert set(world.deployments()) == {"vedette-pipeline", "vedette-responder"}
    assert world.store.templates[world.name] == {"90d"}
    assert world.source("web")["metadata"]["finalizers"] == [FINALIZER]
    secret = world.secret("vedette-backends")
    assert secret["elasticsearch-api-key"] == world.store.keys[world.user()][0]
    assert secret["rabbitmq-url"].startswith(f"amqps://{world.user()}:")
    assert "alerts" in world.broker(world.name).queues()


def test_the_workers_account_works_and_reaches_nothing_else(world: World, rabbitmq_server: RabbitMQ) -> None:
    world.put("web")
    world.ensure()
    password = world.secret("vedette-backends")["rabbitmq-url"].split(":")[2].split("@")[0]
    worker = open_broker(rabbitmq_server.settings_of(world.user(), password), world.name)
    worker.publish([Message("events.web", b"{}")])
    consumer = worker.consume(["events.web"], prefetch=10)
    (delivery,) = consumer.fetch(1, 10)
    consumer.ack([delivery.tag])
    consumer.close()
    worker.close()
    assert set(world.admin.permissions(world.user())) == {f"vedette.{world.name}"}


def test_a_source_is_available_when_a_worker_runs(world: World) -> None:
    world.put("web")
    world.ensure()
    path = f"/apis/apps/v1/namespaces/{world.name}/deployments/vedette-pipeline/status"
    ready = {"observedGeneration": 9, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    world.server.request("PATCH", path, {"status": ready}, kind="application/merge-patch+json")
    world.ensure(later=module.WATCH_EVERY)
    assert world.conditions("web")["Available"] == ("True", "Consuming")


def test_a_source_whose_workers_do_not_come_up_in_time_says_so(world: World) -> None:
    world.put("web")
    world.ensure()
    assert world.message("web", "Available") == "Deployment vedette-pipeline: workers are starting"
    path = f"/apis/apps/v1/namespaces/{world.name}/deployments/vedette-pipeline/status"
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    body = {"status": {"observedGeneration": 9, "conditions": [late]}}
    world.server.request("PATCH", path, body, kind="application/merge-patch+json")
    world.ensure(later=module.WATCH_EVERY)
    assert world.conditions("web")["Available"] == ("False", "NoWorkers")
    assert "logs say why" in world.message("web", "Available")


def test_nothing_is_written_when_nothing_differs(world: World) -> None:
    world.put("web")
    world.put("feed", **AMQP)
    world.ensure()
    world.hear("web"), world.hear("feed")
    world.ensure()
    before = world.versions(), world.store.made
    writes = world.owned.writes
    for _ in range(3):
        world.ensure(later=100)
    assert world.owned.writes == writes
    world.restart()
    world.hear("web"), world.hear("feed")
    world.ensure()
    assert world.owned.writes == 0
    assert (world.versions(), world.store.made) == before


def test_a_dedicated_source_gets_workers_of_its_own(world: World) -> None:
    world.put("web")
    world.put("big", workers={"mode": "dedicated", "minReplicas": 2})
    world.ensure()
    assert world.args("vedette-pipeline-big")[-2:] == ["--source", "big"]
    assert world.args("vedette-pipeline")[-2:] == ["--except", "big"]
    assert world.deployments()["vedette-pipeline-big"]["replicas"] == 2
    world.put("big", workers={"mode": "shared"})
    world.ensure()
    assert set(world.deployments()) == {"vedette-pipeline", "vedette-responder"}
    assert "--except" not in world.args("vedette-pipeline")


def test_only_claims_that_exist_are_mounted(world: World) -> None:
    for name in ("geo", "typo"):
        spec = {"geoip": {"database": {"pvc": {"claimName": name, "path": "city.mmdb"}}}}
        item = Object(Key("Enrichment", world.name, name), {"spec": spec}, {}, 1, 1)
        world.space.objects["Enrichment"][name] = Known(item, Verdict((), {"spec": spec}))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "geo", "namespace": world.name},
        "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    world.resources.apply(claim, manager="people")
    world.put("web")
    world.ensure()
    (container,) = world.deployments()["vedette-pipeline"]["template"]["spec"]["containers"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]][2:] == ["/claims/geo"]


def test_an_amqp_source_tells_its_publishers_how_and_they_reach_only_its_exchange(
    world: World, rabbitmq_server: RabbitMQ
) -> None:
    world.put("feed", **AMQP)
    world.ensure()
    told = world.secret("feed-publisher")
    assert told["vhost"] == f"vedette.{world.name}"
    assert (told["exchange"], told["routing-key"], told["username"]) == ("eventtask", "eventtask", world.user("feed"))
    assert told["url"].endswith(f"/vedette.{world.name}")
    assert world.admin.permissions(world.user("feed")) == {told["vhost"]: ("^$", "^eventtask$", "^$")}
    foreign = open_broker(rabbitmq_server.settings_of(told["username"], told["password"]), world.name)
    with pytest.raises((RefusedError, UnavailableError)):
        foreign.publish([Message("events.feed", b"{}")])
    foreign.close()

    world.put("feed", input={"http": {"tokenSecretRef": {"name": "t", "key": "t"}}})
    world.ensure()
    assert world.secret("feed-publisher") == {}
    assert world.user("feed") not in world.admin.users()


def test_an_exchange_that_cannot_be_given_away_is_told(world: World) -> None:
    world.put("feed", input={"amqp": {"exchange": "amq.topic", "routingKeys": ["x"]}})
    world.put("web")
    world.tenants.ensure(world.space)
    assert world.conditions("feed")["TopologyReady"] == ("False", "BackendRefused")
    assert "amq.topic" in world.message("feed", "TopologyReady")
    assert world.conditions("web")["TopologyReady"] == ("True", "Declared")


# scaling -------------------------------------------------------------------------------------------------------------
def test_workers_are_added_while_events_wait_and_a_restart_keeps_their_number(world: World) -> None:
    world.put("web")
    world.ensure()
    world.now += 60
    assert world.tenants.scale(world.name, {"web": Load(40.0, 500)}) == ["vedette-pipeline: 1 → 2 replicas"]
    assert world.deployments()["vedette-pipeline"]["replicas"] == 2
    world.restart()
    world.hear("web")
    world.ensure()
    assert world.deployments()["vedette-pipeline"]["replicas"] == 2
    assert world.tenants.scale(world.name, {"web": Load(None)}) == []


def test_where_an_autoscaler_decides_the_operator_does_not(world: World) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": world.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vedette-pipeline"},
            "maxReplicas": 9,
        },
    }
    world.resources.apply(scaler, manager="people")
    world.put("web")
    world.ensure()
    world.resources.patch("apps/v1", "Deployment", world.name, "vedette-pipeline", {"spec": {"replicas": 7}})
    world.now += 60
    assert world.tenants.scale(world.name, {"web": Load(400.0, 500)}) == []
    world.ensure(later=100)
    assert world.deployments()["vedette-pipeline"]["replicas"] == 7


# the release ---------------------------------------------------------------------------------------------------------
def test_the_release_s_own_parts_get_accounts_in_every_tenant(world: World) -> None:
    world.put("web")
    world.ensure()
    assert world.tenants.release([world.name, "not-served"]) == []
    gateway = world.secret("vedette-gateway-backends", "vedette-system")
    assert gateway["rabbitmq-url"].startswith("amqps://vedette-gateway:")
    vhost = f"vedette.{world.name}"
    assert world.admin.permissions("vedette-gateway")[vhost] == ("^$", r"^amq\.default$", "^$")
    assert world.admin.permissions("vedette-librarian")[vhost][2] == r"\.dead$"
    writes = world.owned.writes
    assert world.tenants.release([world.name]) == []
    assert world.owned.writes == writes


def test_what_the_release_cannot_get_is_told(world: World) -> None:
    world.store.fails = UnavailableError("connection refused")
    told = world.tenants.release([world.name])
    assert [one.partition(":")[0] for one in told] == ["templates", "gateway", "librarian", "web"]
