"""What a tenant's namespace gets and how it goes again, on a real API server and a real RabbitMQ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.servers.apiserver import ApiServer
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker.protocol import Binding, Broker, Message
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.cluster.kubernetes import connect
from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import connect as connect_store
from vedette_backends.store.protocol import NewEvent
from vedette_crds.conditions import REASONS
from vedette_operator import tenant as module
from vedette_operator.config import OperatorConfig
from vedette_operator.desired.credentials import Endpoints, decoded
from vedette_operator.desired.scaling import Load
from vedette_operator.marks import FINALIZER, PAUSE
from vedette_operator.owned import Owned
from vedette_operator.space import Known, Space
from vedette_operator.tenant import Tenants
from vedette_operator.verdict import Finding, Verdict

pytestmark = pytest.mark.slow


@dataclass
class RecordedStore:
    """Stands where Elasticsearch's management does: keeps what was asked for, and can be down."""

    templates: dict[str, set[str]] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    events: set[tuple[str, str]] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    fails: Exception | None = None
    made: int = 0

    def _answer(self) -> None:
        if self.fails is not None:
            raise self.fails

    def ensure_templates(self, namespace: str, classes: Sequence[str]) -> None:
        self._answer()
        self.templates.setdefault(namespace, set()).update(classes)

    def ensure_key(self, name: str, role: str, namespaces: Sequence[str], known: str) -> str:
        self._answer()
        if known and known in self.keys.get(name, []):
            return known
        self.made += 1
        self.keys[name] = [f"{role}-{'+'.join(namespaces)}-{self.made}"]
        return self.keys[name][0]

    def invalidate_keys(self, name: str) -> None:
        self._answer()
        self.keys.pop(name, None)

    def drop_namespace(self, namespace: str) -> None:
        self._answer()
        self.templates.pop(namespace, None)
        self.dropped.append(namespace)

    def delete_source_events(self, namespace: str, source: str) -> None:
        self._answer()
        self.events.add((namespace, source))


class World:
    """One tenant's namespace with all that the operator needs around it."""

    def __init__(
        self, server: ApiServer, resources: KubernetesResources, rabbitmq: RabbitMQ, config: OperatorConfig, name: str
    ) -> None:
        self.server = server
        self.resources = resources
        self.rabbitmq = rabbitmq
        self.config = config
        self.name = name
        self.admin = RabbitMQAdmin(rabbitmq.settings)
        self.store: Any = RecordedStore()
        self.now = 0.0
        self.brokers: dict[str, Broker] = {}
        self.restart()

    def restart(self) -> None:
        """A new operator that knows nothing."""
        where = Endpoints(f"amqps://broker.example:{self.rabbitmq.tls}", "https://es.example:9200", "CA", "")
        self.owned = Owned(self.resources, clock=lambda: self.now)
        self.tenants = Tenants(
            self.config, self.owned, self.admin, self.store, lambda: where, self.broker, clock=lambda: self.now
        )
        self.space = Space(self.name, None)

    def broker(self, namespace: str) -> Broker:
        if namespace not in self.brokers:
            self.brokers[namespace] = open_broker(self.rabbitmq.settings, namespace)
        return self.brokers[namespace]

    def close(self) -> None:
        for broker in self.brokers.values():
            broker.close()
        admin = RabbitMQAdmin(self.rabbitmq.settings)
        admin.delete_vhost(self.name)
        admin.close()
        self.admin.close()

    # what people do -------------------------------------------------------------------------------------------------
    def put(self, name: str, **spec: Any) -> Known:
        """Apply a LogSource; the operator hears of it, but does nothing yet."""
        http = {"http": {"tokenSecretRef": {"name": f"{name}-token", "key": "token"}}}
        manifest = {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "LogSource",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"input": http, "dataset": "a.b", **spec},
        }
        self.resources.apply(manifest, manager="people")
        return self.hear(name)

    def hear(self, name: str) -> Known:
        """The object as it is now reaches the operator."""
        live = self.source(name)
        item = Object(Key("LogSource", self.name, name), live, {}, live["metadata"]["generation"], 1)
        amqp = live["spec"]["input"].get("amqp")
        bindings = [[amqp["exchange"], key] for key in amqp["routingKeys"]] if amqp else []
        part = {"retention": live["spec"]["retention"]["search"], "bindings": bindings}
        known = Known(item, Verdict((Finding("Accepted", "True", "Valid"),), part))
        self.space.objects["LogSource"][name] = known
        return known

    def ensure(self, *, later: float = 0.0) -> None:
        """The control loop comes by, so many seconds later."""
        self.now += later
        self.tenants.ensure(self.space)
        # The control loop declares the queues of sources right behind.
        for name, known in self.space.objects["LogSource"].items():
            if f"vedette.{self.name}" in self.admin.vhosts():
                pairs = (known.verdict.part or {})["bindings"]
                self.broker(self.name).declare(f"events.{name}", bindings=[Binding(*pair) for pair in pairs])

    def delete(self, name: str) -> Object:
        """Somebody deletes a LogSource; what the control loop finishes then."""
        self.resources.delete("vedette.dev/v1alpha1", "LogSource", self.name, name)
        item = self.hear(name).object
        del self.space.objects["LogSource"][name]
        return item

    def delete_namespace(self) -> None:
        """The namespace is being deleted; nothing here would ever end that, since no controller runs."""
        namespace = self.server.request("GET", f"/api/v1/namespaces/{self.name}")
        assert namespace["spec"]["finalizers"] == ["kubernetes"]
        self.server.request("DELETE", f"/api/v1/namespaces/{self.name}")

    # what is seen ---------------------------------------------------------------------------------------------------
    def source(self, name: str) -> dict[str, Any]:
        found = self.resources.get("vedette.dev/v1alpha1", "LogSource", self.name, name)
        assert found is not None
        return found

    def exists(self, name: str) -> bool:
        return self.resources.get("vedette.dev/v1alpha1", "LogSource", self.name, name) is not None

    def secret(self, name: str, namespace: str = "") -> dict[str, str]:
        return decoded(self.resources.get("v1", "Secret", namespace or self.name, name))

    def deployments(self) -> dict[str, Mapping[str, Any]]:
        found = self.resources.list("apps/v1", "Deployment", self.name)
        return {one["metadata"]["name"]: one["spec"] for one in found}

    def args(self, deployment: str) -> list[str]:
        (container,) = self.deployments()[deployment]["template"]["spec"]["containers"]
        return list(container["args"])

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        found = self.space.objects["LogSource"][name].extra
        assert all(one.reason in REASONS for one in found)
        return {one.type: (one.status, one.reason) for one in found}

    def message(self, name: str, kind: str) -> str:
        return next(one.message for one in self.space.objects["LogSource"][name].extra if one.type == kind)

    def versions(self) -> list[str]:
        """Resource versions of everything in the namespace."""
        kinds = [
            ("apps/v1", "Deployment"),
            ("v1", "Secret"),
            ("v1", "ServiceAccount"),
            ("policy/v1", "PodDisruptionBudget"),
        ]
        kinds += [("networking.k8s.io/v1", "NetworkPolicy"), ("rbac.authorization.k8s.io/v1", "RoleBinding")]
        return [one["metadata"]["resourceVersion"] for kind in kinds for one in self.resources.list(*kind, self.name)]

    def user(self, source: str = "") -> str:
        return f"vedette.{self.name}" + (f".{source}" if source else "")


@pytest.fixture
def world(
    api_server: ApiServer,
    resources: KubernetesResources,
    rabbitmq_server: RabbitMQ,
    make_config: Callable[..., OperatorConfig],
    namespace: str,
) -> Iterator[World]:
    api_server.namespace("vedette-system")
    config = make_config(tenants=[namespace])
    made = World(api_server, resources, rabbitmq_server, config, namespace)
    yield made
    made.close()


T0 = 1_795_341_600_000
AMQP = {"input": {"amqp": {"exchange": "eventtask", "routingKeys": ["eventtask.#"]}}}


# making --------------------------------------------------------------------------------------------------------------
def test_a_source_gets_all_that_it_needs(world: World) -> None:
    world.put("web", retention={"search": "90d"})
    world.tenants.prepare(world.name)
    world.ensure()
    assert world.conditions("web") == {
        "TopologyReady": ("True", "Declared"),
        "TemplateReady": ("True", "Declared"),
        "Available": ("False", "NoWorkers"),
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


# removing ------------------------------------------------------------------------------------------------------------
def queues(world: World) -> set[str]:
    return set(world.broker(world.name).queues())


def test_with_retain_queues_and_events_stay_and_users_and_keys_go(world: World) -> None:
    world.put("feed", **AMQP)
    world.ensure()
    world.broker(world.name).publish([Message("events.feed", b"{}")])
    item = world.delete("feed")
    assert world.exists("feed")
    world.tenants.finish(item, [])
    assert not world.exists("feed")
    assert {"events.feed", "events.feed.dead"} <= queues(world)
    assert world.broker(world.name).stats("events.feed").ready == 1
    assert world.store.events == set()
    assert not {world.user(), world.user("feed")} & set(world.admin.users())
    assert world.user() not in world.store.keys
    assert world.secret("vedette-backends") == {} == world.secret("feed-publisher")


def test_with_delete_its_queues_and_events_go_and_those_of_others_stay(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other")
    world.ensure()
    item = world.delete("web")
    world.tenants.finish(item, [other.object])
    assert not world.exists("web")
    assert {name for name in queues(world) if name.startswith("events.")} == {"events.other", "events.other.dead"}
    assert world.store.events == {(world.name, "web")}
    assert world.user() in world.admin.users()
    assert world.secret("vedette-backends")


def test_the_last_source_takes_the_virtual_host_with_it_but_never_notes_and_alerts(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    world.tenants.finish(world.delete("web"), [])
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert world.store.events == {(world.name, "web")}
    assert world.store.dropped == []


def test_a_deleted_namespace_leaves_nothing_where_the_policy_says_so(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, deletionPolicy="Delete")
    world.ensure()
    items = [world.delete("a"), world.delete("b")]
    world.delete_namespace()
    for item in items:
        world.tenants.finish(item, [])
    assert not world.exists("a")
    assert not world.exists("b")
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert [user for user in world.admin.users() if user.startswith(world.user())] == []
    assert world.store.dropped == [world.name]
    assert world.store.keys == {}


def test_what_one_source_retains_no_other_source_takes_away(world: World) -> None:
    world.put("keep")
    world.put("drop", deletionPolicy="Delete")
    world.ensure()
    items = [world.delete("drop"), world.delete("keep")]
    world.delete_namespace()
    for item in items:
        world.tenants.finish(item, [])
    assert "events.keep" in queues(world)
    assert world.store.dropped == []
    assert world.store.events == {(world.name, "drop")}


def test_all_sources_of_a_namespace_can_be_removed_in_one_call(world: World) -> None:
    world.put("a", deletionPolicy="Delete")
    world.put("b")
    world.ensure()
    world.tenants.remove_namespace(world.name, {"a": "Delete", "b": "Retain"})
    assert {name for name in queues(world) if name.startswith("events.")} == {"events.b", "events.b.dead"}
    assert world.user() not in world.admin.users()


def test_cleaning_up_waits_for_the_backends_and_forgets_nothing(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    item = world.delete("web")
    world.store.fails = UnavailableError("connection refused")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            world.tenants.finish(item, [])
        assert world.source("web")["metadata"]["finalizers"] == [FINALIZER]
    world.store.fails = None
    world.restart()
    world.tenants.finish(item, [])
    assert not world.exists("web")
    assert world.store.events == {(world.name, "web")}
    world.tenants.finish(item, [])


def test_a_namespace_that_is_going_gets_nothing_new(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    item = world.delete("web")
    world.put("late")
    world.delete_namespace()
    world.tenants.finish(item, [])
    world.tenants.prepare(world.name)
    world.tenants.ensure(world.space)
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert world.space.objects["LogSource"]["late"].extra == []


def test_finalizers_of_others_stay(world: World) -> None:
    world.put("web")
    world.ensure()
    live = world.source("web")
    body = {"metadata": {"finalizers": [*live["metadata"]["finalizers"], "example.org/other"]}}
    world.resources.patch("vedette.dev/v1alpha1", "LogSource", world.name, "web", body)
    world.tenants.finish(world.delete("web"), [])
    assert world.source("web")["metadata"]["finalizers"] == ["example.org/other"]


def test_a_tenant_lives_and_goes_on_a_real_elasticsearch(world: World, elasticsearch_server: Elasticsearch) -> None:
    world.store = ElasticsearchAdmin(elasticsearch_server.settings)
    world.restart()
    world.put("web", deletionPolicy="Delete")
    world.tenants.prepare(world.name)
    world.ensure()
    assert world.conditions("web")["TemplateReady"] == ("True", "Declared")
    assert world.store.templates_ready(world.name, ["30d"]) == []
    key = world.secret("vedette-backends")["elasticsearch-api-key"]

    workers = connect_store(elasticsearch_server.settings_of(key))
    document = {"vedette.source": "web", "event.hash": "h"}
    workers.store(world.name).create_events("30d", [NewEvent("0" * 32, T0, T0, "h", document)])
    with pytest.raises(RefusedError):
        workers.store(f"{world.name}-other").put_blob(b"not theirs")
    workers.close()

    world.restart()
    world.hear("web")
    world.ensure()
    assert world.owned.writes == 0
    assert world.secret("vedette-backends")["elasticsearch-api-key"] == key
    assert world.tenants.release([world.name]) == []

    item = world.delete("web")
    world.delete_namespace()
    world.tenants.finish(item, [])
    assert not world.exists("web")
    assert world.name not in world.store.namespaces()
    gone = connect_store(elasticsearch_server.settings_of(key))
    with pytest.raises(RefusedError):
        gone.store(world.name).head("bundle")
    gone.close()
    world.store.close()


def _template(world: World) -> Any:
    return world.deployments()["vedette-pipeline"]["template"]["metadata"]["annotations"]["vedette.dev/backends-hash"]
