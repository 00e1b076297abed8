"""Alerts, blobs, heartbeats and snapshots in Elasticsearch."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from tests.servers.elasticsearch import Elasticsearch

from vedette_backends.errors import BackendError, NotFoundError, RefusedError
from vedette_backends.store import elastic_blobs
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    Alert,
    AlertFilter,
    Heartbeat,
    Outcome,
    Store,
    TimeRange,
)
from vedette_engine.query.tree import MatchAll

T0 = 1_795_348_800_000
ALL, ALWAYS = MatchAll(), TimeRange()


@pytest.fixture(name="store")
def elasticsearch_store(connection: Connection, namespace: str) -> Store:
    return connection.store(namespace)


def test_the_feed_of_an_index_that_was_made_anew_begins_again(
    store: Store, server: Elasticsearch, connection: Connection, namespace: str, make_alert: Any
) -> None:
    store.create_alerts([make_alert(n) for n in range(5)])
    _, number = store.alert_changes(0)
    server.ask("DELETE", f"/vedette-alerts.{namespace}")
    fresh = connection.store(namespace)
    fresh.create_alerts([make_alert(9)])
    alerts, later = store.alert_changes(number)
    assert [one.id for one in alerts] == ["a9"]
    assert later == store.latest_change() == 1


def test_alerts_keep_bodies_with_any_names(store: Store) -> None:
    body = {
        "": 1,
        ".": {"a..b": [{" ": None}]},
        "text": 1.10,
        "id": "x",
        "big": 2**63,
        "events": [{"document": {"": "y"}}],
    }
    written = Alert("a1", T0, T0, "rule", "high", "t", "s", body)
    store.create_alerts([written])
    assert store.get_alert("a1") == written
    assert list(store.search_alerts(AlertFilter()).alerts) == [written]


def test_a_blob_of_many_pieces_is_whole_or_refused_and_mended_by_writing_it_again(
    store: Store, server: Elasticsearch, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_blobs, "PIECE", 1000)
    data = secrets.token_bytes(5500)
    digest = store.put_blob(data)
    assert store.get_blob(digest) == data
    path = f"/vedette-blobs.{namespace}/_doc/{digest}"
    server.ask("DELETE", f"{path}.3")
    with pytest.raises(RefusedError, match="piece 3"):
        store.get_blob(digest)
    server.ask("PUT", f"{path}.3", {"data": "AAAA"})
    with pytest.raises(RefusedError, match="damaged"):
        store.get_blob(digest)
    assert store.put_blob(data) == digest
    assert store.get_blob(digest) == data


def test_old_heartbeats_and_replaced_blobs_are_pruned_and_what_is_in_use_stays(
    store: Store, admin: ElasticsearchAdmin, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_blobs, "PIECE", 1000)
    assert admin.prune(namespace, T0) == 0
    old, used = store.put_blob(secrets.token_bytes(2500)), store.put_blob(secrets.token_bytes(2500))
    store.set_head("bundle", used)
    store.put_heartbeat(Heartbeat("gone", "i", T0 - 1, {}))
    store.put_heartbeat(Heartbeat("here", "i", T0 + 1, {}))
    assert admin.prune(namespace, T0) == 1  # the blobs are of now
    assert [beat.worker for beat in store.heartbeats()] == ["here"]
    assert admin.prune(namespace, T0 + 1, [old]) == 0
    assert admin.prune(namespace, T0 + 1) == 1
    with pytest.raises(NotFoundError):
        store.get_blob(old)
    assert store.get_blob(store.head("bundle") or "")


def test_a_restored_snapshot_answers_as_the_store_did(
    store: Store, server: Elasticsearch, admin: ElasticsearchAdmin, namespace: str, make_event: Any, make_alert: Any
) -> None:
    store.create_events("30d", [make_event(n) for n in range(20)])
    store.create_alerts([make_alert(1)])
    number = store.latest_change()
    target = server.snapshots / namespace
    store.snapshot(str(target))
    store.create_events("30d", [make_event(99)])
    admin.drop_indices(namespace)
    assert store.count_events(ALL, ALWAYS) == 0
    (repository,) = [
        name for name, told in server.ask("GET", "/_snapshot").items() if told["settings"]["location"] == str(target)
    ]
    (taken,) = server.ask("GET", f"/_snapshot/{repository}/_all")["snapshots"]
    server.ask("POST", f"/_snapshot/{repository}/{taken['snapshot']}/_restore?wait_for_completion=true")
    assert store.count_events(ALL, ALWAYS) == 20
    assert store.get_alert("a1") is not None
    assert store.latest_change() == number
    assert store.create_events("30d", [make_event(3)])[0].outcome is Outcome.DUPLICATE
    server.ask("DELETE", f"/_snapshot/{repository}/{taken['snapshot']}")
    server.ask("DELETE", f"/_snapshot/{repository}")


def test_a_repository_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError):
        store.snapshot("nobody-made-this")
    with pytest.raises(BackendError):
        store.snapshot("/not/below/what/the/server/allows")
