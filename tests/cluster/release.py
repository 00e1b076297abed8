"""A release on the test cluster, installed by helm as a user does it. A plugin: the tests of several files share it."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import until

if TYPE_CHECKING:
    # Every test session loads this plugin; those without a cluster need not load all of it.
    from tests.cluster.node import Node
    from tests.cluster.servers import Backends

    from vedette_backends.store.protocol import Alert, Store

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "vedette"
SHOP = Path(__file__).with_name("shop")
NAME = "vedette"
SYSTEM = "vedette-system"
TOKEN = "end-to-end-web-auth-token"


@dataclass
class Answer:
    """Of an HTTP request."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Release:
    """An installed release and its servers."""

    node: Node
    backends: Backends
    values: Path
    tenants: Sequence[str] = ("shop",)
    stores: dict[str, Store] = field(default_factory=dict)

    def service(self, component: str, port: int) -> str:
        """URL of a Service's cluster address, which this machine reaches directly."""
        found = self.node.get(f"/api/v1/namespaces/{SYSTEM}/services/{NAME}-{component}")
        return f"http://{found['spec']['clusterIP']}:{port}"

    def store(self, namespace: str = "shop") -> Store:
        """What is stored, read with the administrator's rights."""
        from vedette_backends.store.elasticsearch import connect  # noqa: PLC0415 # see above

        if namespace not in self.stores:
            self.stores[namespace] = connect(self.backends.elasticsearch.settings).store(namespace)
        return self.stores[namespace]

    def send(self, body: str, *, token: str = TOKEN, path: str = "/events") -> Answer:
        """Lines or JSON to the gateway."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
        return http(self.service("gateway", 8421) + path, body.encode(), headers)

    def count(self, query: str, namespace: str = "shop") -> int:
        """How many stored events fit."""
        from vedette_backends.store.protocol import TimeRange  # noqa: PLC0415 # see above
        from vedette_engine.query.lucene import parse  # noqa: PLC0415 # as above

        return self.store(namespace).count_events(parse(query), TimeRange())

    def alerts(self, rule: str, text: str = "") -> list[Alert]:
        """Alerts of a rule of the shop that hold a text."""
        from vedette_backends.store.protocol import AlertFilter  # noqa: PLC0415 # see above

        return list(self.store().search_alerts(AlertFilter(rules=(rule,), text=text), size=100).alerts)

    def apply(self, text: str) -> str:
        """`kubectl apply --server-side`."""
        return self.node.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str = "shop") -> dict[str, Any]:
        """An object as it is now."""
        found: dict[str, Any] = json.loads(self.node.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def condition(self, kind: str, name: str, condition: str, namespace: str = "shop") -> dict[str, Any]:
        """One condition; {} while it is not there."""
        conditions = self.get(kind, name, namespace).get("status", {}).get("conditions", ())
        return next((one for one in conditions if one["type"] == condition), {})

    def wait_ready(self, *what: str, namespace: str = "shop", seconds: int = 90) -> None:
        """`kubectl wait --for=condition=Ready`."""
        self.node.kubectl(
            "wait", "--for=condition=Ready", "-n", namespace, f"--timeout={seconds}s", *what, timeout=seconds + 20
        )

    def pods(self, namespace: str, labels: str = "") -> list[dict[str, Any]]:
        """Pods, by labels."""
        found = self.node.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={labels}")
        return list(found["items"])

    def helm(self, *arguments: str) -> str:
        """helm, on this release's namespace."""
        return self.node.helm(*arguments, "--namespace", SYSTEM, timeout=400)


def sshd(user: str, source: str, *, outcome: str = "Failed", host: str = "web1", when: float | None = None) -> str:
    """A line of sshd; `when` in seconds since the epoch, now where it is None."""
    stamp = time.strftime("%b %d %H:%M:%S", time.gmtime(when))
    return f"{stamp} {host} sshd[4711]: {outcome} password for {user} from {source} port 4711 ssh2"


def http(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request; every answer is an answer, and none within ten seconds is status 0."""
    request = urllib.request.Request(url, data=body, headers=headers or {})
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context())]
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=10) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read())
    except OSError:
        return Answer(0, b"")


def values(tenants: Sequence[str]) -> dict[str, Any]:
    """What a user of this cluster writes into values.yaml."""
    return {
        "image": {"repository": "localhost/vedette", "tag": "dev", "pullPolicy": "Never"},
        "tenants": [{"name": name, "create": True} for name in tenants],
        "backends": {"existingSecret": "servers"},
    }


@pytest.fixture(scope="session")
def release(node: Node, image: str, backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Vedette, installed for the namespaces `shop` and `bench`."""
    assert image
    tenants = ("shop", "bench")
    node.kubectl("create", "namespace", SYSTEM)
    node.apply(backends.secret("servers", SYSTEM))
    file = tmp_path_factory.mktemp("release") / "values.json"
    file.write_text(json.dumps(values(tenants)))
    made = Release(node, backends, file, tenants)
    made.helm("install", NAME, str(CHART), "--values", str(file), "--wait", "--timeout", "240s")
    yield made
    for store in made.stores.values():
        store.close()


@pytest.fixture(scope="session")
def shop(release: Release) -> Release:
    """The release, with the shop's manifests applied and ready."""
    release.node.kubectl("apply", "--server-side", "-f", str(SHOP))
    rules = ("alertrule/decoy-account", "alertrule/root-login", "alertrule/many-names")
    release.wait_ready("logsource/web-auth", "enrichment/owners", *rules)
    until(lambda: release.send("").status in {200, 202, 204, 400}, seconds=30, what="the gateway to know the token")
    return release
