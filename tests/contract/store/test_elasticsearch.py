"""What only the Elasticsearch store has to do: templates, keys, indices that others remove, a server that fails."""

from __future__ import annotations

import secrets
import socket
import threading
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers import until
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.pki import Authority

from vedette_backends.errors import BackendError, NotFoundError, RefusedError, UnavailableError
from vedette_backends.settings import ElasticsearchSettings
from vedette_backends.store import elastic_admin, elastic_blobs, elastic_roles, elasticsearch
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elastic_mapping import COMPONENT
from vedette_backends.store.elasticsearch import Connection
from vedette_backends.store.protocol import (
    Alert,
    AlertFilter,
    DeadLetter,
    Heartbeat,
    NewEvent,
    Outcome,
    Store,
    TimeRange,
)
from vedette_engine.normalise.document import to_document
from vedette_engine.query.tree import MatchAll, Term

T0 = 1_795_348_800_000
ALL, ALWAYS = MatchAll(), TimeRange()
DAY = "2026.11.22"


def alert(number: int) -> Alert:
    return Alert(f"a{number}", T0, T0, "rule", "high", "title", "summary", {"events": []})


def letter(number: int) -> DeadLetter:
    return DeadLetter(f"l{number}", T0, "web", "Malformed", "detail", b"raw", {})


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


@pytest.fixture(name="store")
def elasticsearch_store(connection: Connection, namespace: str) -> Store:
    return connection.store(namespace)


# templates ------------------------------------------------------------------------------------------------------------
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
    admin: ElasticsearchAdmin, server: Elasticsearch, connection: Connection, own_namespace: str, make_event: Any
) -> None:
    neighbour = own_namespace + "-eu"
    keys = {}
    for name in (own_namespace, neighbour):
        admin.ensure_templates(name, ["30d"])
        keys[name] = admin.ensure_key(f"worker-{name}", "worker", [name], "")
        store = connection.store(name)
        store.create_events("30d", [make_event(1)])
        store.create_alerts([alert(1)])
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


def test_the_events_of_one_source_are_removed(
    admin: ElasticsearchAdmin, store: Store, namespace: str, make_event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_admin, "SOURCE", "event.dataset")
    monkeypatch.setattr(elastic_admin, "_DELETE_AT_ONCE", 3)
    events = [
        make_event(n, {"event.dataset": "web" if n % 2 else "db"}, ingested=T0 - n * 40_000_000) for n in range(9)
    ]
    store.create_events("30d", events)
    admin.delete_source_events(namespace, "web")
    assert store.top_values(ALL, ALWAYS, "event.dataset") == [("db", 5)]


# keys -----------------------------------------------------------------------------------------------------------------
def test_a_worker_does_its_work_and_reaches_no_other_namespace(
    admin: ElasticsearchAdmin, connection: Connection, namespace: str, own_namespace: str, as_part: Any, make_event: Any
) -> None:
    blob = connection.store(namespace).put_blob(b"bundle")
    connection.store(namespace).set_head("bundle", blob)
    stores = as_part("worker", [namespace])
    store = stores(namespace)
    assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.CREATED
    assert store.create_events("30d", [make_event(1)])[0].outcome is Outcome.DUPLICATE
    assert store.count_events(ALL, ALWAYS) == 1
    assert store.create_alerts([alert(1)])[0].outcome is Outcome.CREATED
    assert store.update_alert("a1", 1, {"incident": "inc-1"}).version == 2
    assert len(store.alert_changes(0)[0]) == 1
    store.put_dead_letters([letter(1)])
    store.put_record("notes", "inc-1", "n1", {})
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
    connection: Connection, namespace: str, own_namespace: str, as_part: Any, make_event: Any
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
        store.create_alerts([alert(1)])


def test_the_librarian_expires_days_and_keeps_letters(
    connection: Connection, namespace: str, own_namespace: str, as_part: Any, make_event: Any
) -> None:
    connection.store(namespace).create_events("30d", [make_event(1)])
    store = as_part("librarian", [own_namespace, namespace])(namespace)
    store.put_dead_letters([letter(1)])
    assert store.mark_dead_letters(["l1"], "replayed") == 1
    assert store.days() == [("30d", DAY, 1)]
    store.drop_day("30d", DAY)
    assert store.days() == []
    with pytest.raises(RefusedError):
        store.create_alerts([alert(1)])


def test_the_web_ui_changes_what_people_decide_and_no_event(
    connection: Connection, namespace: str, own_namespace: str, as_part: Any, make_event: Any
) -> None:
    worker = connection.store(namespace)
    worker.create_events("30d", [make_event(1)])
    worker.create_alerts([alert(1)])
    worker.put_dead_letters([letter(1)])
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


# events ---------------------------------------------------------------------------------------------------------------
def test_an_index_that_takes_no_writes_is_a_fault_of_ours_and_passes(
    store: Store, server: Elasticsearch, namespace: str, make_event: Any
) -> None:
    store.create_events("30d", [make_event(1)])
    index = f"vedette-events.{namespace}.30d.{DAY}"
    server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    with pytest.raises(RefusedError, match="cluster_block"):
        store.create_events("30d", [make_event(2)])
    server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    assert store.create_events("30d", [make_event(2)])[0].outcome is Outcome.CREATED


def test_a_day_that_somebody_removed_begins_again(
    store: Store, server: Elasticsearch, namespace: str, make_event: Any
) -> None:
    store.create_events("30d", [make_event(1)])
    server.ask("DELETE", f"/vedette-events.{namespace}.30d.{DAY}")
    assert store.create_events("30d", [make_event(1), make_event(2)])[0].outcome is Outcome.CREATED
    assert store.top_values(ALL, ALWAYS, "event.dataset") == [("test", 2)]


def test_of_many_writers_of_the_same_events_one_creates_each(
    store: Store, connection: Connection, namespace: str
) -> None:
    created: list[str] = []

    def write() -> None:
        mine = connection.store(namespace)
        events = [NewEvent(f"{n:032x}", T0, T0, "h", {"event.code": "1"}) for n in range(50)]
        for event, result in zip(events, mine.create_events("30d", events), strict=True):
            assert result.outcome in {Outcome.CREATED, Outcome.DUPLICATE}
            if result.outcome is Outcome.CREATED:
                created.append(event.id)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [f"{n:032x}" for n in range(50)]
    assert store.count_events(ALL, ALWAYS) == 50


odd = st.one_of(
    st.text(max_size=40),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.sampled_from(
        [
            "x" * 9000,
            "\U0001f980" * 8000,
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:60Z",
            "2026-11-22",
            "::1",
            "91,181",
            "1e999",
        ]
    ),
)
names = st.sampled_from(
    [
        *("source.ip", "event.created", "source.port", "event.risk_score", "source.geo.location", "user", "user.name"),
        *(
            "message",
            "process.args",
            "tags",
            "process.interactive",
            "labels",
            "dns.answers",
            "@timestamp",
            "event.hash",
        ),
        *("x", "", "a.b", "a..b", ".", "vedette", "q" * 600, "n\0l", "\u00fc"),
    ]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=st.lists(st.dictionaries(names, st.one_of(odd, st.lists(odd, max_size=3)), max_size=6), min_size=1))
def test_whatever_the_normaliser_lets_through_is_stored_and_comes_back(
    store: Store, events: list[dict[str, Any]]
) -> None:
    made = [
        NewEvent(secrets.token_hex(16), T0, T0, "h", to_document({**event, "@timestamp": T0, "event.ingested": T0}))
        for event in events
    ]
    results = store.create_events("30d", made)
    assert [result.reason for result in results] == [""] * len(made)
    for event in made[:2]:
        found = store.get_event(event.id)
        assert found is not None
        assert found.document == event.document


# alerts, blobs, snapshots ---------------------------------------------------------------------------------------------
def test_the_feed_of_an_index_that_was_made_anew_begins_again(
    store: Store, server: Elasticsearch, connection: Connection, namespace: str
) -> None:
    store.create_alerts([alert(n) for n in range(5)])
    _, number = store.alert_changes(0)
    server.ask("DELETE", f"/vedette-alerts.{namespace}")
    fresh = connection.store(namespace)
    fresh.create_alerts([alert(9)])
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
    store: Store, server: Elasticsearch, admin: ElasticsearchAdmin, namespace: str, make_event: Any
) -> None:
    store.create_events("30d", [make_event(n) for n in range(20)])
    store.create_alerts([alert(1)])
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


# the connection -------------------------------------------------------------------------------------------------------
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


def test_a_partition_that_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.drop_day("30d", DAY)
    with pytest.raises(RefusedError):
        store.drop_day("30d", "*")
