"""Every set of values makes objects that helm and Kubernetes take."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from tests.chart.charts import (
    CHART,
    NAMESPACE,
    RELEASE,
    ROOT,
    VALUES,
    Helm,
    Manifest,
    RefusedError,
    name_of,
    of_kind,
    only,
    pod_templates,
)

from vedette_operator.config import OperatorConfig, parse_config

CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}


def operator_config(manifests: list[Manifest]) -> OperatorConfig:
    text = only(manifests, "ConfigMap", f"{RELEASE}-operator")["data"]["operator.yaml"]
    return parse_config(text)


@pytest.mark.parametrize("which", ["everything", "dev", "least"])
def test_helm_lint_finds_nothing(helm: Helm, which: str) -> None:
    helm.run("lint", "--strict", str(CHART), "--values", str(VALUES / f"{which}.yaml"))


def test_every_object_fits_the_schema_of_its_kind(
    manifests: list[Manifest], kubeconform: Path, schemas: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.dump_all(manifests, Dumper=yaml.CSafeDumper))
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = [str(kubeconform), "-strict", "-summary", "-schema-location", where, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Errors: 0, Skipped: 0" in done.stdout


def test_a_field_that_kubernetes_does_not_know_is_noticed(kubeconform: Path, schemas: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {port: 80}\n")
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run([str(kubeconform), "-strict", "-schema-location", where, str(file)], check=False)
    assert done.returncode == 1


def test_no_two_objects_have_the_same_name(manifests: list[Manifest]) -> None:
    keys = [(name_of(item), item["metadata"].get("namespace")) for item in manifests]
    assert len(keys) == len(set(keys))


def test_every_object_says_where_it_belongs(manifests: list[Manifest]) -> None:
    tenants = set(operator_config(manifests).tenants)
    for item in manifests:
        namespace = item["metadata"].get("namespace")
        allowed = {None} if item["kind"] in CLUSTER_WIDE else {NAMESPACE, *tenants}
        assert namespace in allowed, name_of(item)
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "vedette", name_of(item)


def test_names_come_from_the_release_so_that_releases_do_not_collide(manifests: list[Manifest]) -> None:
    free = {"CustomResourceDefinition", "Namespace"}
    own = [item for item in manifests if item["kind"] not in free]
    for item in own:
        people = item["metadata"]["labels"].get("vedette.dev/component") == "people"
        assert item["metadata"]["name"].startswith("vedette:" if people else f"{RELEASE}-"), name_of(item)


def test_the_operator_understands_the_settings_that_the_chart_gives_it(manifests: list[Manifest]) -> None:
    config = operator_config(manifests)
    assert (config.release_name, config.release_namespace) == (RELEASE, NAMESPACE)


def test_the_operator_gets_every_setting_that_it_has(rendered: Callable[[str], list[Manifest]]) -> None:
    config = operator_config(rendered("everything"))
    # What is derived from the release's name is left to the operator.
    assert config.model_fields_set == set(OperatorConfig.model_fields)
    assert config.tenants == ["shop", "bank"]
    assert config.image == "security/vedette@sha256:" + 64 * "0"
    assert config.image_pull_secrets == ["registry"]
    assert config.pipeline.scale.max_replicas == 8
    for pods in (config.pipeline, config.responder, config.scheduler):
        assert pods.node_selector == {"pool": "siem"}
        assert pods.priority_class_name == "high"
    assert config.network_policy.backends[0].cidrs == ["10.9.0.0/16"]
    assert config.keda.enabled


def test_names_that_the_operator_derives_are_those_of_the_chart(rendered: Callable[[str], list[Manifest]]) -> None:
    manifests = rendered("everything")
    config = operator_config(manifests)
    only(manifests, "ValidatingWebhookConfiguration", config.webhook_configuration)
    only(manifests, "Service", config.webhook_service)
    only(manifests, "ClusterRole", config.responder_role)
    (volume,) = [
        volume
        for volume in only(manifests, "Deployment", f"{RELEASE}-webhook")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "tls"
    ]
    assert volume["secret"]["secretName"] == config.webhook_secret


def test_the_definitions_are_those_of_the_models(rendered: Callable[[str], list[Manifest]]) -> None:
    originals = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        definition = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
        originals[definition["metadata"]["name"]] = definition["spec"]
    made = {item["metadata"]["name"]: item["spec"] for item in of_kind(rendered("nothing"), "CustomResourceDefinition")}
    assert made == originals


def test_definitions_are_kept_unless_somebody_says_otherwise(
    rendered: Callable[[str], list[Manifest]], with_values: Callable[..., list[Manifest]]
) -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    kept = of_kind(rendered("nothing"), "CustomResourceDefinition")
    assert all(item["metadata"]["annotations"] == keep for item in kept)
    going = of_kind(with_values({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert len(going) == len(kept)
    assert not any("annotations" in item["metadata"] for item in going)
    assert not of_kind(rendered("least"), "CustomResourceDefinition")


def test_an_upgrade_leaves_the_authority_of_the_webhook_to_the_operator(
    rendered: Callable[[str], list[Manifest]],
) -> None:
    (configuration,) = of_kind(rendered("everything"), "ValidatingWebhookConfiguration")
    assert all("caBundle" not in hook["clientConfig"] for hook in configuration["webhooks"])


def test_a_changed_setting_starts_the_operator_anew(
    rendered: Callable[[str], list[Manifest]], with_values: Callable[..., list[Manifest]]
) -> None:
    def annotations(manifests: list[Manifest]) -> Manifest:
        found: Manifest = only(manifests, "Deployment", f"{RELEASE}-operator")["spec"]["template"]["metadata"]
        return dict(found["annotations"])

    before = annotations(rendered("everything"))
    assert annotations(with_values({"logs": {"level": "debug"}}, on="everything")) != before
    password = {"backends": {"elasticsearch": {"password": "another"}}}
    assert annotations(with_values(password, on="everything")) != before


def test_pods_of_the_release_get_what_was_asked_for_pods(rendered: Callable[[str], list[Manifest]]) -> None:
    for owner, template in pod_templates(rendered("everything")):
        spec = template["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}, owner
        assert spec["tolerations"][0]["value"] == "siem", owner
        assert spec["priorityClassName"] == "high", owner
        assert spec["imagePullSecrets"] == [{"name": "registry"}], owner
        if not owner.startswith("Job/"):
            assert template["metadata"]["labels"]["team"] == "security", owner
            assert template["metadata"]["annotations"]["example.com/note"] == "yes", owner


def test_passwords_are_written_as_they_are(rendered: Callable[[str], list[Manifest]]) -> None:
    secret = only(rendered("everything"), "Secret", f"{RELEASE}-operator-backends")["stringData"]
    assert secret["elasticsearch-password"] == "se:cr'et\""
    assert secret["rabbitmq-url"] == "amqps://admin:p%40ss@mq.example:5671"
    assert secret["elasticsearch-ca.crt"].startswith("-----BEGIN CERTIFICATE-----\n")


def test_backends_of_ones_own_are_mounted_and_not_made(rendered: Callable[[str], list[Manifest]]) -> None:
    manifests = rendered("least")
    assert not of_kind(manifests, "Secret")
    volumes = only(manifests, "Deployment", f"{RELEASE}-operator")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "backends", "secret": {"secretName": "my-backends"}} in volumes


def test_the_dev_servers_certificate_names_what_the_clients_connect_to(
    rendered: Callable[[str], list[Manifest]],
) -> None:
    manifests = rendered("dev")
    served = only(manifests, "Secret", f"{RELEASE}-dev")["stringData"]
    told = only(manifests, "Secret", f"{RELEASE}-operator-backends")["stringData"]
    certificate = x509.load_pem_x509_certificate(served["tls.crt"].encode())
    authority = x509.load_pem_x509_certificate(told["elasticsearch-ca.crt"].encode())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = {re.sub(r".*[/@]([^/@:]+):\d+$", r"\1", told[key]) for key in told if key.endswith("-url")}
    assert len(hosts) == 2
    assert hosts <= set(names.get_values_for_type(x509.DNSName))
    assert f":{served['rabbitmq-password']}@" in told["rabbitmq-url"]
    assert told["elasticsearch-password"] == served["elasticsearch-password"]


@pytest.mark.parametrize(
    ("values", "on", "says"),
    [
        ({"tenants": [{"name": NAMESPACE}]}, "", "namespace of the release itself"),
        ({"tenants": [{"name": "shop"}, {"name": "shop"}]}, "", "listed twice"),
        ({"backends": {"existingSecret": "mine"}}, "everything", "either existingSecret, or the URLs"),
        ({"backends": {"existingSecret": "mine"}}, "dev", "makes its own backends"),
        ({"backends": {"elasticsearch": {"url": ""}}}, "everything", "elasticsearch.url is missing"),
        ({"userRoles": {"prefix": f"{RELEASE}-"}}, "", "role of the responder's pods"),
        ({"pipeline": {"scale": {"minReplicas": 9}}}, "everything", "minReplicas is above maxReplicas"),
        ({"gateway": {"autoscaling": {"minReplicas": 99}}}, "everything", "minReplicas is above maxReplicas"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_reason(
    with_values: Callable[..., list[Manifest]], values: object, on: str, says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        with_values(values, on=on)


def test_a_release_with_too_long_a_name_is_refused(with_values: Callable[..., list[Manifest]]) -> None:
    with pytest.raises(RefusedError, match="at most 40"):
        with_values({}, release="a" * 41)
    assert with_values({}, release="a" * 40)


def test_the_notes_name_what_a_user_needs_next(helm: Helm) -> None:
    flags = ["install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client"]
    notes = helm.run(*flags).partition("\nNOTES:\n")[2]
    for words in (
        "create secret generic siem-operator-backends",
        "serves no namespace yet",
        "port-forward service/siem-web",
    ):
        assert words in notes
    notes = helm.run(*flags, "--values", str(VALUES / "everything.yaml")).partition("\nNOTES:\n")[2]
    for words in (
        "https://vedette.example.com",
        "--clusterrole=vedette:responder",
        "https://vedette-in.example.com/events",
    ):
        assert words in notes
    assert "waits for the Secret" not in notes
