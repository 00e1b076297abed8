"""A real chromium on a real server with a real embedded store; tests put events and alerts in by the protocol."""

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Request
from tests.helpers import until

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import Alert, DeadLetter, Heartbeat, NewEvent
from vedette_crds.problems import Problem
from vedette_webui.app import Server, create_app
from vedette_webui.auth import Authenticator
from vedette_webui.settings import Account, Settings

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / ".cache" / "screenshots"
SIGMA = """title: Encoded PowerShell command
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\\powershell.exe', CommandLine|contains: ' -enc'}
  condition: selection
level: high
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


class Site:
    """The running web UI and what it reads. `url` has no slash at its end."""

    def __init__(
        self, folder: Path, port: int, assets: Path, auth: Callable[[Settings], Authenticator] | None = None
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.writer = open_store(folder / "ns" / "shop", writer=True)
        self.reader = open_store(folder / "ns" / "shop", writer=False)
        self.cluster = LocalCluster(folder / "cluster.db")
        accounts = [
            Account(user, role, hashlib.sha256(user.encode()).hexdigest())
            for user, role in (("ana", "engineer"), ("bo", "responder"), ("vic", "viewer"))
        ]
        settings = Settings(accounts, public_url=self.url, version="0.1.0", build="test", assets=assets)
        problem = Problem("duplicate key", object="AlertRule shop/x", path="spec.sigma", file="rules/x.yaml", line=17)
        app = create_app(
            settings,
            lambda _: self.reader,
            self.cluster,
            replay=lambda _, ids: len(ids),
            problems=lambda: [problem],
            auth=None if auth is None else auth(settings),
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=3)
        self.server = Server(config, app.state.live)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._fill()

    def start(self) -> None:
        self._thread.start()
        until(lambda: self.server.started, seconds=20, what="the server")

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive(), "the server did not stop"
        for opened in (self.reader, self.writer, self.cluster):
            opened.close()

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": "shop"}
        manifest = {"apiVersion": "vedette.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        self.cluster.create(manifest, manager="test")

    def alert(self, name: str, *, minutes: float = 0, **changes: Any) -> Alert:
        """An alert that happened so many minutes ago."""
        now = int((time.time() - minutes * 60) * 1000)
        document = {
            "@timestamp": "2026-11-18T10:00:00.000Z",
            "event.action": "ssh_login",
            "host.name": "web1",
            "user.name": "root",
            "source.ip": "192.0.2.7",
            "message": "Accepted password for root from 192.0.2.7 port 4711 ssh2",
            "vedette.other": {"syslog.pri": "86"},
        }
        network = "is in '192.0.2.0/24'"
        atom = {"kind": "atom", "held": True, "field": "source.ip", "expected": network, "actual": ["192.0.2.7"]}
        absent = {"kind": "atom", "held": False, "field": "user.domain", "expected": "is 'CORP'", "why": "field absent"}
        explanation = {
            "kind": "and",
            "held": True,
            "parts": [
                {"kind": "selection", "name": "selection", "held": True, "parts": [atom]},
                {
                    "kind": "not",
                    "held": True,
                    "parts": [{"kind": "selection", "name": "filter_admins", "held": False, "parts": [absent]}],
                },
            ],
        }
        detection = {
            "owner": "soc@shop.example",
            "runbook": "https://runbooks.shop.example/ssh",
            "tags": ["attack.t1110.001", "attack.credential-access"],
            "explanation": explanation,
        }
        fields: dict[str, Any] = {
            "id": name,
            "time": now,
            "raised": now,
            "rule": "ssh-root",
            "severity": "high",
            "title": "Root login by password",
            "summary": f"192.0.2.7 logged in to {name} as root",
            "body": {"detection": detection, "events": [{"id": "e" * 32, "time": now, "document": document}]},
        }
        alert = Alert(**{**fields, **changes})
        self.writer.create_alerts([alert])
        return alert

    def _fill(self) -> None:
        now = int(time.time() * 1000)
        self.apply("LogSource", "web-auth", {"description": "sshd of the web servers", "dataset": "system.auth"})
        self.apply("AlertRule", "encoded-ps", {"sigma": SIGMA, "owner": "soc@shop.example", "severity": "high"})
        for number, severity in enumerate(("critical", "high", "medium", "low", "informational") * 4):
            self.alert(f"host-{number:02d}", minutes=number * 7 + 3, severity=severity)
        documents = [
            {
                "event.action": "ssh_login",
                "event.outcome": ("failure", "success")[number % 2],
                "host.name": f"web{number % 3}",
                "user.name": ("root", "ana")[number % 2],
                "source.ip": f"192.0.2.{number}",
                "message": f"Failed password for root from 192.0.2.{number}",
                "vedette.other": {"syslog.pri": "86"},
            }
            for number in range(120)
        ]
        self.writer.create_events(
            "30d",
            [NewEvent(f"{n:032x}", now - n * 60_000, now - n * 60_000, f"h{n}", d) for n, d in enumerate(documents)],
        )
        self.writer.put_dead_letters(
            [DeadLetter(f"d{n}", now - n, "web-auth", "Malformed", "not JSON", b'{"a":\xff', {}) for n in range(3)]
        )
        figures = {"events": 120, "rate": 3.5, "lag_ms": 12, "last_event": now, "last_ingested": now}
        body = {"role": "pipeline", "counters": {"events": 120}, "sources": {"web-auth": figures}}
        self.writer.put_heartbeat(Heartbeat("pipeline-shop", "1", now, body))


@pytest.fixture(scope="session")
def assets() -> Path:
    """The built front end."""
    subprocess.run([ROOT / "scripts" / "assets"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return ROOT / "webui" / "vedette_webui" / "static" / "dist"


@pytest.fixture
def auth() -> Callable[[Settings], Authenticator] | None:
    """Who may sign in: the accounts above, unless a file of tests says something else."""
    return None


@pytest.fixture
def site(
    tmp_path: Path, free_port: int, assets: Path, auth: Callable[[Settings], Authenticator] | None
) -> Iterator[Site]:
    running = Site(tmp_path, free_port, assets, auth)
    running.start()
    yield running
    running.stop()


Visit = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Visit]:
    """Opens a page as somebody; whatever the browser complains about fails the test at its end."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def foreign(sent: Request) -> None:
        if not sent.url.startswith((site.url, "data:")):
            complaints.append(f"a request left the origin: {sent.url}")

    def opened(path: str = "/alerts", *, user: str = "ana", quiet: bool = True, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = chromium.new_context(base_url=site.url, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        if quiet:
            page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("request", foreign)
        page.goto(f"/?token={user}")
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
