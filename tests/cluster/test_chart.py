"""The chart's life on a real cluster: installed, upgraded from the version before, and gone without a trace.

On a node of its own: two releases in one cluster would watch the same objects.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.fixtures import Session
from tests.cluster.node import CommandError, Node
from tests.cluster.servers import Backends
from tests.helpers import until

ROOT = Path(__file__).resolve().parents[2]
CHART = "charts/vedette"
RELEASE, SYSTEM, TENANT = "trial", "trial-system", "trial-shop"
DEFINITIONS = {f"{kind}.vedette.dev" for kind in ("alertrules", "enrichments", "incidents", "logsources")}
NAMESPACED = (
    "deployments,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,"
    "poddisruptionbudgets,jobs,leases"
)
CLUSTER_WIDE = (
    "clusterroles,clusterrolebindings,validatingwebhookconfigurations,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings"
)
SOURCE = f"""
apiVersion: v1
kind: Secret
metadata: {{name: web-token, namespace: {TENANT}}}
stringData: {{token: chart-test-token-0123456789}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: web, namespace: {TENANT}}}
spec:
  input: {{http: {{tokenSecretRef: {{name: web-token, key: token}}}}}}
  dataset: web.access
  logsource: {{product: linux, service: auth}}
"""
BROKEN_RULE = f"""
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: broken, namespace: {TENANT}}}
spec:
  sigma: |
    title: broken
    logsource: {{product: linux, service: auth}}
    detection: {{login: {{user.name: root}}, condition: logon}}
    level: low
"""


@dataclass(frozen=True)
class Trial:
    """A node with a release that is installed step by step."""

    node: Node
    values: Path

    def helm(self, verb: str, *arguments: str) -> str:
        """Run helm; when it fails, say what the release looks like, since the node is gone when somebody reads it."""
        try:
            return self.node.helm(verb, RELEASE, *arguments, "--namespace", SYSTEM, "--timeout", "240s", timeout=300)
        except CommandError as error:
            pods = self.node.kubectl("get", "pods,events", "-n", SYSTEM)
            logs = self.node.kubectl("logs", "-n", SYSTEM, f"deployment/{RELEASE}-operator", "--tail=30")
            pytest.fail(f"{error}\n{pods}\n{logs}")

    def get(self, *what: str) -> list[dict[str, Any]]:
        """Objects as `kubectl get` finds them."""
        items: list[dict[str, Any]] = json.loads(self.node.kubectl("get", *what, "-o", "json"))["items"]
        return items

    def authority(self) -> str:
        """What the API server trusts the webhook by."""
        (found,) = self.get("validatingwebhookconfigurations", "-l", f"app.kubernetes.io/instance={RELEASE}")
        return str(found["webhooks"][0]["clientConfig"].get("caBundle", ""))


@pytest.fixture(scope="module")
def trial(cluster_session: Session, backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("chart")
    values = folder / "values.yaml"
    settings = {
        "image": {"repository": "localhost/vedette", "tag": "dev", "pullPolicy": "Never"},
        "backends": {"existingSecret": "servers"},
        "tenants": [{"name": TENANT, "create": True}],
    }
    values.write_text(yaml.safe_dump(settings))
    with Node(folder / "node", images=[cluster_session.begin_image()()]) as node:
        node.kubectl("create", "namespace", SYSTEM)
        node.apply(backends.secret("servers", SYSTEM))
        yield Trial(node, values)


@pytest.fixture(scope="module")
def chart_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of the newest commit in which it was another one; today's where there is none."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout

    for commit in git("log", "--format=%H", "--max-count=50", "--", CHART).decode().split():
        if (
            git("ls-tree", commit, CHART)
            and subprocess.run(["git", "diff", "--quiet", commit, "--", CHART], cwd=ROOT, check=False).returncode
        ):
            folder = tmp_path_factory.mktemp("before")
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit, CHART))) as archive:
                archive.extractall(folder, filter="data")
            return folder / CHART
    return ROOT / CHART


@pytest.mark.timeout(1500)  # four waits of helm, each up to four minutes on a busy machine
def test_a_release_comes_is_upgraded_and_goes_without_a_trace(trial: Trial, chart_before: Path) -> None:
    node, values = trial.node, ("--values", str(trial.values))

    # the version before
    trial.helm("install", str(chart_before), *values, "--wait")
    until(trial.authority, seconds=60, what="the operator's authority in the webhook")
    authority = trial.authority()

    # today's
    trial.helm("upgrade", str(ROOT / CHART), *values, "--set", "gateway.replicas=2", "--wait")
    assert trial.authority() == authority
    pods = trial.get("pods", "-n", SYSTEM, "-l", f"app.kubernetes.io/instance={RELEASE}")
    running = sorted(pod["metadata"]["labels"]["vedette.dev/component"] for pod in pods if "deletion" not in str(pod))
    assert set(running) == {"gateway", "librarian", "operator", "web", "webhook"}
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in pods} == {65532}
    assert node.kubectl("get", "poddisruptionbudget", f"{RELEASE}-gateway", "-n", SYSTEM)

    # it works: the operator makes what a source needs, the webhook refuses what is wrong
    node.kubectl("apply", "--server-side", "-f", "-", stdin=SOURCE)
    node.kubectl("wait", "--for=condition=Ready", "logsource/web", "-n", TENANT, "--timeout=120s", timeout=140)
    assert trial.get("deployments", "-n", TENANT)
    with pytest.raises(CommandError, match="logon"):
        node.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=BROKEN_RULE)

    # the end
    trial.helm("uninstall", "--wait")
    gone_from(trial)
    (source,) = trial.get("logsources", "-n", TENANT)
    assert "finalizers" not in source["metadata"]
    assert {item["metadata"]["name"] for item in trial.get("crd")} >= DEFINITIONS

    # what was kept can be deleted with nobody there to help, and is taken over by the next release
    node.kubectl("delete", "logsource", "web", "-n", TENANT, "--timeout=20s")
    trial.helm("install", str(ROOT / CHART), *values, "--wait")
    node.kubectl("delete", "namespace", TENANT, "--timeout=60s", timeout=80)


def gone_from(trial: Trial) -> None:
    """Nothing of the release or its operator is left in either namespace, except what the user made."""

    def left() -> list[str]:
        return [
            f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}"
            for namespace in (SYSTEM, TENANT)
            for item in trial.get(NAMESPACED, "-n", namespace)
            if "vedette" in str(item["metadata"].get("labels", {}))
        ]

    try:
        until(lambda: not left(), seconds=60, what="everything to be gone", pause=0.5)
    except AssertionError:
        assert left() == []
    assert trial.get(CLUSTER_WIDE, "-l", f"app.kubernetes.io/instance={RELEASE}") == []
