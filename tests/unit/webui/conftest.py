"""A web UI on a real embedded store and cluster, with a small assets folder, so that no test needs npm."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Alert, NewEvent
from vedette_crds.problems import Problem
from vedette_webui.app import create_app
from vedette_webui.settings import Account, Settings

ADDRESS = "http://127.0.0.1:8420"
NOW = 1_795_000_000_000


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Browser:
    """A synchronous client of the application that keeps its cookies and follows no redirects."""

    def __init__(self, app: ASGIApp, portal: BlockingPortal) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=ADDRESS)
        self._portal = portal

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self._portal.call(partial(self._client.get, path, **arguments))

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self._portal.call(partial(self._client.post, path, **arguments))


class World:
    """One namespace `shop` with its store, and the application on it."""

    def __init__(self, folder: Path, portal: BlockingPortal) -> None:
        self._portal = portal
        assets = folder / "assets"
        assets.mkdir()
        names = {name: f"{name}.hash" for name in ("app.js", "app.css", "icon.svg")}
        for name in names.values():
            (assets / name).write_text("/* */")
        (assets / "manifest.json").write_text(json.dumps(names))
        self.settings = Settings(
            accounts=[
                Account("ana", "engineer", sha256("ana-token")),
                Account("bo", "responder", sha256("bo-token")),
                Account("vic", "viewer", sha256("vic-token")),
            ],
            session_key=b"k" * 32,
            assets=assets,
        )
        self.cluster = LocalCluster(folder / "cluster.db")
        self.store: EmbeddedStore = open_store(folder / "ns" / "shop", writer=True)
        self.replayed: list[str] = []
        self.problems: list[Problem] = []
        self.now = NOW / 1000
        self.apply("LogSource", "web-auth", {"description": "sshd", "dataset": "system.auth", "format": "json"})
        self.app = create_app(
            self.settings,
            {"shop": self.store}.__getitem__,
            self.cluster,
            replay=self._replay,
            problems=lambda: self.problems,
            clock=lambda: self.now,
        )

    def _replay(self, namespace: str, ids: Any) -> int:
        assert namespace == "shop"
        self.replayed += ids
        return len(ids)

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        manifest = {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        }
        self.cluster.create(manifest, manager="test")

    def visitor(self, token: str | None = None) -> Browser:
        """A browser; signed in when a token is given."""
        client = Browser(self.app, self._portal)
        if token:
            assert client.get("/", params={"token": token}).status_code == 303
        return client

    def alert(self, number: int = 1, **changes: Any) -> Alert:
        fields: dict[str, Any] = {
            "id": f"alert-{number}",
            "time": NOW - number * 60_000,
            "raised": NOW - number * 60_000 + 500,
            "rule": "ssh-guessing",
            "severity": "high",
            "title": "SSH guessing",
            "summary": f"192.0.2.{number} guessed its way into web1 as root",
            "body": {"detection": {}, "events": []},
        }
        alert = Alert(**{**fields, **changes})
        self.store.create_alerts([alert])
        return alert

    def events(self, documents: dict[int, dict[str, Any]]) -> None:
        """Store events under their numbers, each a second older than the one before."""
        made = [
            NewEvent(f"{number:032x}", NOW - number * 1000, NOW - number * 1000, f"hash-{number}", document)
            for number, document in documents.items()
        ]
        self.store.create_events("30d", made)

    def close(self) -> None:
        self.store.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture
def world(tmp_path: Path, portal: BlockingPortal) -> Iterator[World]:
    made = World(tmp_path, portal)
    yield made
    made.close()


@pytest.fixture
def ana(world: World) -> Browser:
    return world.visitor("ana-token")


@pytest.fixture
def post() -> Callable[..., Any]:
    """Send a form as its page would: with the CSRF token of the session."""

    def send(client: Browser, path: str, data: dict[str, Any], **headers: str) -> Any:
        page = client.get("/alerts").text
        token = page.split('<meta name="csrf" content="')[1].split('"')[0]
        return client.post(path, data={"csrf": token, **data}, headers={"origin": ADDRESS, **headers})

    return send
