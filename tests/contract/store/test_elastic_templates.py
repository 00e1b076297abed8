"""Templates and namespaces in Elasticsearch: what the operator makes, mends and removes."""

from __future__ import annotations

import urllib.error
from dataclasses import replace
from typing import Any

import pytest
from tests.servers.elasticsearch import Elasticsearch

from vedette_backends.errors import RefusedError
from vedette_backends.store import elastic_admin
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elastic_mapping import COMPONENT
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    Outcome,
    Store,
    TimeRange,
)
from vedette_engine.query.tree import MatchAll

T0 = 1_795_348_800_000
ALL, ALWAYS = MatchAll(), TimeRange()
DAY = "2026.11.22"


@pytest.fixture(name="store")
def elasticsearch_store(connection: Connection, namespace: str) -> Store:
    return connection.store(namespace)


def test_templates_are_written_once_and_again_only_when_they_differ(
    admin: ElasticsearchAdmin, server: Elasticsearch, own_namespace: str
) -> None:
    assert len(admin.templates_ready(own_namespace, ["30d"])) >= 6
    admin.ensure_templates(own_namespace, ["30d"])
    assert admin.templates_ready(own_namespace, ["30d"]) == []
    asked: list[str] = []
    call = admin._api.call

    class Watched:
        def call(self, method: str, target: str, body: bytes | None = None, **options: Any) -> Any:
            asked.append(method)
            return call(method, target, body, **options)

    admin._api = Watched()
    try:
        admin.ensure_templates(own_namespace, ["30d"])
        assert set(asked) == {"GET"}
        server.ask("DELETE", f"/_index_template/vedette-alerts.{own_namespace}")
        assert admin.templates_ready(own_namespace, ["30d"]) == [f"_index_template/vedette-alerts.{own_namespace}"]
        admin.ensure_templates(own_namespace, ["30d"])
    finally:
        admin._api = admin._connection
    assert admin.templates_ready(own_namespace, ["30d"]) == []
    assert own_namespace in admin.namespaces()


def test_without_a_template_no_event_is_stored_and_the_operator_mends_it(
    admin: ElasticsearchAdmin, connection: Connection, own_namespace: str, make_event: Any
) -> None:
    store = connection.store(own_namespace)
    for _ in range(2):
        with pytest.raises(RefusedError, match="template"):
            store.create_events("30d", [make_event(1)])
    admin.ensure_templates(own_namespace, ["30d"])
    assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.CREATED


def test_an_index_that_exists_takes_up_new_fields(
    admin: ElasticsearchAdmin, server: Elasticsearch, own_namespace: str, connection: Connection, make_event: Any
) -> None:
    admin.ensure_templates(own_namespace, ["30d"])
    connection.store(own_namespace).create_events("30d", [make_event(1)])
    index = f"vedette-events.{own_namespace}.30d.{DAY}"
    server.ask("PUT", f"/{index}/_mapping", {"_meta": {"managed_by": "vedette", "hash": "older"}})
    admin.ensure_templates(own_namespace, ["30d"])
    kept = server.ask("GET", f"/{index}/_mapping")[index]["mappings"]["_meta"]
    assert (
        kept["hash"]
        == server.ask("GET", f"/_component_template/{COMPONENT}")["component_templates"][0]["component_template"][
            "template"
        ]["mappings"]["_meta"]["hash"]
    )


def test_a_namespace_that_is_dropped_leaves_nothing_and_its_neighbour_everything(
    admin: ElasticsearchAdmin,
    server: Elasticsearch,
    connection: Connection,
    own_namespace: str,
    make_event: Any,
    make_alert: Any,
) -> None:
    neighbour = own_namespace + "-eu"
    keys = {}
    for name in (own_namespace, neighbour):
        admin.ensure_templates(name, ["30d"])
        keys[name] = admin.ensure_key(f"worker-{name}", "worker", [name], "")
        store = connection.store(name)
        store.create_events("30d", [make_event(1)])
        store.create_alerts([make_alert(1)])
    admin.drop_namespace(own_namespace)
    admin.drop_namespace(own_namespace)
    try:
        assert own_namespace not in admin.namespaces()
        with pytest.raises(urllib.error.HTTPError):
            server.ask("GET", f"/_index_template/vedette-alerts.{own_namespace}")
        assert connection.store(own_namespace).days() == []
        assert connection.store(neighbour).count_events(ALL, ALWAYS) == 1
        assert admin.templates_ready(neighbour, ["30d"]) == []
        counts = {name: len(admin._keys(f"worker-{name}")) for name in keys}
        assert counts == {own_namespace: 0, neighbour: 1}
    finally:
        admin.drop_namespace(neighbour)


def test_the_events_and_dead_letters_of_one_source_are_removed(
    admin: ElasticsearchAdmin,
    store: Store,
    namespace: str,
    make_event: Any,
    monkeypatch: pytest.MonkeyPatch,
    make_letter: Any,
) -> None:
    monkeypatch.setattr(elastic_admin, "SOURCE", "event.dataset")
    monkeypatch.setattr(elastic_admin, "_DELETE_AT_ONCE", 3)
    events = [
        make_event(n, {"event.dataset": "web" if n % 2 else "db"}, ingested=T0 - n * 40_000_000) for n in range(9)
    ]
    store.create_events("30d", events)
    store.put_dead_letters([*(make_letter(n) for n in range(5)), replace(make_letter(9), source="db")])
    admin.delete_source_events(namespace, "web")
    assert store.top_values(ALL, ALWAYS, "event.dataset") == [("db", 5)]
    assert [one.source for one in store.search_dead_letters()[0]] == ["db"]
