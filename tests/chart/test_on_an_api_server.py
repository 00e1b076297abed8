"""The chart on a real API server: helm installs it, the accounts may do their work and no more, the policies hold.

There is no node here, so no pod runs; tests/cluster has the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, NAMESPACE, RELEASE, VALUES, Helm
from tests.helpers import until
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer

from vedette_backends.cluster.kubernetes import KubernetesResources, connect
from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.cluster.resources import Identity
from vedette_backends.errors import RefusedError
from vedette_operator.config import OperatorConfig, parse_config
from vedette_operator.desired import names
from vedette_operator.desired.credentials import Endpoints
from vedette_operator.owned import Owned
from vedette_operator.space import Known, Space
from vedette_operator.tenant import Tenants
from vedette_operator.uninstall import KINDS, uninstall
from vedette_operator.verdict import Verdict

CHANGED_BY = "vedette.dev/changed-by"
V1 = "vedette.dev/v1alpha1"
KINDS_OF_OTHERS = {"monitoring": {"serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}}
"""Nobody defined Prometheus' kinds on this server."""


@dataclass(frozen=True)
class Installed:
    """A release on a server."""

    server: ApiServer
    helm: Helm
    values: Path

    def run(self, verb: str, *flags: str) -> str:
        where = ["--namespace", NAMESPACE, "--kubeconfig", str(self.server.kubeconfig)]
        return self.helm.run(verb, RELEASE, *flags, *where)

    def resources(self, account: str = "") -> KubernetesResources:
        """The cluster as an account of the release sees it; without one, as its administrator."""
        if not account:
            return KubernetesResources(connect(self.server.kubeconfig))
        path = self.values.with_name(f"{account}.kubeconfig")
        token = self.server.token(NAMESPACE, account)
        return KubernetesResources(connect(self.server.kubeconfig_of(token, path)))


@pytest.fixture(scope="module")
def installed(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("api")
    values = folder / "values.yaml"
    values.write_text(
        yaml.safe_dump({**KINDS_OF_OTHERS, "keda": {"enabled": False}, "webhook": {"failurePolicy": "Ignore"}})
    )
    with apiserver.running(folder / "server") as server:
        for namespace in (NAMESPACE, "bank", "stranger"):
            server.namespace(namespace)
        made = Installed(server, helm, values)
        made.run("install", str(CHART), "--values", str(VALUES / "everything.yaml"), "--values", str(values))
        # The server takes a second or two until it heeds new policies; both came at once.
        admin = made.resources()
        until(lambda: denied(admin), seconds=30, what="the admission policies")
        yield made


def denied(admin: KubernetesResources) -> bool:
    """Whether the policies are in force, tried on an object that never stays."""
    try:
        admin.apply(incident("inc-trial", {CHANGED_BY: "jane"}), manager="tests")
    except RefusedError:
        return True
    admin.delete(V1, "Incident", "shop", "inc-trial")
    return False


@pytest.fixture
def operator(installed: Installed) -> KubernetesResources:
    return installed.resources(f"{RELEASE}-operator")


@pytest.fixture
def admin(installed: Installed) -> KubernetesResources:
    return installed.resources()


def secret(namespace: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(namespace, name, labels),
        "data": {"x": base64.b64encode(b"y").decode()},
    }


def incident(name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": V1,
        "kind": "Incident",
        "metadata": {"name": name, "namespace": "shop", "annotations": dict(annotations or {})},
        "spec": {"title": "Somebody is in", "severity": "high"},
    }


def source(name: str, *finalizers: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    http = {"http": {"tokenSecretRef": {"name": "t", "key": "token"}}}
    return {
        "apiVersion": V1,
        "kind": "LogSource",
        "metadata": {"name": name, "namespace": namespace, "finalizers": list(finalizers)},
        "spec": {"input": http, "dataset": "a.b", **spec},
    }


def configuration(installed: Installed) -> OperatorConfig:
    """The operator's settings, as the chart made them."""
    text = installed.server.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/{RELEASE}-operator")
    return parse_config(text["data"]["operator.yaml"])


class Asking:
    """The cluster as the operator sees it; notes what it asks for and what the API server refuses."""

    def __init__(self, resources: KubernetesResources) -> None:
        self._resources = resources
        self.done: set[tuple[str, str]] = set()
        self.refused: list[str] = []

    def _note(self, verb: str, kind: str, action: Callable[[], Any]) -> Any:
        self.done.add((verb, kind))
        try:
            return action()
        except RefusedError as error:
            self.refused.append(f"{verb} {kind}: {error}")
            raise

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        apply = partial(self._resources.apply, manifest, manager=manager, force=force)
        return dict(self._note("apply", manifest["kind"], apply))

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._note(
            "get", kind, partial(self._resources.get, api_version, kind, namespace, name)
        )
        return found

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        return list(self._note("list", kind, partial(self._resources.list, api_version, kind, namespace, labels)))

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        self._note("delete", kind, partial(self._resources.delete, api_version, kind, namespace, name))

    def patch(self, api_version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._note("patch", kind, partial(self._resources.patch, api_version, kind, namespace, name, body)))


class Backend:
    """Stands where RabbitMQ and Elasticsearch do, which have rights of their own: everything succeeds."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_, **__: ["vedette.bank"] if name == "vhosts" else "key" if name == "ensure_key" else []


ENDPOINTS = Endpoints("amqps://broker.example:5671", "https://es.example:9200", "", "")


def refused(action: Callable[[], object], says: str = "forbidden") -> None:
    with pytest.raises(RefusedError, match=says):
        action()


# rights -------------------------------------------------------------------------------------------------------------
def test_the_operator_keeps_its_own_objects_in_a_tenants_namespace(operator: KubernetesResources) -> None:
    labels = names.labels("pipeline")
    for api_version, kind, more in (
        ("v1", "ServiceAccount", {}),
        ("v1", "Secret", {"data": {}}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}}}),
        ("policy/v1", "PodDisruptionBudget", {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}}),
    ):
        metadata = names.metadata("shop", "vedette-trial", labels)
        manifest = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}
        operator.apply(manifest, manager=names.MANAGER)
        assert operator.get(api_version, kind, "shop", "vedette-trial"), kind
        operator.delete(api_version, kind, "shop", "vedette-trial")
        assert operator.get(api_version, kind, "shop", "vedette-trial") is None, kind


def test_the_operator_may_do_all_that_it_asks_for_in_a_tenants_namespace(
    installed: Installed, operator: KubernetesResources, admin: KubernetesResources
) -> None:
    asking = Asking(operator)
    tenants = Tenants(
        configuration(installed), Owned(asking), Backend(), Backend(), lambda: ENDPOINTS, lambda _: Backend()
    )
    amqp = {"amqp": {"exchange": "eventtask", "routingKeys": ["eventtask.#"]}}
    claim = {"geoip": {"database": {"pvc": {"claimName": "geo", "path": "city.mmdb"}}}}
    space = Space("bank", None)
    for name, spec in (("feed", {"input": amqp}), ("big", {"workers": {"mode": "dedicated"}})):
        live = admin.apply(source(name, namespace="bank", **spec), manager="tests")
        part = {"bindings": [["eventtask", "eventtask.#"]] if name == "feed" else []}
        space.objects["LogSource"][name] = Known(
            Object(Key("LogSource", "bank", name), live, {}, 1, 1), Verdict((), part)
        )
    item = Object(Key("Enrichment", "bank", "geo"), {"spec": claim}, {}, 1, 1)
    space.objects["Enrichment"]["geo"] = Known(item, Verdict((), {"spec": claim}))
    for _ in range(2):
        tenants.touch("bank")
        tenants.ensure(space)
    told = [finding for known in space.objects["LogSource"].values() for finding in known.extra]
    assert [one for one in told if one.status == "False" and one.reason != "Starting"] == []
    for kind in KINDS:
        asking.list(*kind, "bank")
    for name in ("feed", "big"):
        admin.delete(V1, "LogSource", "bank", name)
        live = admin.get(V1, "LogSource", "bank", name) or {}
        item = Object(Key("LogSource", "bank", name), live, {}, 1, 1)
        assert tenants.finish(item, [], left=True)
    assert asking.refused == []
    assert {verb for verb, _ in asking.done} == {"apply", "get", "list", "patch", "delete"}
    assert ("list", "HorizontalPodAutoscaler") in asking.done


def test_the_operator_has_no_rights_in_other_namespaces(operator: KubernetesResources) -> None:
    refused(lambda: operator.get("v1", "Secret", "stranger", "vedette-backends"))
    refused(lambda: operator.apply(secret("stranger", "x", names.OURS), manager=names.MANAGER))
    refused(lambda: operator.list("apps/v1", "Deployment", "stranger"))
    refused(lambda: operator.list("apps/v1", "Deployment"))


def test_the_operator_reads_secrets_by_name_and_lists_none(
    operator: KubernetesResources, admin: KubernetesResources
) -> None:
    admin.apply(secret("shop", "web-token", {}), manager="tests")
    assert operator.get("v1", "Secret", "shop", "web-token")
    refused(lambda: operator.list("v1", "Secret", "shop"))
    refused(lambda: operator.list("v1", "Secret", NAMESPACE))
    refused(lambda: operator.get("v1", "Secret", NAMESPACE, "of-somebody-else"))


def test_the_operator_writes_no_secret_of_somebody_else(
    operator: KubernetesResources, admin: KubernetesResources
) -> None:
    admin.apply(secret("shop", "precious", {}), manager="tests")
    ours = secret("shop", "precious", names.OURS)
    refused(lambda: operator.apply(ours, manager=names.MANAGER), "writes only Secrets with the label")
    refused(lambda: operator.delete("v1", "Secret", "shop", "precious"), "writes only Secrets with the label")
    refused(lambda: operator.apply(secret("shop", "new", {}), manager=names.MANAGER), "writes only Secrets")
    assert admin.get("v1", "Secret", "shop", "precious")


def test_the_operator_makes_the_secrets_of_the_releases_pods(operator: KubernetesResources) -> None:
    for part in ("gateway-backends", "librarian-backends", "web-backends", "webhook-tls"):
        operator.apply(secret(NAMESPACE, f"{RELEASE}-{part}", names.OURS), manager=names.MANAGER)
    other = secret(NAMESPACE, f"{RELEASE}-other", names.OURS)
    refused(lambda: operator.apply(other, manager=names.MANAGER))


def test_the_operator_binds_the_responders_role_and_no_other(operator: KubernetesResources) -> None:
    def binding(role: str) -> dict[str, Any]:
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": names.metadata("shop", f"trial-{role}", names.OURS),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "vedette-responder", "namespace": "shop"}],
        }

    operator.apply(binding(f"{RELEASE}-responder"), manager=names.MANAGER)
    refused(lambda: operator.apply(binding("cluster-admin"), manager=names.MANAGER), "attempting to grant RBAC")
    refused(lambda: operator.apply(binding(f"{RELEASE}-web-tenant"), manager=names.MANAGER), "attempting to grant RBAC")


def test_the_operator_answers_in_statuses_and_events_but_changes_no_rule(
    operator: KubernetesResources, admin: KubernetesResources
) -> None:
    made = admin.apply(incident("inc-status"), manager="tests")
    operator.record_event(made, reason="Trial", message="an event")
    operator.record_event(made, reason="Trial", message="an event")
    refused(lambda: operator.patch(V1, "Incident", "shop", "inc-status", {"spec": {"title": "Nothing"}}))
    admin.apply(source("plain"), manager="tests")
    operator.patch(V1, "LogSource", "shop", "plain", {"metadata": {"finalizers": ["vedette.dev/backends"]}})
    operator.patch(V1, "LogSource", "shop", "plain", {"metadata": {"finalizers": []}})


def test_the_operator_holds_its_lease(operator: KubernetesResources) -> None:
    lease = operator.lease(NAMESPACE, f"{RELEASE}-operator", holder="a")
    assert lease.acquire()
    assert lease.renew()
    lease.release()


def test_the_web_ui_asks_about_people_and_works_on_incidents_of_tenants(installed: Installed) -> None:
    web = installed.resources(f"{RELEASE}-web")
    token = installed.server.token(NAMESPACE, f"{RELEASE}-web")
    identity = web.review_token(token)
    assert identity is not None
    assert identity.user == f"system:serviceaccount:{NAMESPACE}:{RELEASE}-web"
    assert web.review_access(identity, "create", "vedette.dev", "incidents", "shop")[0]
    assert not web.review_access(identity, "create", "vedette.dev", "incidents", "stranger")[0]
    assert not web.review_access(identity, "get", "", "secrets", "shop")[0]
    assert web.list(V1, "AlertRule") == []


def test_the_gateway_may_do_nothing_at_all(installed: Installed) -> None:
    gateway = installed.resources(f"{RELEASE}-gateway")
    refused(lambda: gateway.list(V1, "AlertRule", NAMESPACE))
    refused(lambda: gateway.list("v1", "Pod", NAMESPACE))
    refused(lambda: gateway.get("v1", "Secret", NAMESPACE, f"{RELEASE}-gateway-backends"))


def test_people_may_what_their_role_says(installed: Installed, admin: KubernetesResources) -> None:
    # Aggregated roles are filled by the controller manager, which does not run here: their parts are bound instead.
    for level in ("viewer", "responder"):
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": level, "namespace": "shop"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": f"vedette:{level}-own",
            },
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alex"}],
        }
        admin.apply(binding, manager="tests")
    web = installed.resources(f"{RELEASE}-web")

    def may(verb: str, resource: str, namespace: str = "shop") -> bool:
        return web.review_access(Identity("alex"), verb, "vedette.dev", resource, namespace)[0]

    assert all(may(*question) for question in (("list", "events"), ("acknowledge", "alerts"), ("create", "notes")))
    assert not any(may(*question) for question in (("replay", "deadletters"), ("delete", "alertrules")))
    assert not may("list", "events", "bank")


# policies -----------------------------------------------------------------------------------------------------------
def test_only_the_web_ui_names_people(installed: Installed, admin: KubernetesResources) -> None:
    says = "only the web UI sets the annotation"
    refused(lambda: admin.apply(incident("inc-forged", {CHANGED_BY: "jane"}), manager="tests"), says)
    web = installed.resources(f"{RELEASE}-web")
    web.apply(incident("inc-real", {CHANGED_BY: "jane"}), manager="vedette-web")

    def annotate(value: str | None) -> None:
        admin.patch(V1, "Incident", "shop", "inc-real", {"metadata": {"annotations": {CHANGED_BY: value}}})

    refused(lambda: annotate("somebody else"), says)
    # Other changes go through, and so does taking the name away, which then no longer stands for the newest change.
    admin.patch(V1, "Incident", "shop", "inc-real", {"spec": {"title": "Somebody was in"}})
    annotate(None)
    found = admin.get(V1, "Incident", "shop", "inc-real")
    assert found is not None
    assert CHANGED_BY not in found["metadata"].get("annotations", {})


# upgrades and the end -----------------------------------------------------------------------------------------------
def test_an_upgrade_keeps_what_the_operator_put_into_the_webhook(
    installed: Installed, operator: KubernetesResources
) -> None:
    kind = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
    # Any authority will do: the server does not look for a signature here.
    authority = base64.b64encode((installed.server.folder / "pki" / "ca.crt").read_bytes()).decode()
    change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": authority}]
    operator.patch(*kind, "", f"{RELEASE}-webhook", change, type="json")
    flags = ["--values", str(VALUES / "everything.yaml"), "--values", str(installed.values)]
    installed.run("upgrade", str(CHART), *flags, "--set", "webhook.timeoutSeconds=7")
    found = operator.get(*kind, "", f"{RELEASE}-webhook")
    assert found is not None
    (hook,) = found["webhooks"]
    assert hook["timeoutSeconds"] == 7
    assert hook["clientConfig"]["caBundle"] == authority


def test_after_the_job_nothing_of_the_operators_is_left_and_nothing_is_stuck(
    installed: Installed, operator: KubernetesResources, admin: KubernetesResources
) -> None:
    config = configuration(installed)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata("shop", "vedette-pipeline", names.labels("pipeline")),
    }
    operator.apply(account, manager=names.MANAGER)
    operator.apply(secret("shop", "vedette-backends", names.OURS), manager=names.MANAGER)
    operator.apply(secret(NAMESPACE, f"{RELEASE}-web-backends", names.OURS), manager=names.MANAGER)
    operator.lease(NAMESPACE, f"{RELEASE}-operator", holder="a").acquire()
    admin.apply(source("kept", "vedette.dev/backends", "example.com/other"), manager="tests")
    admin.apply(source("going", "vedette.dev/backends"), manager="tests")
    admin.delete(V1, "LogSource", "shop", "going")

    for _ in range(2):  # a job that is started again finds everything done
        uninstall(config, operator)

    deployment = admin.get("apps/v1", "Deployment", NAMESPACE, f"{RELEASE}-operator")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 0
    assert admin.get("v1", "ServiceAccount", "shop", "vedette-pipeline") is None
    assert admin.get("v1", "Secret", "shop", "vedette-backends") is None
    assert admin.get("v1", "Secret", NAMESPACE, f"{RELEASE}-web-backends") is None
    assert admin.get("coordination.k8s.io/v1", "Lease", NAMESPACE, f"{RELEASE}-operator") is None
    kept = admin.get(V1, "LogSource", "shop", "kept")
    assert kept is not None
    assert kept["metadata"]["finalizers"] == ["example.com/other"]
    assert admin.get(V1, "LogSource", "shop", "going") is None


def test_an_uninstall_leaves_definitions_and_namespaces_only(installed: Installed, admin: KubernetesResources) -> None:
    # The job itself needs a node.
    installed.run("uninstall", "--no-hooks")
    left = []
    for api_version, kind in (
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "Ingress"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ):
        left += [
            f"{kind} {item['metadata']['name']}"
            for item in admin.list(api_version, kind)
            if item["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == RELEASE
        ]
    assert left == []
    kept = {item["metadata"]["name"] for item in admin.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    assert kept == {f"{kind}.vedette.dev" for kind in ("alertrules", "enrichments", "incidents", "logsources")}
    assert admin.get("v1", "Namespace", "", "shop")
    # What was kept is taken over when the release comes again.
    flags = ["--values", str(VALUES / "everything.yaml"), "--values", str(installed.values)]
    installed.run("install", str(CHART), *flags)
