"""What the operator wants in a tenant's namespace: properties that hold for any sources and settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_backends.settings import elasticsearch_settings, rabbitmq_settings
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import access, credentials, names, workloads
from vedette_operator.desired.credentials import Account, Endpoints
from vedette_operator.desired.scaling import Scaling
from vedette_operator.desired.source import Source, claims, example_key, retention_classes
from vedette_operator.desired.workloads import Plan, Surroundings

LABEL = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
CLAIM = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")

labels = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
sources = st.lists(
    st.builds(
        Source,
        name=labels,
        uid=st.uuids().map(str),
        dedicated=st.booleans(),
        scaling=st.builds(Scaling, least=st.integers(0, 2), most=st.integers(2, 9), target=st.floats(1, 60)),
        retention=st.frozensets(st.sampled_from(["7d", "30d", "90d", "400d"]), min_size=1),
        paused=st.booleans(),
    ),
    unique_by=lambda source: source.name,
    max_size=6,
)
few = settings(max_examples=30)
claim_names = st.lists(st.from_regex(CLAIM, fullmatch=True), unique=True, max_size=3)


@st.composite
def configs(draw: st.DrawFn) -> OperatorConfig:
    amounts = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    pods: dict[str, Any] = {"resources": amounts} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        pods |= {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "priorityClassName": "important"}
        pods["tolerations"] = [{"key": "siem", "operator": "Exists", "effect": "NoSchedule"}]
    return OperatorConfig.model_validate(
        {
            "image": "localhost/vedette:dev",
            "imagePullSecrets": draw(st.sampled_from([[], ["registry"]])),
            "releaseName": draw(labels),
            "releaseNamespace": "vedette-system",
            "tenants": ["shop"],
            "pipeline": pods,
            "responder": pods,
            "scheduler": pods,
            "keda": {"enabled": draw(st.booleans())},
            "networkPolicy": {"enabled": draw(st.booleans()), "backends": [{"cidrs": ["10.0.0.0/8"], "ports": [5671]}]},
        }
    )


def everything(config: OperatorConfig, found: Sequence[Source], mounted: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """All manifests of a namespace that has scheduled searches, but its Secrets."""
    owners = names.owners((source.name, source.uid) for source in found)
    around = Surroundings(config, "shop", "hash-of-the-secret", owners, mounted)
    components = [*access.ALWAYS, names.SCHEDULER]
    plans = workloads.plans(config, "shop", found, searches=True)
    return [
        *access.accounts(config, "shop", owners, components),
        *access.network_policies(config, "shop", owners, components),
        access.keda_authentication("shop", owners, ca=True),
        *(one for plan in plans for one in workloads.manifests(plan, around, 1)),
    ]


def of_kind(manifests: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (one["spec"]["template"]["spec"] for one in of_kind(manifests, "Deployment").values())


# pods ----------------------------------------------------------------------------------------------------------------
@few
@given(configs(), sources, claim_names)
def test_every_pod_is_as_the_restricted_standard_asks(
    config: OperatorConfig, found: list[Source], mounted: list[str]
) -> None:
    for pod in pods(everything(config, found, mounted)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65_532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "hostPort" not in str(container["ports"])


@few
@given(configs(), sources, claim_names)
def test_pods_can_write_into_a_bounded_scratch_folder_only(
    config: OperatorConfig, found: list[Source], mounted: list[str]
) -> None:
    for pod in pods(everything(config, found, mounted)):
        writable = [
            mount["name"]
            for container in pod["containers"]
            for mount in container["volumeMounts"]
            if not mount.get("readOnly")
        ]
        assert writable == ["scratch"]
        (scratch,) = [volume for volume in pod["volumes"] if volume["name"] == "scratch"]
        assert scratch["emptyDir"]["sizeLimit"] == "1Gi"


@few
@given(configs(), sources, claim_names)
def test_mounts_and_volumes_belong_together(config: OperatorConfig, found: list[Source], mounted: list[str]) -> None:
    for pod in pods(everything(config, found, mounted)):
        volumes = [volume["name"] for volume in pod["volumes"]]
        mounts = [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
        assert sorted(volumes) == sorted(mounts)
        assert len(set(volumes)) == len(volumes)
        assert all(OBJECT.fullmatch(name) for name in volumes)
        claims_of = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert claims_of == (set(mounted) if pod["serviceAccountName"] == "vedette-pipeline" else set())


@few
@given(configs(), sources)
def test_only_responders_have_a_token(config: OperatorConfig, found: list[Source]) -> None:
    manifests = everything(config, found)
    accounts = of_kind(manifests, "ServiceAccount")
    assert accounts["vedette-pipeline"]["automountServiceAccountToken"] is False
    assert accounts["vedette-scheduler"]["automountServiceAccountToken"] is False
    for pod in pods(manifests):
        responder = pod["serviceAccountName"] == "vedette-responder"
        assert pod["automountServiceAccountToken"] is responder
        assert pod["serviceAccountName"] in accounts
    (binding,) = of_kind(manifests, "RoleBinding").values()
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "vedette-responder", "namespace": "shop"}]
    assert binding["roleRef"]["name"] == config.responder_role


@few
@given(configs(), sources)
def test_every_container_has_probes_on_the_status_port(config: OperatorConfig, found: list[Source]) -> None:
    for pod in pods(everything(config, found)):
        (container,) = pod["containers"]
        assert [port["containerPort"] for port in container["ports"]] == [9090]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["args"][container["args"].index("--status-port") + 1] == "9090"


def test_another_secret_makes_another_pod_template_and_nothing_else(config: OperatorConfig, source: Source) -> None:
    (plan,) = [plan for plan in workloads.plans(config, "shop", [source]) if plan.component == "pipeline"]
    one, other = (workloads.manifests(plan, Surroundings(config, "shop", digest), 1) for digest in ("a", "b"))
    assert one[1:] == other[1:]
    assert one[0]["spec"]["template"] != other[0]["spec"]["template"]


# workloads -----------------------------------------------------------------------------------------------------------
@few
@given(configs(), sources)
def test_every_queue_has_exactly_one_workload_that_reads_it(config: OperatorConfig, found: list[Source]) -> None:
    plans = workloads.plans(config, "shop", found)
    read = sorted(name for plan in plans for name in plan.consumes)
    assert read == sorted(source.name for source in found)
    for plan in plans:
        if plan.component != "pipeline":
            continue
        only = _values(plan, "--source")
        others = set(_values(plan, "--except"))
        assert set(plan.consumes) == (set(only) or {source.name for source in found} - others)


@few
@given(configs(), sources)
def test_a_namespace_has_workers_exactly_if_it_has_sources(config: OperatorConfig, found: list[Source]) -> None:
    plans = workloads.plans(config, "shop", found)
    assert bool(plans) == bool(found)
    assert [plan.name for plan in plans if plan.component == "responder"] == ["vedette-responder"] * bool(found)
    assert len({plan.name for plan in plans}) == len(plans)


@few
@given(configs(), sources)
def test_a_namespace_has_one_scheduler_exactly_if_it_has_sources_and_searches(
    config: OperatorConfig, found: list[Source]
) -> None:
    assert all(plan.component != "scheduler" for plan in workloads.plans(config, "shop", found))
    plans = [plan for plan in workloads.plans(config, "shop", found, searches=True) if plan.component == "scheduler"]
    assert [plan.name for plan in plans] == ["vedette-scheduler"] * bool(found)
    for plan in plans:
        assert (plan.scaling, plan.consumes) == (None, ())
        assert plan.args[:2] == ("worker", "scheduler")
        assert _values(plan, "--namespace") == ["shop"]


@few
@given(configs(), sources)
def test_who_scales_by_keda_writes_no_replicas(config: OperatorConfig, found: list[Source]) -> None:
    plans = workloads.plans(config, "shop", found)
    scaled = {plan.name for plan in plans if plan.scaling is not None} if config.keda.enabled else set()
    around = Surroundings(config, "shop", "hash", autoscaled=scaled)
    for plan in plans:
        manifests = workloads.manifests(plan, around, 3)
        (deployment,) = of_kind(manifests, "Deployment").values()
        objects = of_kind(manifests, "ScaledObject")
        assert ("replicas" in deployment["spec"]) is (plan.name not in scaled)
        assert set(objects) == ({plan.name} & scaled)
        for one in objects.values():
            queues = [trigger["metadata"]["queueName"] for trigger in one["spec"]["triggers"]]
            assert queues == [f"events.{source}" for source in plan.consumes]
            assert one["spec"]["minReplicaCount"] <= one["spec"]["maxReplicaCount"]


@few
@given(configs(), sources)
def test_selectors_find_the_pods_of_their_workload_and_no_others(config: OperatorConfig, found: list[Source]) -> None:
    manifests = everything(config, found)
    deployments = of_kind(manifests, "Deployment")
    labelled = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in deployments.items()}
    for one in (*deployments.values(), *of_kind(manifests, "PodDisruptionBudget").values()):
        match = one["spec"]["selector"]["matchLabels"]
        assert [name for name, have in labelled.items() if match.items() <= have.items()] == [one["metadata"]["name"]]
    assert set(of_kind(manifests, "PodDisruptionBudget")) == set(deployments)


# all objects ---------------------------------------------------------------------------------------------------------
@few
@given(configs(), sources, claim_names)
def test_names_and_labels_are_valid_and_tell_whose_they_are(
    config: OperatorConfig, found: list[Source], mounted: list[str]
) -> None:
    manifests = everything(config, found, mounted)
    keys = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(keys)) == len(keys)
    for one in manifests:
        metadata = one["metadata"]
        assert OBJECT.fullmatch(metadata["name"])
        assert metadata["namespace"] == "shop"
        assert metadata["labels"].items() >= names.OURS.items()
        assert metadata["labels"]["app.kubernetes.io/name"] == f"vedette-{metadata['labels']['vedette.dev/component']}"
        for value in (*metadata["labels"].values(), *_template_labels(one)):
            assert LABEL.fullmatch(value)
        json.dumps(one)  # plain data


@few
@given(configs(), sources)
def test_all_objects_go_with_the_sources_and_block_nothing(config: OperatorConfig, found: list[Source]) -> None:
    for one in everything(config, found):
        owners = one["metadata"].get("ownerReferences", [])
        assert {owner["uid"] for owner in owners} == {source.uid for source in found}
        assert not any(owner["controller"] or owner["blockOwnerDeletion"] for owner in owners)


def test_owners_are_bounded() -> None:
    assert len(names.owners((f"s{number}", str(number)) for number in range(5000))) == names.MAX_OWNERS


@few
@given(configs(), sources)
def test_equal_inputs_give_equal_manifests(config: OperatorConfig, found: list[Source]) -> None:
    assert everything(config, found) == everything(config, found[::-1])


# networks ------------------------------------------------------------------------------------------------------------
def test_a_pod_may_reach_names_and_backends_and_only_responders_the_api_server(config: OperatorConfig) -> None:
    components = [*access.ALWAYS, names.SCHEDULER]
    found = access.network_policies(config, "shop", (), components)
    policies = {one["metadata"]["name"]: one["spec"] for one in found}
    assert set(policies) == {"vedette-pipeline", "vedette-responder", "vedette-scheduler"}
    for spec in policies.values():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        everybody: list[dict[str, Any]] = [{"namespaceSelector": {}}]
        assert spec["ingress"] == [{"from": everybody, "ports": [{"port": 9090, "protocol": "TCP"}]}]
    ports = {name: _ports(spec["egress"]) for name, spec in policies.items()}
    assert ports["vedette-pipeline"] == {("UDP", 53), ("TCP", 53), ("TCP", 5671), ("TCP", 9200)}
    assert ports["vedette-scheduler"] == ports["vedette-pipeline"]
    assert ports["vedette-responder"] - ports["vedette-pipeline"] == {("TCP", 443), ("TCP", 6443)}


def test_networks_and_labels_become_peers(make_config: Any) -> None:
    where = {
        "cidrs": ["10.0.0.0/8"],
        "namespaceLabels": {"team": "data"},
        "podLabels": {"app": "rabbitmq"},
        "ports": [],
    }
    config = make_config(networkPolicy={"backends": [where], "dns": [], "metricsFrom": [{"podLabels": {"a": "b"}}]})
    spec = access.network_policies(config, "shop")[0]["spec"]
    labelled = {
        "namespaceSelector": {"matchLabels": {"team": "data"}},
        "podSelector": {"matchLabels": {"app": "rabbitmq"}},
    }
    assert spec["egress"] == [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, labelled]}]
    anywhere = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}
    assert spec["ingress"][0]["from"] == [anywhere]


def test_policies_can_be_switched_off(make_config: Any) -> None:
    assert access.network_policies(make_config(networkPolicy={"enabled": False}), "shop") == []


# sources -------------------------------------------------------------------------------------------------------------
def test_a_source_is_read_with_its_defaults() -> None:
    manifest = {"metadata": {"name": "web", "uid": "u"}, "spec": {}}
    found = Source.of(manifest, {})
    assert (found.dedicated, found.scaling, found.retention) == (False, Scaling(1, 4, 10.0), frozenset({"30d"}))
    assert not found.exchange


def test_templates_of_the_version_in_force_and_of_the_newest_are_both_needed() -> None:
    manifest = {"metadata": {"name": "web"}, "spec": {"retention": {"search": "90d"}}}
    found = Source.of(manifest, {"retention": "7d", "bindings": [["eventtask", "a.#"], ["eventtask", "b"]]})
    assert retention_classes([found]) == ["7d", "90d"]
    assert (found.exchange, found.routing_keys) == ("eventtask", ("a.#", "b"))


def test_claims_of_every_operation_are_found() -> None:
    specs: list[dict[str, Any]] = [
        {"geoip": {"database": {"pvc": {"claimName": "geo", "path": "a.mmdb"}}}},
        {"lookup": {"table": {"pvc": {"claimName": "tables", "path": "a.csv"}}}},
        {"cidr": {"table": {"configMap": {"name": "x", "key": "y"}}}},
        {"indicators": {"feed": {"pvc": {"claimName": "geo", "path": "b"}}}},
        {"set": {"a": 1}},
    ]
    assert claims(specs) == ["geo", "tables"]


# Secrets -------------------------------------------------------------------------------------------------------------
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
where = Endpoints("amqps://broker.example:5671", "https://es.example:9200", "CA", "CA2")


@given(words, words, words)
def test_an_account_is_read_back_from_its_secret_whatever_it_is_called(user: str, password: str, key: str) -> None:
    account = Account(user, password, key)
    made = credentials.secret("shop", "vedette-backends", {}, credentials.backends_data(where, account))
    assert credentials.account_in(made, user) == account
    assert credentials.account_in(made, user + "x") == Account(user + "x")


@pytest.mark.parametrize(
    "secret",
    [
        None,
        {},
        {"data": None},
        {"data": {"rabbitmq-url": "%%%"}},
        {"data": {"rabbitmq-url": "/w=="}},
        {"data": {"rabbitmq-url": 7}},
        {"data": {"rabbitmq-url": "aHR0cDovL1s="}},
    ],
)
def test_a_broken_secret_holds_no_account(secret: Any) -> None:
    assert credentials.account_in(secret, "vedette.shop") == Account("vedette.shop")


@given(words)
def test_no_password_is_shown(password: str) -> None:
    assert repr(Account("user", f"-{password}-", f"+{password}+")) == "Account(user='user')"


def test_the_workers_secret_is_what_the_settings_read(tmp_path: Any) -> None:
    for name, value in credentials.backends_data(where, Account("vedette.shop", "p/w", "key")).items():
        (tmp_path / name).write_text(value)
    assert rabbitmq_settings(tmp_path).url == "amqps://vedette.shop:p%2Fw@broker.example:5671"
    assert elasticsearch_settings(tmp_path).api_key == "key"
    assert elasticsearch_settings(tmp_path).urls == ("https://es.example:9200",)


@given(st.lists(st.sampled_from(["*", "#", "logs", "sshd"]), min_size=1, max_size=6))
def test_the_example_of_a_routing_key_reaches_the_queue(words: list[str]) -> None:
    assert _matches(words, example_key(".".join(words)).split(".") if set(words) != {"#"} else [])


def _matches(pattern: Sequence[str], key: Sequence[str]) -> bool:
    """Topic matching by its definition."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return _matches(pattern[1:], key) or (bool(key) and _matches(pattern, key[1:]))
    return bool(key) and pattern[0] in {"*", key[0]} and _matches(pattern[1:], key[1:])


def _values(plan: Plan, option: str) -> list[str]:
    return [value for name, value in zip(plan.args, plan.args[1:], strict=False) if name == option]


def _template_labels(manifest: Mapping[str, Any]) -> list[str]:
    return list(manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}).values())


def _ports(rules: Sequence[Mapping[str, Any]]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}
