"""How what a tenant's namespace got goes again, on a real API server, a real RabbitMQ and a real Elasticsearch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.servers.elasticsearch import Elasticsearch
from tests.unit.desired.tenants import AMQP, World

from vedette_backends.broker.protocol import Message
from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.store.elastic_admin import ElasticsearchAdmin
from vedette_backends.store.elasticsearch import connect as connect_store
from vedette_backends.store.protocol import NewEvent, Store, TimeRange
from vedette_engine.query.tree import MatchAll
from vedette_operator.marks import FINALIZER
from vedette_operator.removal import GRACE, LATER, SETTLE

pytestmark = pytest.mark.slow

T0 = 1_795_341_600_000


# removing ------------------------------------------------------------------------------------------------------------
def queues(world: World) -> set[str]:
    return set(world.broker(world.name).queues())


def test_with_retain_queues_and_events_stay_and_users_and_keys_go(world: World) -> None:
    world.put("feed", **AMQP)
    world.ensure()
    world.broker(world.name).publish([Message("events.feed", b"{}")])
    item = world.delete("feed")
    assert world.exists("feed")
    world.finish(item)
    assert not world.exists("feed")
    assert {"events.feed", "events.feed.dead"} <= queues(world)
    assert world.broker(world.name).stats("events.feed").ready == 1
    assert world.store.events == set()
    assert not {world.user(), world.user("feed")} & set(world.admin.users())
    assert world.user() not in world.store.keys
    assert world.secret("vedette-backends") == {} == world.secret("feed-publisher")


def test_with_delete_its_queues_and_events_go_and_those_of_others_stay(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other")
    world.ensure()
    item = world.delete("web")
    world.finish(item, other.object)
    assert not world.exists("web")
    assert {name for name in queues(world) if name.startswith("events.")} == {"events.other", "events.other.dead"}
    assert world.store.events == {(world.name, "web")}
    assert world.user() in world.admin.users()
    assert world.secret("vedette-backends")


def test_the_last_source_takes_the_virtual_host_with_it_but_never_notes_and_alerts(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    world.finish(world.delete("web"))
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert world.store.events == {(world.name, "web")}
    assert world.store.dropped == []


def test_a_deleted_namespace_leaves_nothing_where_the_policy_says_so(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, deletionPolicy="Delete")
    world.ensure()
    items = [world.delete("a"), world.delete("b")]
    world.delete_namespace()
    for item in items:
        world.finish(item)
    assert not world.exists("a")
    assert not world.exists("b")
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert [user for user in world.admin.users() if user.startswith(world.user())] == []
    assert set(world.store.dropped) == {world.name}
    assert world.store.keys == {}


def test_what_one_source_retains_no_other_source_takes_away(world: World) -> None:
    world.put("keep")
    world.put("drop", deletionPolicy="Delete")
    world.ensure()
    items = [world.delete("drop"), world.delete("keep")]
    world.delete_namespace()
    for item in items:
        world.finish(item)
    assert "events.keep" in queues(world)
    assert world.store.dropped == []
    assert world.store.events == {(world.name, "drop")}


def test_cleaning_up_waits_for_the_backends_and_forgets_nothing(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    item = world.delete("web")
    world.store.fails = UnavailableError("connection refused")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            world.finish(item)
        assert world.source("web")["metadata"]["finalizers"] == [FINALIZER]
    world.store.fails = None
    world.restart()
    world.finish(item)
    assert not world.exists("web")
    assert world.store.events == {(world.name, "web")}
    world.finish(item)


def test_a_namespace_that_is_going_gets_nothing_new(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    item = world.delete("web")
    world.put("late")
    world.delete_namespace()
    world.finish(item)
    world.tenants.prepare(world.name)
    world.tenants.ensure(world.space)
    assert f"vedette.{world.name}" not in world.admin.vhosts()
    assert world.space.objects["LogSource"]["late"].extra == []


def test_finalizers_of_others_stay(world: World) -> None:
    world.put("web")
    world.ensure()
    live = world.source("web")
    body = {"metadata": {"finalizers": [*live["metadata"]["finalizers"], "example.org/other"]}}
    world.resources.patch("vedette.dev/v1alpha1", "LogSource", world.name, "web", body)
    world.finish(world.delete("web"))
    assert world.source("web")["metadata"]["finalizers"] == ["example.org/other"]


def test_a_tenant_lives_and_goes_on_a_real_elasticsearch(world: World, elasticsearch_server: Elasticsearch) -> None:
    world.store = ElasticsearchAdmin(elasticsearch_server.settings)
    world.restart()
    world.put("web", deletionPolicy="Delete")
    world.tenants.prepare(world.name)
    world.ensure()
    assert world.conditions("web")["TemplateReady"] == ("True", "Declared")
    assert world.store.templates_ready(world.name, ["30d"]) == []
    key = world.secret("vedette-backends")["elasticsearch-api-key"]

    workers = connect_store(elasticsearch_server.settings_of(key))
    document = {"vedette.source": "web", "event.hash": "h"}
    workers.store(world.name).create_events("30d", [NewEvent("0" * 32, T0, T0, "h", document)])
    with pytest.raises(RefusedError):
        workers.store(f"{world.name}-other").put_blob(b"not theirs")
    workers.close()

    world.restart()
    world.hear("web")
    world.ensure()
    assert world.owned.writes == 0
    assert world.secret("vedette-backends")["elasticsearch-api-key"] == key
    assert world.tenants.release([world.name]) == []

    item = world.delete("web")
    world.delete_namespace()
    world.finish(item)
    assert not world.exists("web")
    assert world.name not in world.store.namespaces()
    gone = connect_store(elasticsearch_server.settings_of(key))
    with pytest.raises(RefusedError):
        gone.store(world.name).head("bundle")
    gone.close()
    world.store.close()


# late writers --------------------------------------------------------------------------------------------------------
def test_events_go_once_more_when_the_workers_have_let_go_of_the_source(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other").object
    world.ensure()
    item = world.delete("web")
    assert not world.tenants.finish(item, [other], left=False)
    world.store.events.clear()
    world.now += SETTLE
    assert not world.tenants.finish(item, [other], left=False)
    assert not world.tenants.finish(item, [other], left=True)
    assert world.exists("web")
    assert world.store.events == set()
    world.now += SETTLE
    assert world.tenants.finish(item, [other], left=True)
    assert not world.exists("web")
    assert world.store.events == {(world.name, "web")}


def test_a_worker_that_never_lets_go_holds_nothing_up_for_long(world: World) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other").object
    world.ensure()
    began = world.now
    world.finish(world.delete("web"), other, left=False)
    assert not world.exists("web")
    assert world.now - began <= GRACE


@pytest.mark.parametrize("again", [False, True], ids=["gone for good", "made again"])
def test_what_a_worker_that_slept_stored_goes_later_unless_the_source_is_there_again(
    world: World, *, again: bool
) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other").object
    world.ensure()
    world.finish(world.delete("web"), other, left=False)
    world.store.events.clear()
    if again:
        world.put("web")
    world.ensure(later=LATER - 1)
    assert world.store.events == set()
    world.store.fails = UnavailableError("connection refused")
    world.ensure(later=1)
    world.store.fails = None
    world.ensure(later=1)
    assert world.store.events == (set() if again else {(world.name, "web")})


def test_when_the_last_source_but_one_goes_right_behind_nobody_is_waited_for(world: World) -> None:
    for name in ("a", "b"):
        world.put(name, deletionPolicy="Delete")
    world.ensure()
    first = world.delete("a")
    assert not world.tenants.finish(first, [world.space.objects["LogSource"]["b"].object], left=False)
    second = world.delete("b")
    began = world.now
    world.finish(first, left=False)
    world.finish(second, left=False)
    assert world.now - began <= 2 * SETTLE + 2
    assert world.user() not in world.admin.users()
    assert f"vedette.{world.name}" not in world.admin.vhosts()


@pytest.fixture
def elastic(world: World, elasticsearch_server: Elasticsearch) -> Iterator[ElasticsearchAdmin]:
    """The namespace's store is a real one."""
    made = ElasticsearchAdmin(elasticsearch_server.settings)
    world.store = made
    world.restart()
    yield made
    made.drop_namespace(world.name)
    made.close()


class Writer:
    """A worker of the namespace that stores one event after the other."""

    def __init__(self, world: World, server: Elasticsearch) -> None:
        key = world.secret("vedette-backends")["elasticsearch-api-key"]
        self.connection = connect_store(server.settings_of(key))
        self.store: Store = self.connection.store(world.name)
        self._numbers = itertools.count()

    def write(self, source: str) -> None:
        document = {"vedette.source": source, "event.hash": "h"}
        self.store.create_events("30d", [NewEvent(f"{next(self._numbers):032x}", T0, T0, "h", document)])

    def stored(self) -> list[tuple[str, int]]:
        return self.store.top_values(MatchAll(), TimeRange(), "vedette.source")


@pytest.mark.usefixtures("elastic")
def test_nothing_that_a_worker_writes_behind_the_deletion_is_left(
    world: World, elasticsearch_server: Elasticsearch
) -> None:
    world.put("web", deletionPolicy="Delete")
    other = world.put("other").object
    world.ensure()
    worker = Writer(world, elasticsearch_server)
    for source in ("web", "web", "other"):
        worker.write(source)
    item = world.delete("web")
    assert not world.tenants.finish(item, [other], left=False)
    worker.write("web")  # it had a delivery in hand
    world.finish(item, other)
    assert worker.stored() == [("other", 1)]
    worker.connection.close()


@pytest.mark.usefixtures("elastic")
def test_with_the_last_source_its_workers_can_write_no_more(world: World, elasticsearch_server: Elasticsearch) -> None:
    world.put("web", deletionPolicy="Delete")
    world.ensure()
    worker = Writer(world, elasticsearch_server)
    worker.write("web")
    item = world.delete("web")
    assert not world.tenants.finish(item, [], left=False)
    with pytest.raises(RefusedError):
        worker.write("web")
    world.finish(item, left=False)
    assert not world.exists("web")
    worker.connection.close()
