"""A tenant's namespace with all that the operator needs around it, for tests of what it gets and how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.servers.apiserver import ApiServer
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker.protocol import Binding, Broker
from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin
from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.cluster.protocol import Key, Object
from vedette_crds.conditions import REASONS
from vedette_operator.config import OperatorConfig
from vedette_operator.desired.credentials import Endpoints, decoded
from vedette_operator.owned import Owned
from vedette_operator.removal import GRACE
from vedette_operator.space import Known, Space
from vedette_operator.tenant import Tenants
from vedette_operator.verdict import Finding, Verdict

AMQP = {"input": {"amqp": {"exchange": "eventtask", "routingKeys": ["eventtask.#"]}}}
"""What makes a source one of foreign publishers."""


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

    def finish(self, item: Object, *others: Object, left: bool = True) -> None:
        """The control loop comes by until the object is let go of."""
        deadline = self.now + GRACE + 10
        while not self.tenants.finish(item, others, left=left):
            assert self.now < deadline
            self.now += 1

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
