"""The connection to Elasticsearch: who shares it, whom it trusts, and servers that fail."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import until
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.pki import Authority

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.settings import ElasticsearchSettings
from vedette_backends.store import elasticsearch
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    Outcome,
    Store,
    TimeRange,
)
from vedette_engine.query.tree import MatchAll, Term

ALL, ALWAYS = MatchAll(), TimeRange()


@pytest.fixture(name="store")
def elasticsearch_store(connection: Connection, namespace: str) -> Store:
    return connection.store(namespace)


def test_stores_share_a_connection_and_closing_one_closes_it_only(
    connection: Connection, namespace: str, make_event: Any
) -> None:
    one, other = connection.store(namespace), connection.store(namespace)
    one.close()
    with pytest.raises(RefusedError, match="closed"):
        one.create_events("30d", [make_event(1)])
    assert other.create_events("30d", [make_event(1)])[0].outcome is Outcome.CREATED


def test_a_store_of_its_own_closes_its_connection(server: Elasticsearch, namespace: str) -> None:
    store = elasticsearch.open_store(server.settings, namespace)
    assert store.head("bundle") is None
    store.close()
    store.close()
    with pytest.raises(RefusedError):
        store.head("bundle")


def test_a_server_that_nobody_vouches_for_is_refused(server: Elasticsearch, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").certificate
    store = elasticsearch.open_store(
        ElasticsearchSettings((server.url,), other, username="a", password="secret"), "shop"
    )
    with pytest.raises(RefusedError, match="not trusted") as caught:
        store.head("bundle")
    assert "secret" not in str(caught.value)
    store.close()


def test_nobody_at_the_address_is_unavailable(free_port: int) -> None:
    settings = ElasticsearchSettings((f"http://127.0.0.1:{free_port}",), username="a", password="secret")
    store = elasticsearch.open_store(settings, "shop")
    for ask in (lambda: store.head("bundle"), lambda: store.count_events(ALL, ALWAYS), store.latest_change):
        with pytest.raises(UnavailableError) as caught:
            ask()
        assert "secret" not in str(caught.value)
    store.close()


def test_a_server_that_does_not_answer_is_unavailable_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        connection = elasticsearch.connect(ElasticsearchSettings((url,), username="a", password="b"))
        with pytest.raises(UnavailableError, match="did not answer"):
            connection.call("GET", "/", seconds=0.2)
        connection.close()


def test_of_two_nodes_the_one_that_lives_answers(server: Elasticsearch, free_port: int, namespace: str) -> None:
    settings = server.settings
    urls = (f"https://127.0.0.1:{free_port}", server.url)
    store = elasticsearch.open_store(
        ElasticsearchSettings(urls, settings.ca, username=settings.username, password=settings.password), namespace
    )
    for _ in range(4):
        assert store.head("bundle") is None
    store.close()


@pytest.mark.parametrize("url", ["", "localhost:9200", "https://user:secret@host:9200", "ftp://host"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        elasticsearch.connect(ElasticsearchSettings((url,), username="a", password="b"))
    assert "secret" not in str(caught.value)


def test_a_name_that_is_no_namespace_opens_no_store(connection: Connection) -> None:
    with pytest.raises(RefusedError):
        connection.store("shop.30d")


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing_it_acknowledged(tmp_path: Path, make_event: Any) -> None:
    from tests.servers.elasticsearch import start  # noqa: PLC0415 # this one alone needs a server of its own

    server = start(tmp_path / "own", quick=True)
    admin = ElasticsearchAdmin(server.settings)
    admin.ensure_templates("shop", ["30d"])
    store = elasticsearch.open_store(server.settings, "shop")
    acknowledged = 0
    for _ in range(10):
        store.create_events("30d", [make_event(acknowledged + n) for n in range(20)])
        acknowledged += 20
    server.restart(kill=True)
    until(lambda: _answers(store), seconds=60, what="the store to answer")
    assert store.count_events(ALL, ALWAYS) == acknowledged
    again = store.create_events("30d", [make_event(n) for n in range(acknowledged)])
    assert {result.outcome for result in again} == {Outcome.DUPLICATE}
    store.close()
    admin.close()
    server.stop()


def _answers(store: Store) -> bool:
    try:
        store.count_events(Term("host.name", "x"), ALWAYS)
    except UnavailableError:
        return False
    return True
