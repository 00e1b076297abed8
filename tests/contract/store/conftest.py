"""One store per backend: whatever passes as `store` here has to pass every test in this folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.servers.elasticsearch import Elasticsearch, shared

from vedette_backends.store import elasticsearch, embedded
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import Alert, DeadLetter, NewEvent, Store

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
def own_namespace(admin: ElasticsearchAdmin) -> Iterator[str]:
    """One without templates: for tests that make and break them."""
    name = "t" + secrets.token_hex(6)
    yield name
    admin.drop_namespace(name)


@pytest.fixture
def as_part(
    admin: ElasticsearchAdmin, server: Elasticsearch
) -> Iterator[Callable[[str, list[str]], Callable[[str], Store]]]:
    """`as_part(role, namespaces)` opens stores with a key of that role."""
    opened: list[Connection] = []

    def connect(role: str, namespaces: list[str]) -> Callable[[str], Store]:
        key = admin.ensure_key(f"{role}-{namespaces[-1]}", role, namespaces, "")
        connection = elasticsearch.connect(server.settings_of(key), clock=lambda: T0)
        opened.append(connection)
        return connection.store

    yield connect
    for connection in opened:
        connection.close()


@dataclass
class Clocked:
    """A store, and what its clock says."""

    now: int = T0
    store: Store = field(init=False)

    def clock(self) -> int:
        return self.now


@pytest.fixture(params=BACKENDS)
def clocked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clocked]:
    """An empty store whose clock the test turns."""
    made = Clocked()
    if request.param == "embedded":
        made.store = embedded.open_store(tmp_path / "ns" / "shop", writer=True, clock=made.clock)
    else:
        connection: Connection = request.getfixturevalue("connection")
        made.store = connection.store(request.getfixturevalue("namespace"), clock=made.clock)
    yield made
    made.store.close()


@pytest.fixture(scope="module", params=BACKENDS)
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all examples; each example's documents are told apart by a field of their own."""
    opened: Store
    if request.param == "embedded":
        opened = embedded.open_store(tmp_path_factory.mktemp("equivalence"), writer=True)
        yield opened
        opened.close()
        return
    admin: ElasticsearchAdmin = request.getfixturevalue("admin")
    namespace = "t" + secrets.token_hex(6)
    admin.ensure_templates(namespace, ["7d"])
    opened = request.getfixturevalue("connection").store(namespace)
    yield opened
    opened.close()
    admin.drop_namespace(namespace)


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


@pytest.fixture
def make_alert() -> Callable[[int], Alert]:
    """Builds an alert from a number."""
    return lambda number: Alert(f"a{number}", T0, T0, "rule", "high", "title", "summary", {"events": []})


@pytest.fixture
def make_letter() -> Callable[[int], DeadLetter]:
    """Builds a dead letter from a number."""
    return lambda number: DeadLetter(f"l{number}", T0, "web", "Malformed", "detail", b"raw", {})
