"""One store per backend: whatever passes as `store` here has to pass every test in this folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.elasticsearch import Elasticsearch, shared

from vedette_backends.store import elasticsearch, embedded
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import NewEvent, Store

T0 = 1_795_348_800_000
"""2026-11-22T12:00:00Z: no test depends on the clock of the machine."""

BACKENDS = ["embedded", "elasticsearch"]

MakeEvent = Callable[..., NewEvent]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Elasticsearch:
    """The Elasticsearch of this test session."""
    root = tmp_path_factory.getbasetemp()
    return shared((root if worker_id == "master" else root.parent) / "servers")


@pytest.fixture(scope="session")
def admin(server: Elasticsearch) -> Iterator[ElasticsearchAdmin]:
    admin = ElasticsearchAdmin(server.settings)
    yield admin
    admin.close()


@pytest.fixture(scope="session")
def connection(server: Elasticsearch) -> Iterator[Connection]:
    """The administrator's; the keys of the parts have tests of their own."""
    connection = elasticsearch.connect(server.settings, clock=lambda: T0)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def templates(admin: ElasticsearchAdmin) -> Iterator[str]:
    """A namespace with templates: they are what takes long to make."""
    name = "t" + secrets.token_hex(6)
    admin.ensure_templates(name, ["30d", "7d"])
    yield name
    admin.drop_namespace(name)


@pytest.fixture
def namespace(admin: ElasticsearchAdmin, templates: str) -> Iterator[str]:
    """One with templates, and nothing else yet."""
    yield templates
    admin.drop_indices(templates)


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store that creates events."""
    opened: Store
    if request.param == "embedded":
        opened = embedded.open_store(tmp_path / "ns" / "shop", writer=True, clock=lambda: T0)
    else:
        opened = request.getfixturevalue("connection").store(request.getfixturevalue("namespace"))
    yield opened
    opened.close()


@pytest.fixture
def make_event() -> MakeEvent:
    """Builds an event from a number: its id, and, unless given, seconds after T0."""

    def make(number: int, document: dict[str, Any] | None = None, **changes: Any) -> NewEvent:
        time = changes.pop("time", T0 + number * 1000)
        values: dict[str, Any] = {
            "id": f"{number:032x}",
            "ingested": time,
            "time": time,
            "hash": f"hash of {number}",
            "document": document if document is not None else {"event.dataset": "test"},
        }
        return NewEvent(**{**values, **changes})

    return make
