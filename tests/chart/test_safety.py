"""What the chart's pods and accounts may do: no more than they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.chart.charts import (
    NAMESPACE,
    RELEASE,
    Manifest,
    containers,
    name_of,
    of_kind,
    only,
    pod_templates,
)

Rendered = Callable[[str], list[Manifest]]

WRITING = {"create", "update", "patch", "delete", "deletecollection"}
DEV_SERVERS = {f"StatefulSet/{RELEASE}-rabbitmq", f"StatefulSet/{RELEASE}-elasticsearch"}
VIRTUAL = {"events", "alerts", "deadletters", "notes"}


def rules(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for role in of_kind(manifests, "ClusterRole", "Role"):
        for rule in role.get("rules") or ():
            yield name_of(role), rule


def labels_select(selector: Manifest, labels: Manifest) -> bool:
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


# rights -------------------------------------------------------------------------------------------------------------
def test_no_role_says_everything(manifests: list[Manifest]) -> None:
    for name, rule in rules(manifests):
        for part in ("apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"):
            assert not any("*" in entry for entry in rule.get(part, ())), f"{name}: {rule}"


def test_nobody_lists_or_watches_secrets(manifests: list[Manifest]) -> None:
    for name, rule in rules(manifests):
        if "secrets" in rule["resources"]:
            assert set(rule["verbs"]) <= {"get", "create", "patch", "delete"}, name
            assert rule["resources"] == ["secrets"], f"{name}: secrets stand alone, so that a reader sees the verbs"


def test_secrets_are_out_of_reach_cluster_wide(manifests: list[Manifest]) -> None:
    bound = {binding["roleRef"]["name"] for binding in of_kind(manifests, "ClusterRoleBinding")}
    for role in of_kind(manifests, "ClusterRole"):
        touches = any("secrets" in rule["resources"] for rule in role.get("rules") or ())
        assert not (touches and role["metadata"]["name"] in bound), name_of(role)


def test_in_its_own_namespace_the_operator_reaches_secrets_by_name_only(manifests: list[Manifest]) -> None:
    (role,) = of_kind(manifests, "Role")
    (rule,) = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert set(rule["resourceNames"]) == {
        f"{RELEASE}-{part}" for part in ("gateway-backends", "librarian-backends", "web-backends", "webhook-tls")
    }


def test_the_operator_writes_workloads_in_the_listed_namespaces_only(rendered: Rendered) -> None:
    manifests = rendered("everything")
    everywhere = only(manifests, "ClusterRole", f"{RELEASE}-operator")
    written = {
        resource for rule in everywhere["rules"] if WRITING & set(rule["verbs"]) for resource in rule["resources"]
    }
    statuses = {f"{kind}/status" for kind in ("alertrules", "enrichments", "incidents", "logsources")}
    assert written == statuses | {"logsources", "events", "validatingwebhookconfigurations"}
    bindings = [
        item["metadata"]["namespace"]
        for item in of_kind(manifests, "RoleBinding")
        if item["roleRef"]["name"] == f"{RELEASE}-tenant"
    ]
    assert bindings == ["shop", "bank"]


def test_the_operator_may_hand_on_the_responders_role_and_no_other(rendered: Rendered) -> None:
    binds = [(name, rule) for name, rule in rules(rendered("everything")) if "bind" in rule["verbs"]]
    ((name, rule),) = binds
    assert name == f"ClusterRole/{RELEASE}-tenant"
    assert rule["resourceNames"] == [f"{RELEASE}-responder"]
    assert not any({"escalate", "impersonate"} & set(rule["verbs"]) for _, rule in rules(rendered("everything")))


def test_every_binding_names_a_role_and_an_account_of_the_chart(manifests: list[Manifest]) -> None:
    accounts = {item["metadata"]["name"] for item in of_kind(manifests, "ServiceAccount")}
    roles = {(item["kind"], item["metadata"]["name"]) for item in of_kind(manifests, "ClusterRole", "Role")}
    for binding in of_kind(manifests, "ClusterRoleBinding", "RoleBinding"):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles, name_of(binding)
        for subject in binding["subjects"]:
            assert subject["name"] in accounts, name_of(binding)
            assert subject["namespace"] == NAMESPACE, name_of(binding)


def test_people_get_more_with_each_role(rendered: Rendered) -> None:
    manifests = rendered("everything")

    def held(level: str) -> set[tuple[str, str]]:
        role = only(manifests, "ClusterRole", f"vedette:{level}")
        (selector,) = role["aggregationRule"]["clusterRoleSelectors"]
        return {
            (resource, verb)
            for part in of_kind(manifests, "ClusterRole")
            if labels_select(selector["matchLabels"], part["metadata"]["labels"])
            for rule in part["rules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    viewer, responder, engineer = held("viewer"), held("responder"), held("engineer")
    assert viewer < responder < engineer
    assert {verb for _, verb in viewer} == {"get", "list", "watch"}
    assert {resource for resource, _ in viewer} >= VIRTUAL
    assert {("alerts", "acknowledge"), ("alerts", "dispose"), ("notes", "create"), ("incidents", "patch")} <= responder
    assert not {resource for resource, verb in responder if verb in WRITING} & {"alertrules", "logsources"}
    assert {("deadletters", "replay"), ("deadletters", "dispose"), ("alertrules", "create")} <= engineer


def test_people_get_nothing_outside_of_vedettes_own_kinds(rendered: Rendered) -> None:
    for role in of_kind(rendered("everything"), "ClusterRole"):
        if role["metadata"]["name"].startswith("vedette:"):
            assert all(rule["apiGroups"] == ["vedette.dev"] for rule in role.get("rules") or ())


# pods ---------------------------------------------------------------------------------------------------------------
def test_every_container_is_restricted(manifests: list[Manifest]) -> None:
    for owner, pod, spec in containers(manifests):
        around, within = pod["securityContext"], spec["securityContext"]
        assert around["runAsNonRoot"] is True, owner
        assert around["runAsUser"] > 0, owner
        assert around["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert within["allowPrivilegeEscalation"] is False, owner
        assert within["capabilities"] == {"drop": ["ALL"]}, owner
        assert not within.get("privileged"), owner
        assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")), owner
        assert not any("hostPort" in port for port in spec.get("ports", ())), owner
        assert not any("hostPath" in volume for volume in pod["volumes"]), owner
        assert within.get("readOnlyRootFilesystem") is (None if owner in DEV_SERVERS else True), owner


def test_every_container_says_what_it_needs(manifests: list[Manifest]) -> None:
    for owner, _, spec in containers(manifests):
        assert set(spec["resources"]["requests"]) >= {"cpu", "memory"}, owner
        assert "memory" in spec["resources"]["limits"], owner


def test_only_what_speaks_to_the_api_server_has_a_token(manifests: list[Manifest]) -> None:
    speaking = {f"Deployment/{RELEASE}-operator", f"Deployment/{RELEASE}-web", f"Job/{RELEASE}-uninstall"}
    for owner, template in pod_templates(manifests):
        assert template["spec"]["automountServiceAccountToken"] is (owner in speaking), owner
    for account in of_kind(manifests, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, name_of(account)


def test_every_writable_folder_has_a_limit(manifests: list[Manifest]) -> None:
    for owner, pod, spec in containers(manifests):
        limits = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume}
        for mount in spec["volumeMounts"]:
            assert mount.get("readOnly") or mount["name"] in limits or owner in DEV_SERVERS, owner


def test_long_running_pods_are_probed_on_a_port_that_they_have(manifests: list[Manifest]) -> None:
    for owner, _, spec in containers(manifests):
        if owner.startswith("Job/"):
            continue
        ports = {port["name"] for port in spec["ports"]}
        probes = [spec["readinessProbe"]] if owner in DEV_SERVERS else [spec["readinessProbe"], spec["livenessProbe"]]
        for probe in probes:
            target: Any = next((probe[way]["port"] for way in ("httpGet", "tcpSocket") if way in probe), None)
            assert target in ports or "exec" in probe, owner


# connections --------------------------------------------------------------------------------------------------------
def test_every_service_leads_to_a_port_of_some_pod(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        found = [
            {port["name"] for container in template["spec"]["containers"] for port in container.get("ports", ())}
            for _, template in pod_templates(manifests)
            if labels_select(service["spec"]["selector"], template["metadata"]["labels"])
        ]
        assert found, name_of(service)
        for port in service["spec"]["ports"]:
            assert any(port["targetPort"] in ports for ports in found), name_of(service)


def test_every_selector_of_a_workload_selects_its_own_pods_only(manifests: list[Manifest]) -> None:
    workloads = of_kind(manifests, "Deployment", "StatefulSet")
    for one in workloads:
        selector = one["spec"]["selector"]["matchLabels"]
        owners = [
            name
            for name, template in pod_templates(manifests)
            if labels_select(selector, template["metadata"]["labels"])
        ]
        assert owners == [name_of(one)]


def test_every_budget_is_for_more_than_one_pod(rendered: Rendered, with_values: Callable[..., list[Manifest]]) -> None:
    budgets = {item["metadata"]["name"] for item in of_kind(rendered("everything"), "PodDisruptionBudget")}
    assert budgets == {f"{RELEASE}-{part}" for part in ("webhook", "gateway", "web")}
    # A budget over a single pod would keep a node from being drained.
    assert not of_kind(rendered("nothing"), "PodDisruptionBudget")
    assert not of_kind(with_values({"podDisruptionBudget": {"enabled": False}}, on="everything"), "PodDisruptionBudget")


@pytest.mark.parametrize("which", ["nothing", "everything", "dev"])
def test_every_pod_has_a_network_policy(rendered: Rendered, which: str) -> None:
    manifests = rendered(which)
    for owner, template in pod_templates(manifests):
        policies = [
            item
            for item in of_kind(manifests, "NetworkPolicy")
            if labels_select(item["spec"]["podSelector"]["matchLabels"], template["metadata"]["labels"])
        ]
        assert len(policies) == 1, owner
        assert policies[0]["spec"]["policyTypes"] == ["Ingress", "Egress"], owner


def test_only_what_speaks_to_the_api_server_reaches_it(rendered: Rendered) -> None:
    api_server = {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 6443, "protocol": "TCP"}]}
    reaching = {
        item["metadata"]["name"]
        for item in of_kind(rendered("everything"), "NetworkPolicy")
        if api_server in item["spec"]["egress"]
    }
    assert reaching == {f"{RELEASE}-{part}" for part in ("operator", "web", "uninstall")}


def test_the_webhook_connects_to_nobody(rendered: Rendered) -> None:
    assert only(rendered("everything"), "NetworkPolicy", f"{RELEASE}-webhook")["spec"]["egress"] == []


def test_clients_and_readers_of_metrics_are_those_of_the_values(rendered: Rendered) -> None:
    gateway = only(rendered("everything"), "NetworkPolicy", f"{RELEASE}-gateway")["spec"]["ingress"]
    assert gateway == [
        {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "fd00::/8"}}],
            "ports": [{"port": 8421, "protocol": "TCP"}],
        },
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "ports": [{"port": 9090, "protocol": "TCP"}],
        },
    ]
    (open_to_all, metrics) = only(rendered("nothing"), "NetworkPolicy", f"{RELEASE}-gateway")["spec"]["ingress"]
    assert open_to_all == {"ports": [{"port": 8421, "protocol": "TCP"}]}
    assert metrics["from"] == [{"namespaceSelector": {}}]


# admission ----------------------------------------------------------------------------------------------------------
def test_the_webhook_judges_our_kinds_only_and_never_changes_anything(rendered: Rendered) -> None:
    (configuration,) = of_kind(rendered("nothing"), "ValidatingWebhookConfiguration")
    (hook,) = configuration["webhooks"]
    assert hook["sideEffects"] == "None"
    assert hook["failurePolicy"] == "Ignore"
    (rule,) = hook["rules"]
    assert rule["apiGroups"] == ["vedette.dev"]
    definitions = of_kind(rendered("nothing"), "CustomResourceDefinition")
    assert sorted(rule["resources"]) == sorted(item["spec"]["names"]["plural"] for item in definitions)
    assert "DELETE" not in rule["operations"]
