"""The webhook as a process with real TLS, and the reviews that an API server would send."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.helpers import until
from tests.servers.pki import Authority

from vedette_operator.certificates import CERTIFICATE, KEY

API = "vedette.dev/v1alpha1"
SIGMA = """
title: SSH failure
logsource: {product: linux, service: auth}
detection: {sel: {event.action: ssh_login}, condition: sel}
"""
_SERVE = """
import sys
from pathlib import Path
from vedette_operator.admission.server import serve
import logging
logging.basicConfig(level=logging.INFO)
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), seconds=30.0, every=0.05)
"""


def rule(sigma: str = SIGMA, alerts: int = 1, **spec: Any) -> dict[str, Any]:
    tests = [
        {
            "name": "it fires",
            "timeline": [{"event": {"event.action": "ssh_login"}}],
            "expect": {"alerts": alerts},
        }
    ]
    return obj("AlertRule", {"severity": "high", "sigma": sigma, "tests": tests, **spec})


def obj(kind: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", **metadata},
        "spec": dict(spec),
    }


def endless_rule() -> dict[str, Any]:
    """Valid, small, and some seconds of work: its tests times its documents are half a million matches."""
    documents = "---".join(SIGMA.replace("SSH failure", f"SSH failure {number}") for number in range(100))
    timeline = [{"event": {"a": 1}}] * 120
    tests = [{"name": f"t{number}", "timeline": timeline, "expect": {"alerts": 0}} for number in range(90)]
    return obj("AlertRule", {"sigma": documents, "tests": tests}, name="endless")


def review(
    manifest: Mapping[str, Any],
    operation: str = "CREATE",
    old: Mapping[str, Any] | None = None,
    **request: Any,
) -> dict[str, Any]:
    group, _, version = manifest["apiVersion"].rpartition("/")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": {"group": group, "version": version, "kind": manifest["kind"]},
            "operation": operation,
            "name": manifest["metadata"].get("name", ""),
            "namespace": manifest["metadata"].get("namespace", ""),
            "object": None if operation == "DELETE" else manifest,
            "oldObject": old,
            "dryRun": False,
            **request,
        },
    }


class Webhook:
    """A running webhook."""

    def __init__(self, folder: Path, port: int, authority: Path, log: Path) -> None:
        self.folder = folder
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self.log = log
        self._output = log.open("wb")
        self.process = subprocess.Popen([sys.executable, "-c", _SERVE, str(folder), str(port)], stderr=self._output)
        self.context = ssl.create_default_context(cafile=str(authority))
        self.client = httpx.Client(base_url=self.url, verify=self.context, timeout=90, trust_env=False)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def ask(
        self, manifest: Mapping[str, Any], operation: str = "CREATE", patience: int = 60, **more: Any
    ) -> dict[str, Any]:
        """The response to a review of this object, for an API server that waits for so many seconds."""
        question = review(manifest, operation, **more)
        answer = self.client.post(f"/validate?timeout={patience}s", content=json.dumps(question))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: dict[str, Any] = body["response"]
        assert response["uid"] == question["request"]["uid"]
        return response

    def stop(self) -> int:
        self.client.close()
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self._output.close()
        return code


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def install(authority: Authority, folder: Path, name: str = "webhook") -> None:
    """The Secret's files as a kubelet mounts them: a new folder, and one link that is turned to it."""
    identity = authority.server(name, "127.0.0.1", "localhost")
    version = folder / f"..{name}"
    version.mkdir(parents=True)
    (version / "tls.crt").write_bytes(identity.certificate.read_bytes())
    (version / "tls.key").write_bytes(identity.key.read_bytes())
    turn = folder / "..data_tmp"
    turn.symlink_to(version.name)
    turn.rename(folder / "..data")
    for file in ("tls.crt", "tls.key"):
        if not (folder / file).is_symlink():
            (folder / file).symlink_to(f"..data/{file}")


@pytest.fixture
def run(tmp_path: Path, authority: Authority, free_port: int) -> Iterator[Callable[[], Webhook]]:
    """Starts a webhook on an empty folder `tmp_path/cert`."""
    started: list[Webhook] = []
    (tmp_path / "cert").mkdir()

    def start() -> Webhook:
        started.append(Webhook(tmp_path / "cert", free_port, authority.certificate, tmp_path / "log"))
        return started[-1]

    yield start
    for webhook in started:
        webhook.stop()


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Webhook]:
    """One for all tests that only ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = tmp_path_factory.mktemp("webhook")
    (root / "cert").mkdir()
    install(authority, root / "cert", "shared")
    webhook = Webhook(root / "cert", port, authority.certificate, root / "log")
    until(webhook.ready, seconds=60, what="the webhook")
    yield webhook
    webhook.stop()


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """What tests write: `rule`, `obj`, `endless_rule`, `review`, `install`."""
    return SimpleNamespace(rule=rule, obj=obj, endless_rule=endless_rule, review=review, install=install, sigma=SIGMA)


@pytest.fixture
def shake(tmp_path: Path) -> Callable[..., str]:
    """A handshake between a server with this data and a client that trusts the bundle; "" or why it failed."""

    def run(data: Mapping[str, bytes], bundle: bytes, host: str) -> str:
        for name in (CERTIFICATE, KEY):
            (tmp_path / name).write_bytes(data[name])
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
        client_context = ssl.create_default_context(cadata=bundle.decode())
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        done: set[ssl.SSLObject] = set()
        while len(done) < 2:
            for side in (client, server):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLError as error:
                    return str(error)
        return ""

    return run
