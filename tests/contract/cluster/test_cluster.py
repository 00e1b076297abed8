"""What every Cluster must do: the embedded one, and a real Kubernetes API server."""

import itertools
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_backends.cluster.protocol import Change, Cluster, Event, Key, Object
from vedette_backends.errors import ConflictError, RefusedError, UnavailableError


def incident(name: str = "inc-1", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


KEY = Key("Incident", "shop", "inc-1")


@pytest.fixture(params=["local", "kubernetes"])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_place")


def told(cluster: Cluster, after: int, count: int) -> list[Event]:
    """The next changes, as many as are waited for."""
    return list(itertools.islice(cluster.watch(after, 30), count))


def read(cluster: Cluster) -> Object:
    found = cluster.get(KEY)
    assert found is not None
    return found


def test_what_was_created_can_be_read_by_others(place: Any, cluster: Cluster) -> None:
    made = cluster.create(incident(title="odd"), manager="ui")
    found = read(place.open())
    assert found == made
    assert found.manifest["spec"] == {"title": "odd"}
    assert (found.generation, found.status, found.origin) == (1, {}, "")
    assert found.manifest["metadata"]["generation"] == 1
    assert found.manifest["metadata"]["resourceVersion"] == str(found.version)


def test_what_exists_cannot_be_created(cluster: Cluster) -> None:
    cluster.create(incident(), manager="ui")
    with pytest.raises(ConflictError, match="Incident shop/inc-1 exists"):
        cluster.create(incident(title="other"), manager="ui")
    assert read(cluster).manifest["spec"] == {}


def test_one_of_many_creators_wins(place: Any) -> None:
    clusters = [place.open() for _ in range(4)]
    barrier = threading.Barrier(4)
    won: list[int] = []

    def create(number: int) -> None:
        barrier.wait()
        try:
            clusters[number].create(incident(title=str(number)), manager="ui")
        except ConflictError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert read(clusters[0]).manifest["spec"] == {"title": str(won[0])}


def test_missing_objects_are_none(cluster: Cluster) -> None:
    assert cluster.get(KEY) is None
    assert cluster.list("Incident") == []
    assert cluster.secret("shop", "token", "token") is None
    assert cluster.config("shop", "owners", "owners.csv") is None


def test_lists_are_of_one_kind_by_namespace_and_name(cluster: Cluster) -> None:
    for namespace, name in (("b", "2"), ("a", "3"), ("b", "1")):
        cluster.create(incident(name, namespace), manager="ui")
    cluster.create({"kind": "Secret", "metadata": {"name": "s", "namespace": "a"}}, manager="ui")
    assert [str(found.key) for found in cluster.list("Incident")] == ["Incident a/3", "Incident b/1", "Incident b/2"]
    assert [found.key.name for found in cluster.list("Incident", "b")] == ["1", "2"]


def test_apply_creates_and_replaces(cluster: Cluster) -> None:
    first = cluster.apply(incident(title="a"), manager="ui")
    second = cluster.apply(incident(phase="Closed"), manager="ui")
    assert (first.generation, second.generation) == (1, 2)
    assert second.version > first.version
    assert second.manifest["spec"] == {"phase": "Closed"}


def test_a_write_under_an_old_version_conflicts(cluster: Cluster) -> None:
    made = cluster.create(incident(), manager="ui")
    cluster.apply({**made.manifest, "spec": {"title": "first"}}, manager="ui")
    with pytest.raises(ConflictError, match=f"read at version {made.version}"):
        cluster.apply({**made.manifest, "spec": {"title": "second"}}, manager="ui")
    assert read(cluster).manifest["spec"] == {"title": "first"}


def test_a_write_under_a_version_of_something_deleted_conflicts(cluster: Cluster) -> None:
    made = cluster.create(incident(), manager="ui")
    cluster.delete(KEY)
    with pytest.raises(ConflictError, match="does not exist"):
        cluster.apply(made.manifest, manager="ui")


def test_labels_raise_the_version_only(cluster: Cluster) -> None:
    first = cluster.create(incident(), manager="ui")
    labelled = incident()
    labelled["metadata"]["labels"] = {"team": "blue"}
    second = cluster.apply(labelled, manager="ui")
    assert second.generation == first.generation
    assert second.version > first.version


def test_status_does_not_raise_the_generation(cluster: Cluster) -> None:
    first = cluster.create(incident(), manager="ui")
    cluster.patch_status(KEY, {"phase": "open"})
    second = read(cluster)
    assert second.status == {"phase": "open"}
    assert second.generation == first.generation
    assert second.version > first.version


def test_status_is_replaced_as_a_whole_and_stays_when_the_rest_changes(cluster: Cluster) -> None:
    cluster.create(incident(), manager="ui")
    cluster.patch_status(KEY, {"a": 1})
    cluster.patch_status(KEY, {"b": 2})
    cluster.apply({**incident(title="x"), "status": {"forged": True}}, manager="ui")
    assert read(cluster).status == {"b": 2}
    assert "status" not in read(cluster).manifest


def test_status_of_what_is_gone_is_no_error(cluster: Cluster) -> None:
    cluster.patch_status(KEY, {"a": 1})
    assert cluster.get(KEY) is None


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), ("1", 1), ([1], [1, 1])], ids=repr)
def test_values_that_only_python_holds_for_equal_are_a_change(cluster: Cluster, old: Any, new: Any) -> None:
    cluster.apply(incident(value=old), manager="ui")
    changed = cluster.apply(incident(value=new), manager="ui")
    assert changed.generation == 2
    assert repr(changed.manifest["spec"]["value"]) == repr(new)


def test_nothing_new_is_no_change(cluster: Cluster) -> None:
    cluster.apply(incident(a=1, b=2), manager="ui")
    cluster.patch_status(KEY, {"a": 1})
    version = cluster.version()
    cluster.apply(incident(b=2, a=1), manager="other")
    cluster.patch_status(KEY, {"a": 1})
    assert cluster.version() == version


def test_a_deleted_object_is_gone(cluster: Cluster) -> None:
    cluster.create(incident(), manager="ui")
    cluster.delete(KEY)
    cluster.delete(KEY)
    assert cluster.get(KEY) is None
    assert cluster.create(incident(), manager="ui").generation == 1


def test_a_watch_tells_every_change_once_in_order(cluster: Cluster) -> None:
    start = cluster.version()
    cluster.create(incident(), manager="ui")
    cluster.patch_status(KEY, {"a": 1})
    cluster.create(incident("inc-2"), manager="ui")
    cluster.apply(incident(title="x"), manager="ui")
    cluster.delete(KEY)
    changes = [
        (Change.SET, "inc-1"),
        (Change.STATUS, "inc-1"),
        (Change.SET, "inc-2"),
        (Change.SET, "inc-1"),
        (Change.DELETED, "inc-1"),
    ]

    def names(events: list[Event]) -> list[tuple[Change, str]]:
        return [(event.change, event.object.key.name) for event in events]

    events = told(cluster, start, len(changes))
    assert names(events) == changes
    versions = [event.object.version for event in events]
    assert versions == sorted(set(versions))
    assert versions[-1] == cluster.version()
    assert list(cluster.watch(versions[-1], 0)) == []
    for number, version in enumerate(versions[:-1], 1):
        assert names(told(cluster, version, len(changes) - number)) == changes[number:]


def test_changes_of_a_status_alone_can_be_passed_over(cluster: Cluster) -> None:
    start = cluster.version()
    cluster.create(incident(), manager="ui")
    cluster.patch_status(KEY, {"a": 1})
    cluster.patch_status(KEY, {"a": 2})
    cluster.delete(KEY)
    changes = [event.change for event in itertools.islice(cluster.watch(start, 30, statuses=False), 2)]
    assert changes == [Change.SET, Change.DELETED]


def test_a_watch_from_the_beginning_tells_what_exists(place: Any, cluster: Cluster) -> None:
    cluster.create(incident(), manager="ui")
    cluster.create(incident("inc-2"), manager="ui")
    events = told(place.open(), 0, 2)
    assert [(event.change, event.object.key.name) for event in events] == [
        (Change.SET, "inc-1"),
        (Change.SET, "inc-2"),
    ]


def test_a_deletion_tells_the_last_state_also_when_the_name_is_used_again(cluster: Cluster) -> None:
    start = cluster.version()
    cluster.create(incident(life=1), manager="ui")
    cluster.delete(KEY)
    cluster.create(incident(life=2), manager="ui")
    events = [(event.change, event.object.manifest["spec"]["life"]) for event in told(cluster, start, 3)]
    assert events == [(Change.SET, 1), (Change.DELETED, 1), (Change.SET, 2)]


def test_a_watch_goes_on_while_others_write(place: Any, cluster: Cluster) -> None:
    seen: list[str] = []
    start = cluster.version()

    def follow() -> None:
        for event in cluster.watch(start, 60):
            seen.append(event.object.key.name)
            if event.object.key.name == "last":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    other = place.open()
    names = [f"inc-{number}" for number in range(20)] + ["last"]
    for name in names:
        other.create(incident(name), manager="ui")
    thread.join(30)
    assert seen == names


def test_closing_ends_a_watch(cluster: Cluster) -> None:
    watch = cluster.watch(cluster.version(), 60)
    cluster.create(incident(), manager="ui")
    next(watch)
    cluster.close()
    assert list(watch) == []
    with pytest.raises(UnavailableError):
        cluster.get(KEY)


def test_values_of_secrets_and_config_maps(cluster: Cluster) -> None:
    cluster.create(
        {
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "shop"},
            "data": {"both": "b2xk", "coded": "AP8=\n"},
            "stringData": {"both": "new"},
        },
        manager="ui",
    )
    cluster.create(
        {
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "shop"},
            "data": {"text": "host,owner\n"},
            "binaryData": {"coded": "AP8="},
        },
        manager="ui",
    )
    assert [cluster.secret("shop", "s", key) for key in ("both", "coded", "none")] == [b"new", b"\x00\xff", None]
    assert [cluster.config("shop", "c", key) for key in ("text", "coded", "none")] == [
        b"host,owner\n",
        b"\x00\xff",
        None,
    ]
    assert cluster.secret("other", "s", "both") is None


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param({}, id="empty"),
        pytest.param({"kind": "Incident"}, id="no metadata"),
        pytest.param({"kind": "Incident", "metadata": {"name": 7}}, id="number as name"),
        pytest.param({"kind": "Incident", "metadata": []}, id="metadata is a list"),
        pytest.param(incident(big="x" * 2_000_000), id="too large"),
        pytest.param(incident(huge=2**70), id="number"),
        pytest.param(incident(text="\ud800"), id="half a character"),
    ],
)
def test_what_cannot_be_kept_is_refused(cluster: Cluster, manifest: dict[str, Any]) -> None:
    before = cluster.version()
    with pytest.raises(RefusedError):
        cluster.apply(manifest, manager="ui")
    assert cluster.version() == before
    assert cluster.list("Incident") == []


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    # Kubernetes writes whole numbers without a point; that the embedded cluster keeps it is tested with it.
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text("ab.$\x00ü", max_size=3), children),
    max_leaves=8,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(specs=st.lists(st.dictionaries(st.text("abc", max_size=3), _JSON, max_size=3), min_size=2, max_size=4))
def test_the_generation_grows_with_the_spec_and_only_with_it(cluster: Cluster, specs: list[dict[str, Any]]) -> None:
    cluster.delete(KEY)
    last = cluster.apply(incident(**specs[0]), manager="ui")
    for before, spec in itertools.pairwise(specs):
        now = cluster.apply(incident(**spec), manager="ui")
        assert now.manifest["spec"] == spec
        assert now.generation - last.generation == (repr(_sorted(before)) != repr(_sorted(spec)))
        assert (now.version > last.version) == (now.generation > last.generation)
        last = now


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
