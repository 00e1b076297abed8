"""What the key of each part may do in Elasticsearch, and what it may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.servers.elasticsearch import Elasticsearch

from vedette_backends.errors import ConflictError, RefusedError
from vedette_backends.store import elastic_admin, elastic_roles, elasticsearch
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    Heartbeat,
    Outcome,
    TimeRange,
)
from vedette_engine.query.tree import And, MatchAll, Range, Term

T0 = 1_795_348_800_000
ALL, ALWAYS = MatchAll(), TimeRange()
DAY = "2026.11.22"


def test_a_worker_does_its_work_and_reaches_no_other_namespace(
    admin: ElasticsearchAdmin,
    connection: Connection,
    namespace: str,
    own_namespace: str,
    as_part: Any,
    make_event: Any,
    make_alert: Any,
    make_letter: Any,
) -> None:
    blob = connection.store(namespace).put_blob(b"bundle")
    connection.store(namespace).set_head("bundle", blob)
    stores = as_part("worker", [namespace])
    store = stores(namespace)
    assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.CREATED
    assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.DUPLICATE
    assert store.count_events(ALL, ALWAYS) == 1
    assert store.create_alerts([make_alert(1)])[0].outcome is Outcome.CREATED
    assert store.update_alert("a1", 1, {"incident": "inc-1"}).version == 2
    assert len(store.alert_changes(0)[0]) == 1
    store.put_dead_letters([make_letter(1)])
    new = And((Term("event.dataset", "test"), Range("vedette.stored", T0, T0)))
    assert [group.values for group in store.groups(new, ALWAYS, ["event.dataset", "x"])[0]] == [("test", None)]
    record = store.put_record("scheduler", "rules", "r", {})
    assert store.put_record("scheduler", "rules", "r", {"checkpoint": T0}, record.version).version == 2
    with pytest.raises(ConflictError):
        store.put_record("scheduler", "rules", "r", {}, record.version)
    assert store.get_record("scheduler", "rules", "r") is not None
    store.put_heartbeat(Heartbeat("pipeline", "i", T0, {}))
    assert store.get_blob(store.head("bundle") or "") == b"bundle"
    forbidden: list[Callable[[], object]] = [
        lambda: store.drop_day("30d", DAY),
        lambda: store.put_blob(b"mine"),
        lambda: stores(own_namespace).create_events("30d", [make_event(1)]),
        lambda: stores(own_namespace).put_heartbeat(Heartbeat("pipeline", "i", T0, {})),
        lambda: stores(own_namespace).get_alert("a1"),
    ]
    for attempt in forbidden:
        with pytest.raises(RefusedError):
            attempt()
    assert own_namespace not in admin.namespaces()


def test_the_gateway_reads_its_table_and_no_event(
    connection: Connection, namespace: str, own_namespace: str, as_part: Any, make_event: Any, make_alert: Any
) -> None:
    connection.store(own_namespace)
    system = connection.store(namespace)
    system.create_events("30d", [make_event(1)])
    system.set_head("gateway", system.put_blob(b"{}"))
    store = as_part("gateway", [namespace])(namespace)
    assert store.get_blob(store.head("gateway") or "") == b"{}"
    store.put_heartbeat(Heartbeat("gateway", "i", T0, {}))
    assert [beat.worker for beat in store.heartbeats()] == ["gateway"]
    # Without the right to see an index, a pattern stands for none.
    assert store.count_events(ALL, ALWAYS) == 0
    with pytest.raises(RefusedError):
        store.create_alerts([make_alert(1)])


def test_the_librarian_expires_days_and_keeps_letters(
    connection: Connection,
    namespace: str,
    own_namespace: str,
    as_part: Any,
    make_event: Any,
    make_alert: Any,
    make_letter: Any,
) -> None:
    connection.store(namespace).create_events("30d", [make_event(1)])
    store = as_part("librarian", [own_namespace, namespace])(namespace)
    store.put_dead_letters([make_letter(1)])
    assert store.mark_dead_letters(["l1"], "replayed") == 1
    assert store.days() == [("30d", DAY, 1)]
    store.drop_day("30d", DAY)
    assert store.days() == []
    with pytest.raises(RefusedError):
        store.create_alerts([make_alert(1)])


def test_the_web_ui_changes_what_people_decide_and_no_event(
    connection: Connection,
    namespace: str,
    own_namespace: str,
    as_part: Any,
    make_event: Any,
    make_alert: Any,
    make_letter: Any,
) -> None:
    worker = connection.store(namespace)
    worker.create_events("30d", [make_event(1)])
    worker.create_alerts([make_alert(1)])
    worker.put_dead_letters([make_letter(1)])
    store = as_part("web", [own_namespace, namespace])(namespace)
    assert store.search_events(ALL, ALWAYS).total == 1
    assert store.update_alert("a1", 1, {"status": "closed"}).version == 2
    assert store.mark_dead_letters(["l1"], "dismissed") == 1
    assert store.put_record("notes", "inc-1", "n1", {"text": "x"}).version == 1
    with pytest.raises(RefusedError):
        store.create_events("30d", [make_event(2)])
    with pytest.raises(RefusedError):
        store.drop_day("30d", DAY)


def test_a_key_is_kept_until_its_rights_change_and_the_old_one_counts_a_while_longer(
    admin: ElasticsearchAdmin, server: Elasticsearch, own_namespace: str, namespace: str
) -> None:
    name = f"web-{own_namespace}"
    first = admin.ensure_key(name, "web", [own_namespace], "")
    assert admin.ensure_key(name, "web", [own_namespace], first) == first
    second = admin.ensure_key(name, "web", [own_namespace, namespace], first)
    assert second != first
    assert admin.ensure_key(name, "web", [own_namespace, namespace], second) == second
    assert len(admin._keys(name)) == 2
    later = ElasticsearchAdmin(server.settings, clock=lambda: elasticsearch.now_ms() + elastic_admin.GRACE + 60_000)
    assert later.ensure_key(name, "web", [own_namespace, namespace], second) == second
    later.close()
    assert len(admin._keys(name)) == 1
    admin.invalidate_keys(name)
    admin.invalidate_keys(name)
    assert admin._keys(name) == []
    refused = elasticsearch.open_store(server.settings_of(second), namespace)
    with pytest.raises(RefusedError, match="401"):
        refused.get_alert("a1")
    refused.close()
    assert admin.ensure_key(name, "web", [own_namespace], second) not in {first, second}
    admin.invalidate_keys(name)


def test_an_administrator_with_a_key_is_refused(server: Elasticsearch) -> None:
    with pytest.raises(RefusedError, match="password"):
        ElasticsearchAdmin(server.settings_of("key"))


@pytest.mark.parametrize("role", ["worker", "gateway", "librarian", "web"])
def test_every_role_is_one_that_elasticsearch_knows(
    admin: ElasticsearchAdmin, server: Elasticsearch, own_namespace: str, role: str
) -> None:
    made = elastic_roles.role_of(role, [own_namespace, own_namespace + "-b"])
    key = admin.create_key(f"{role}-{own_namespace}", made)
    asker = elasticsearch.connect(server.settings_of(key))
    assert asker.call("GET", "/_security/_authenticate").ok
    asker.close()
    admin.invalidate_keys(f"{role}-{own_namespace}")
