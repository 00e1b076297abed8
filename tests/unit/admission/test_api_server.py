"""The webhook asked by a real API server, with the certificate that the operator makes: what kubectl prints."""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tests.helpers import until
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, RequestError

from vedette_operator import certificates
from vedette_operator.admission.judgement import judge

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SERVE = """
import sys
from pathlib import Path
from vedette_operator.admission.server import serve
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), every=0.05)
"""


class Place:
    """A namespace of this test, whose objects the webhook judges."""

    def __init__(self, server: ApiServer, folder: Path, port: int) -> None:
        self.server = server
        self.namespace = f"shop-{secrets.token_hex(4)}"
        self.port = port
        self.folder = folder
        server.namespace(self.namespace)
        server.definitions(
            *(yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.vedette.dev.yaml")))
        )
        folder.mkdir()
        self.data: certificates.Data = {}
        self.renew()
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(folder), str(port)])
        until(self.answers, seconds=60, what="the webhook")

    def renew(self) -> None:
        """A new certificate: its authority in the configuration, then itself in the webhook's folder."""
        self.data = data = certificates.make(["localhost"], dt.datetime.now(dt.UTC), self.data)
        path = f"{WEBHOOKS}/{self.namespace}"
        self.server.apply(path, self._configuration(), manager="helm")
        patch = certificates.ca_bundle_patch(self.server.request("GET", path), data[certificates.BUNDLE])
        assert patch is not None
        self.server.apply(path, patch, manager="vedette-operator")
        assert certificates.ca_bundle_patch(self.server.request("GET", path), data[certificates.BUNDLE]) is None
        for name in (certificates.CERTIFICATE, certificates.KEY):
            (self.folder / name).write_bytes(data[name])

    def _configuration(self) -> dict[str, Any]:
        webhook = {
            "name": "validate.vedette.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": f"https://localhost:{self.port}/validate"},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "rules": [
                {
                    "apiGroups": ["vedette.dev"],
                    "apiVersions": ["v1alpha1"],
                    "resources": ["*"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                }
            ],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.namespace},
            "webhooks": [webhook],
        }

    def answers(self) -> bool:
        assert self.process.poll() is None
        try:
            self.server.request("POST", f"{self.path('incidents')}?dryRun=All", self.incident("probe"))
        except RequestError as error:
            if "failed calling webhook" in str(error):
                return False
            raise
        return True

    def incident(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "Incident",
            "metadata": {"name": name},
            "spec": {"title": "x"},
        }

    def path(self, plural: str) -> str:
        return f"/apis/vedette.dev/v1alpha1/namespaces/{self.namespace}/{plural}"

    def kubectl(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            apiserver.binaries() / "kubectl",
            "--kubeconfig",
            self.server.kubeconfig,
            "-n",
            self.namespace,
        ]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=120)

    def close(self) -> None:
        self.server.request("DELETE", f"{WEBHOOKS}/{self.namespace}")
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not os.access(apiserver.binaries() / "kubectl", os.X_OK):
        (pytest.fail if "CI" in os.environ else pytest.skip)("there is no kubectl beside the API server's binary")
    root = tmp_path_factory.getbasetemp()
    server = apiserver.shared(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Place(server, tmp_path_factory.mktemp("webhook") / "cert", port)
    yield made
    made.close()


@pytest.fixture
def write(tmp_path: Path, place: Place) -> Callable[..., Path]:
    """A manifest as a file."""

    def to(manifest: dict[str, Any], name: str = "rule.yaml") -> Path:
        file = tmp_path / name
        file.write_text(yaml.safe_dump({**manifest, "metadata": {"name": manifest["metadata"]["name"]}}))
        return file

    assert place.namespace
    return to


def test_a_server_side_dry_run_runs_the_tests(place: Place, write: Callable[..., Path], make: SimpleNamespace) -> None:
    good = place.kubectl("apply", "--dry-run=server", "-f", write(make.rule()))
    assert (good.returncode, good.stderr) == (0, "")
    assert "alertrule.vedette.dev/web created (server dry run)" in good.stdout
    bad = place.kubectl("apply", "--dry-run=server", "-f", write(make.rule(alerts=2)))
    assert bad.returncode == 1
    assert "rule.yaml" in bad.stderr
    assert f"AlertRule {place.namespace}/web: spec.tests[0].expect.alerts: test 'it fires' failed" in bad.stderr
    assert place.kubectl("get", "alertrules", "-o", "name").stdout == ""


def test_a_search_passes_the_dry_run_and_is_tested_by_it(
    place: Place, write: Callable[..., Path], make: SimpleNamespace
) -> None:
    search = {"query": "event.action:login", "condition": {"count": {"gte": 2}}}
    timeline = [{"event": {"event.action": "login"}, "repeat": {"count": 2}}]

    def dry_run(alerts: int, **changes: Any) -> Any:
        tests = [{"name": "it fires", "timeline": timeline, "expect": {"alerts": alerts}}]
        spec = {"severity": "high", "search": {**search, **changes}, "tests": tests}
        return place.kubectl("apply", "--dry-run=server", "-f", write(make.obj("AlertRule", spec)))

    assert dry_run(1).returncode == 0
    assert "spec.tests[0].expect.alerts: test 'it fires' failed: raised 1 alert, expected 5" in dry_run(5).stderr
    assert "spec.search.query: " in dry_run(1, query="a:(").stderr


def test_every_mistake_is_printed_on_a_line_of_its_own(
    place: Place, write: Callable[..., Path], make: SimpleNamespace
) -> None:
    broken = make.sigma.replace("event.action", "event.action|nope").replace("condition: sel", "condition: other")
    told = place.kubectl("apply", "-f", write(make.rule(broken))).stderr
    assert "has 2 mistakes:\n* spec.sigma.detection" in told
    assert told.count("line 4 of the Sigma text") == 2


def test_warnings_are_printed_and_can_fail_a_pipeline(
    place: Place, write: Callable[..., Path], make: SimpleNamespace
) -> None:
    untested = make.obj("AlertRule", {"sigma": make.sigma})
    told = place.kubectl("apply", "--dry-run=server", "-f", write(untested))
    assert told.returncode == 0
    assert "Warning: spec.tests: there are no tests" in told.stderr
    assert place.kubectl("apply", "--dry-run=server", "--warnings-as-errors", "-f", write(untested)).returncode == 1


def test_a_rule_that_became_broken_can_be_labelled_and_deleted_but_not_changed(
    place: Place, write: Callable[..., Path], make: SimpleNamespace
) -> None:
    path = f"{WEBHOOKS}/{place.namespace}"
    configuration = place.server.request("GET", path)
    configuration["webhooks"][0]["rules"][0]["operations"] = ["DELETE"]
    place.server.request("PUT", path, configuration)
    # API servers take a moment to see that the configuration changed.
    file = write(make.rule(alerts=2))
    until(lambda: place.kubectl("apply", "-f", file).returncode == 0, seconds=30, what="the broken rule", pause=0.2)
    configuration = place.server.request("GET", path)
    configuration["webhooks"][0]["rules"][0]["operations"] = ["CREATE", "UPDATE", "DELETE"]
    place.server.request("PUT", path, configuration)
    change = ("patch", "alertrule", "web", "--type=merge", "--dry-run=server", "-p", '{"spec": {"owner": "x"}}')
    until(lambda: place.kubectl(*change).returncode == 1, seconds=30, what="the webhook", pause=0.2)
    assert "raised 1 alert, expected 2" in place.kubectl(*change).stderr
    assert place.kubectl("label", "alertrule", "web", "team=blue").returncode == 0
    assert place.kubectl("delete", "alertrule", "web").returncode == 0


def test_a_renewed_certificate_is_taken_up_without_a_restart(
    place: Place, write: Callable[..., Path], make: SimpleNamespace
) -> None:
    for _ in range(3):
        place.renew()
        until(place.answers, seconds=30, what="the new certificate", pause=0.1)
    assert place.kubectl("apply", "--dry-run=server", "-f", write(make.rule())).returncode == 0


HTTP = {"http": {"tokenSecretRef": {"name": "t", "key": "k"}}}
SOURCE = {"input": HTTP, "format": "json", "dataset": "x"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("AlertRule", {"search": {"query": "*", "condition": {"count": {"gte": 1}}}}, "severity is needed"),
    ("AlertRule", {"severity": "low", "search": {"query": "*", "condition": {}}}, "at least one of count, distinct"),
    (
        "AlertRule",
        {"severity": "low", "search": {"query": "*", "condition": {"count": {}}}},
        "at least one of gt, gte, lt, lte, eq, neq is needed",
    ),
    ("AlertRule", {"severity": "low"}, "exactly one of sigma, search, absence"),
    ("Incident", {"title": "x", "phase": "Closed"}, "a closed incident needs a disposition"),
    ("Incident", {"title": "x", "duplicateOf": "y"}, "duplicateOf belongs to the disposition duplicate"),
    ("LogSource", {**SOURCE, "logsource": {}}, "at least one of product, category, service"),
    ("LogSource", {**SOURCE, "mapping": [{"from": "a"}]}, "from and to belong together"),
    (
        "LogSource",
        {**SOURCE, "workers": {"minReplicas": 3, "maxReplicas": 2}},
        r"minReplicas( 3)? exceeds maxReplicas",
    ),
    ("LogSource", {**SOURCE, "input": {**HTTP, "amqp": {}}}, "exactly one of http, amqp"),
]


@pytest.mark.parametrize(("kind", "spec", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_the_api_server_and_the_webhook_say_the_same_of_one_mistake(
    place: Place, make: SimpleNamespace, kind: str, spec: dict[str, Any], message: str
) -> None:
    """The definitions' own rules come first; who reads their message must not learn another one from `vedette test`."""
    manifest = make.obj(kind, spec, namespace=place.namespace)
    assert any(re.search(message, problem.message) for problem in judge(manifest).problems)
    with pytest.raises(RequestError, match=message) as refused:
        place.server.request("POST", f"{place.path(kind.lower() + 's')}?dryRun=All", manifest)
    assert "webhook" not in str(refused.value)
