"""`Resources` on a real API server: plain manifests, events, reviews and leases."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers import until
from tests.servers.apiserver import ApiServer

from vedette_backends.cluster import kube_api, kube_resources
from vedette_backends.cluster.kube_lease import KubernetesLease
from vedette_backends.cluster.kubernetes import KubernetesResources, connect
from vedette_backends.cluster.resources import Identity, Resources
from vedette_backends.errors import ConflictError, NotFoundError, RefusedError, UnavailableError


@pytest.fixture
def resources(api_server: ApiServer) -> Iterator[KubernetesResources]:
    made = KubernetesResources(connect(api_server.kubeconfig), instance="pod-1")
    as_protocol: Resources = made
    yield made
    as_protocol.close()


def settings(namespace: str, name: str = "c", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


# objects -------------------------------------------------------------------------------------------------------------
def test_apply_owns_what_it_names_and_leaves_the_rest(resources: KubernetesResources, namespace: str) -> None:
    resources.apply(settings(namespace, a="1", b="2"), manager="ours")
    other = {**settings(namespace, c="3"), "metadata": {"name": "c", "namespace": namespace}}
    resources.apply(other, manager="theirs")
    made = resources.apply(settings(namespace, a="4"), manager="ours")
    assert made["data"] == {"a": "4", "c": "3"}
    assert resources.get("v1", "ConfigMap", namespace, "c") == made


def test_applying_the_same_again_changes_nothing(resources: KubernetesResources, namespace: str) -> None:
    first = resources.apply(deployment(namespace), manager="ours")
    again = resources.apply(deployment(namespace), manager="ours")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_without_force_a_field_of_somebody_else_is_a_conflict(resources: KubernetesResources, namespace: str) -> None:
    resources.apply(settings(namespace, a="1"), manager="theirs")
    with pytest.raises(ConflictError, match=r'conflict with "theirs".*\.data\.a'):
        resources.apply(settings(namespace, a="2"), manager="ours", force=False)
    assert resources.apply(settings(namespace, a="2"), manager="ours")["data"] == {"a": "2"}


def test_apply_under_an_old_version_conflicts(resources: KubernetesResources, namespace: str) -> None:
    old = resources.apply(settings(namespace, a="1"), manager="ours")
    resources.apply(settings(namespace, a="2"), manager="ours")
    late = copy.deepcopy(settings(namespace, a="3"))
    late["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        resources.apply(late, manager="ours")


def test_objects_outside_namespaces_are_reached_too(resources: KubernetesResources) -> None:
    name = f"t-{secrets.token_hex(5)}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
    }
    resources.apply({**role, "rules": rules}, manager="ours")
    found = resources.get(role["apiVersion"], "ClusterRole", "", name)
    assert found is not None
    assert found["rules"] == rules
    resources.delete("rbac.authorization.k8s.io/v1", "ClusterRole", "", name)
    assert resources.get("rbac.authorization.k8s.io/v1", "ClusterRole", "", name) is None


def test_what_is_refused_says_why(resources: KubernetesResources, namespace: str) -> None:
    wrong = deployment(namespace)
    wrong["spec"]["template"]["spec"]["containers"] = []
    with pytest.raises(RefusedError, match=r"spec\.template\.spec\.containers: Required value"):
        resources.apply(wrong, manager="ours")
    with pytest.raises(NotFoundError, match="nowhere"):
        resources.apply(settings("nowhere"), manager="ours")
    with pytest.raises(RefusedError, match="needs apiVersion"):
        resources.apply({"kind": "ConfigMap"}, manager="ours")
    with pytest.raises(RefusedError, match="cannot be a name"):
        resources.get("v1", "ConfigMap", namespace, "../x")


def test_a_list_has_all_pages_in_order_and_whole_manifests(
    resources: KubernetesResources, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "PAGE", 2)
    for number in (3, 1, 5, 2, 4):
        resources.apply(settings(namespace, f"c{number}", n=str(number)), manager="ours")
    found = resources.list("v1", "ConfigMap", namespace)
    assert [(one["kind"], one["apiVersion"], one["data"]["n"]) for one in found] == [
        ("ConfigMap", "v1", str(number)) for number in range(1, 6)
    ]
    assert [one["metadata"]["name"] for one in resources.list("v1", "ConfigMap", namespace, "app in (c2,c4)")] == [
        "c2",
        "c4",
    ]
    everywhere = resources.list("v1", "ConfigMap", None, "app=c5")
    assert namespace in {one["metadata"]["namespace"] for one in everywhere}


def test_large_objects_make_smaller_pages(
    resources: KubernetesResources, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        resources.apply(settings(namespace, f"c{number}", n="x" * 10_000), manager="ours")
    monkeypatch.setattr(kube_api, "PAGE", 2)
    monkeypatch.setattr(kube_api, "_PAGE_BYTES", 15_000)
    pages = list(resources._api.pages(f"/api/v1/namespaces/{namespace}/configmaps"))
    assert [len(page.items) for page in pages] == [2, 1, 1, 1]
    assert len({page.version for page in pages}) == 1


def test_deleting_twice_is_no_error(resources: KubernetesResources, namespace: str) -> None:
    resources.apply(settings(namespace), manager="ours")
    for _ in range(2):
        resources.delete("v1", "ConfigMap", namespace, "c")
    assert resources.get("v1", "ConfigMap", namespace, "c") is None


def test_patches_merge_or_go_step_by_step(resources: KubernetesResources, namespace: str) -> None:
    resources.apply(settings(namespace, a="1", b="2"), manager="ours")
    place = ("v1", "ConfigMap", namespace, "c")
    assert resources.patch(*place, {"data": {"a": None, "c": "3"}})["data"] == {"b": "2", "c": "3"}
    patch = [{"op": "add", "path": "/metadata/finalizers", "value": ["vedette.dev/backends"]}]
    assert resources.patch(*place, patch, type="json")["metadata"]["finalizers"] == ["vedette.dev/backends"]
    resources.delete(*place)
    found = resources.get(*place)
    assert found is not None
    assert "deletionTimestamp" in found["metadata"]
    resources.patch(*place, {"metadata": {"finalizers": []}})
    assert resources.get(*place) is None
    with pytest.raises(NotFoundError):
        resources.patch(*place, {"data": {}})


def test_a_patch_under_an_old_version_conflicts(resources: KubernetesResources, namespace: str) -> None:
    old = resources.apply(settings(namespace, a="1"), manager="ours")
    resources.apply(settings(namespace, a="2"), manager="ours")
    body = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    with pytest.raises(ConflictError):
        resources.patch("v1", "ConfigMap", namespace, "c", body)


def test_kinds_that_are_not_known_by_heart_are_asked_for(
    resources: KubernetesResources, api_server: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}}
    assert resources.apply({**quota, "spec": {"hard": {"pods": "1"}}}, manager="ours")["spec"]["hard"]["pods"] == "1"
    assert resources.list("scheduling.k8s.io/v1", "PriorityClass")
    with pytest.raises(NotFoundError, match="no kind Gadget in v1"):
        resources.list("v1", "Gadget")
    # A kind that comes later is found later.
    group = f"t{secrets.token_hex(5)}.vedette.test"
    assert resources.get(f"{group}/v1", "Gadget", namespace, "g") is None
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Gadget", "listKind": "GadgetList", "plural": "gadgets", "singular": "gadget"}
    api_server.definitions(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"gadgets.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )
    monkeypatch.setattr(kube_resources, "_ASK_AGAIN_SECONDS", 0.0)

    def known() -> bool:
        try:
            return resources.list(f"{group}/v1", "Gadget") == []
        except NotFoundError:
            return False  # the server tells of a new kind a moment after it serves it

    until(known, seconds=30, what="the new kind")


# events --------------------------------------------------------------------------------------------------------------
def events(resources: KubernetesResources, namespace: str) -> list[tuple[str, str, int]]:
    found = resources.list("events.k8s.io/v1", "Event", namespace)
    return sorted((one["reason"], one["note"], (one.get("series") or {}).get("count", 1)) for one in found)


def test_an_event_that_repeats_itself_is_counted(
    resources: KubernetesResources, api_server: ApiServer, namespace: str
) -> None:
    made = resources.apply(settings(namespace), manager="ours")
    for _ in range(2):
        resources.record_event(made, reason="TestsFailed", message="1 of 2 fails", type="Warning")
    resources.record_event(made, reason="TestsFailed", message="2 of 2 fail", type="Warning")
    # After a restart, and from another pod, it still is the same event.
    another = KubernetesResources(connect(api_server.kubeconfig), instance="pod-2")
    another.record_event(made, reason="TestsFailed", message="1 of 2 fails", type="Warning")
    another.close()
    assert events(resources, namespace) == [("TestsFailed", "1 of 2 fails", 3), ("TestsFailed", "2 of 2 fail", 1)]
    (found, _) = resources.list("v1", "Event", namespace)
    # What `kubectl describe` looks for.
    assert found["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert (found["type"], found["reportingComponent"]) == ("Warning", "vedette-operator")


def test_an_event_of_an_object_without_a_namespace_is_in_default(resources: KubernetesResources) -> None:
    name = f"t-{secrets.token_hex(5)}"
    resources.record_event(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name}}, reason="Made", message=""
    )
    found = [one for one in resources.list("events.k8s.io/v1", "Event", "default") if one["regarding"]["name"] == name]
    assert len(found) == 1


@pytest.mark.parametrize("message", ["ü" * 5000, "x" * 1024, "x" * 1025, "\ud800 half a character", "\x00"])
def test_any_message_fits_into_an_event(resources: KubernetesResources, namespace: str, message: str) -> None:
    made = resources.apply(settings(namespace), manager="ours")
    resources.record_event(made, reason="Said", message=message)
    ((_, note, _),) = events(resources, namespace)
    assert note[:5] == message[:5].encode(errors="replace").decode()
    assert len(note.encode()) <= 1024


# reviews -------------------------------------------------------------------------------------------------------------
def test_a_token_says_who_its_bearer_is(resources: KubernetesResources, api_server: ApiServer, namespace: str) -> None:
    api_server.role(namespace, "jane", {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})
    identity = resources.review_token(api_server.token(namespace, "jane"))
    assert identity is not None
    assert identity.user == f"system:serviceaccount:{namespace}:jane"
    assert identity.uid
    assert "system:authenticated" in identity.groups
    for bad in ("", "x", "a.b.c", "x" * 100_000, "\n", "ü", api_server.token(namespace, "jane")[:-4] + "AAAA"):
        assert resources.review_token(bad) is None


def test_a_token_for_somebody_else_counts_for_nothing(
    resources: KubernetesResources, api_server: ApiServer, namespace: str
) -> None:
    api_server.role(namespace, "jane")
    ours, theirs = (api_server.token(namespace, "jane", audience) for audience in ("vedette", "other"))
    assert resources.review_token(ours, ["vedette"]) is not None
    assert resources.review_token(theirs, ["vedette"]) is None
    assert resources.review_token(theirs) is None


def test_access_is_what_the_roles_say(resources: KubernetesResources, api_server: ApiServer, namespace: str) -> None:
    """Also to resources that no API serves: alerts are in the store."""
    api_server.role(
        namespace,
        "jane",
        {"apiGroups": ["vedette.dev"], "resources": ["alerts"], "verbs": ["acknowledge"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get"]},
        {"apiGroups": ["vedette.dev"], "resources": ["incidents/status"], "verbs": ["patch"]},
    )
    identity = resources.review_token(api_server.token(namespace, "jane"))
    assert identity is not None

    def may(verb: str, group: str, resource: str, where: str = namespace, **more: str) -> bool:
        return resources.review_access(identity, verb, group, resource, where, **more)[0]

    assert may("acknowledge", "vedette.dev", "alerts")
    assert not may("acknowledge", "vedette.dev", "alerts", "other")
    assert not may("acknowledge", "vedette.dev", "alerts", "")
    assert not may("dispose", "vedette.dev", "alerts")
    assert may("get", "", "secrets", name="s")
    assert not may("get", "", "secrets", name="t")
    assert not may("get", "", "secrets")
    assert may("patch", "vedette.dev", "incidents", subresource="status")
    assert not may("patch", "vedette.dev", "incidents")
    allowed, reason = resources.review_access(identity, "acknowledge", "vedette.dev", "alerts", namespace)
    assert allowed
    assert "jane" in reason
    admin = Identity("admin", groups=("system:masters",), extra={"a": ("b",)})
    assert resources.review_access(admin, "anything", "any.group", "things", "")[0]


# leases --------------------------------------------------------------------------------------------------------------
class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rival(resources: KubernetesResources, namespace: str, clock: Clock) -> Any:
    """Candidates for one Lease, with steady clocks that stand still until they are set."""

    def make(holder: str, **more: Any) -> KubernetesLease:
        return KubernetesLease(resources._api, namespace, "operator", holder, 15, **{"clock": clock, **more})

    return make


def test_one_of_two_holds_a_lease(rival: Any, clock: Clock) -> None:
    first, second = rival("a"), rival("b")
    assert first.acquire()
    assert not second.acquire()
    assert (first.held, second.held, second.holder) == (True, False, "a")
    clock.now += 10
    assert first.renew()
    clock.now += 14
    assert not second.acquire()
    assert first.held


def test_who_does_not_renew_loses_it_before_a_rival_gets_it(rival: Any, clock: Clock) -> None:
    first, second = rival("a"), rival("b")
    assert first.acquire()
    assert not second.acquire()
    clock.now += 15
    assert not first.held
    assert not second.acquire()
    clock.now += 0.1
    assert second.acquire()
    assert not first.renew()
    assert not first.acquire()
    assert (first.holder, first.held, second.held) == ("b", False, True)


def test_a_rival_that_comes_late_waits_for_the_whole_time(rival: Any, clock: Clock) -> None:
    """However old the object says it is: clocks of two machines differ."""
    first = rival("a")
    assert first.acquire()
    clock.now += 1000
    late = rival("b", clock=Clock())
    assert not late.acquire()


def test_a_released_lease_is_free_at_once(rival: Any, resources: KubernetesResources, namespace: str) -> None:
    first, second = rival("a"), rival("b")
    second.release()
    assert first.acquire()
    second.release()
    assert not second.acquire()
    first.release()
    assert not first.held
    assert not first.renew()
    assert second.acquire()
    assert not first.acquire()
    found = resources.get("coordination.k8s.io/v1", "Lease", namespace, "operator")
    assert found is not None
    assert found["spec"]["leaseTransitions"] >= 1


def test_a_holder_that_starts_again_goes_on(rival: Any) -> None:
    assert rival("a").acquire()
    again = rival("a")
    assert again.acquire()
    assert again.renew()


def test_a_label_on_the_lease_costs_nobody_anything(rival: Any, resources: KubernetesResources, namespace: str) -> None:
    first = rival("a")
    assert first.acquire()
    resources.patch("coordination.k8s.io/v1", "Lease", namespace, "operator", {"metadata": {"labels": {"team": "x"}}})
    assert first.renew()
    found = resources.get("coordination.k8s.io/v1", "Lease", namespace, "operator")
    assert found is not None
    assert found["metadata"]["labels"] == {"team": "x"}


def test_a_deleted_lease_is_lost(rival: Any, resources: KubernetesResources, namespace: str) -> None:
    first = rival("a")
    assert first.acquire()
    resources.delete("coordination.k8s.io/v1", "Lease", namespace, "operator")
    assert not first.renew()
    assert not first.held
    assert first.acquire()


def test_of_two_that_come_at_once_one_gets_it(rival: Any, clock: Clock) -> None:
    old, first, second = rival("old"), rival("a"), rival("b")
    assert old.acquire()
    assert not first.acquire()
    assert not second.acquire()
    clock.now += 16
    seen = first._api.find(f"/apis/coordination.k8s.io/v1/namespaces/{first._namespace}/leases/operator")
    assert second.acquire()
    assert not first._write(clock.now, seen)
    assert not first.held


def test_a_lease_without_a_server_is_held_until_its_time_is_up(
    rival: Any, resources: KubernetesResources, clock: Clock
) -> None:
    first = rival("a")
    assert first.acquire()
    resources.close()
    with pytest.raises(UnavailableError):
        first.renew()
    assert first.held
    clock.now += 15
    assert not first.held


def test_resources_make_leases(resources: KubernetesResources, namespace: str) -> None:
    lease = resources.lease(namespace, "operator", holder="me")
    assert not lease.held
    assert lease.acquire()
    assert lease.holder == "me"
