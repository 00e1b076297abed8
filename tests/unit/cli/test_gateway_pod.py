"""The gateway as its pod runs it, with a real RabbitMQ and a real Elasticsearch behind it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.cluster.servers import write_settings
from tests.helpers import until
from tests.servers import elasticsearch, rabbitmq
from tests.servers.process import free_ports

pytestmark = pytest.mark.slow


@pytest.fixture
def status_port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def pod(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, free_port: int, status_port: int) -> Iterator[None]:
    """A gateway that answers on both its ports."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    servers = rabbitmq.shared(root).settings, elasticsearch.shared(root).settings
    folder = write_settings(tmp_path / "backends", *servers)
    where = ["--backends", str(folder), "--system", f"t{secrets.token_hex(5)}", "--host", "127.0.0.1"]
    ports = ["--port", str(free_port), "--status-port", str(status_port)]
    command = [sys.executable, "-m", "vedette_cli", "worker", "gateway", *where, *ports]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        return all(ask(port, "/healthz" if port == free_port else "/livez") == 200 for port in (free_port, status_port))

    try:
        until(answers, seconds=60, what="the gateway")
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def ask(port: int, path: str, **headers: str) -> int:
    """The status of the answer, 0 for none."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False, timeout=10).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.usefixtures("pod")
def test_metrics_name_tenants_and_are_for_no_client(free_port: int, status_port: int) -> None:
    assert ask(free_port, "/metrics") == 401
    for token in ("", "Bearer", "Bearer x", f"Bearer {'0' * 64}"):
        assert ask(free_port, "/metrics", authorization=token) == 401
    assert ask(status_port, "/metrics") == 200
