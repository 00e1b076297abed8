"""Applying what the operator owns, on a real API server: writing nothing where nothing differs, and noticing drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import access, names, workloads
from vedette_operator.desired.source import Source
from vedette_operator.desired.workloads import Surroundings
from vedette_operator.marks import PAUSE
from vedette_operator.owned import LOOK_AGAIN, Owned, covers

Manifest = Mapping[str, Any]


# covers --------------------------------------------------------------------------------------------------------------
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(plain)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(value, value)


@given(st.dictionaries(st.text(max_size=3), plain, max_size=4), st.dictionaries(st.text(max_size=3), plain, max_size=4))
def test_what_others_add_does_not_count(live: dict[str, Any], more: dict[str, Any]) -> None:
    assert covers({**more, **live}, live)


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": [], "b": "", "c": False}, True),
        ({"a": True}, {"a": False}, False),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}, True),
        ({"memory": "1Gi"}, {"memory": "1G"}, False),
        ({"name": "e"}, {"name": "E"}, False),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        (["b", "a"], ["a", "b"], False),
        ([{"name": "x", "v": 1}, {"name": "y", "v": 2}], [{"name": "y", "v": 2}], True),
        ([{"name": "y", "v": 3}], [{"name": "y", "v": 2}], False),
        ([{"port": 53, "p": "TCP"}, {"port": 53, "p": "UDP"}], [{"port": 53, "p": "UDP"}], True),
        ("text", ["text"], False),
        ("text", {"a": 1}, False),
        (None, {"a": 1}, False),
    ],
)
def test_live_and_wanted_are_compared_by_meaning(live: Any, wanted: Any, *, same: bool) -> None:
    assert covers(live, wanted) is same


# on the API server ---------------------------------------------------------------------------------------------------
@pytest.fixture
def manifests(config: OperatorConfig, source: Source, namespace: str) -> list[Manifest]:
    """All that a namespace gets, one of every kind that the operator owns there."""
    owners = names.owners([(source.name, source.uid)])
    around = Surroundings(config, namespace, "hash", owners, ["geo.db"])
    return [
        *access.accounts(config, namespace, owners),
        *access.network_policies(config, namespace, owners),
        *(one for plan in workloads.plans(config, namespace, [source]) for one in workloads.manifests(plan, around, 2)),
    ]


@pytest.fixture
def deployment(manifests: list[Manifest]) -> Manifest:
    return next(one for one in manifests if one["kind"] == "Deployment")


def live_of(resources: KubernetesResources, manifest: Manifest) -> dict[str, Any]:
    metadata = manifest["metadata"]
    found = resources.get(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])
    assert found is not None
    return found


def test_what_was_applied_is_not_written_again_by_a_later_run(
    resources: KubernetesResources, manifests: list[Manifest]
) -> None:
    first, second = Owned(resources), Owned(resources)
    for manifest in manifests:
        first.apply(manifest)
    assert first.writes == len(manifests)
    before = [live_of(resources, one)["metadata"]["resourceVersion"] for one in manifests]
    for manifest in manifests:
        second.apply(manifest)
        second.apply(manifest)
    assert second.writes == 0
    assert [live_of(resources, one)["metadata"]["resourceVersion"] for one in manifests] == before


def test_the_server_takes_every_manifest_as_it_is_and_none_has_drifted_then(
    resources: KubernetesResources, owned: Owned, manifests: list[Manifest]
) -> None:
    for manifest in manifests:
        owned.apply(manifest)
        assert not owned.drifted(live_of(resources, manifest))


def test_what_somebody_changes_is_noticed_and_put_right(
    resources: KubernetesResources, owned: Owned, deployment: Manifest
) -> None:
    owned.apply(deployment)
    change = {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}
    changed = resources.patch("apps/v1", "Deployment", *_place(deployment), change)
    assert owned.drifted(changed)
    owned.apply(deployment)
    live = live_of(resources, deployment)
    assert live["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert not owned.drifted(live)


def test_a_label_that_is_taken_away_comes_back(
    resources: KubernetesResources, owned: Owned, deployment: Manifest
) -> None:
    owned.apply(deployment)
    body = {"metadata": {"labels": {names.PART_OF: None}}}
    assert owned.drifted(resources.patch("apps/v1", "Deployment", *_place(deployment), body))
    owned.apply(deployment)
    assert live_of(resources, deployment)["metadata"]["labels"][names.PART_OF] == "vedette"


def test_what_somebody_deletes_comes_back(resources: KubernetesResources, owned: Owned, deployment: Manifest) -> None:
    owned.apply(deployment)
    last = live_of(resources, deployment)
    resources.delete("apps/v1", "Deployment", *_place(deployment))
    assert owned.drifted(last, deleted=True)
    owned.apply(deployment)
    assert live_of(resources, deployment)["metadata"]["uid"] != last["metadata"]["uid"]


def test_what_others_add_and_what_is_older_is_no_drift(
    resources: KubernetesResources, owned: Owned, deployment: Manifest
) -> None:
    owned.apply(deployment)
    old = live_of(resources, deployment)
    annotated = resources.patch(
        "apps/v1", "Deployment", *_place(deployment), {"metadata": {"annotations": {"team": "blue"}}}
    )
    assert not owned.drifted(annotated)
    owned.apply({**deployment, "spec": {**deployment["spec"], "replicas": 3}})
    assert not owned.drifted(old)
    assert not owned.drifted({**old, "metadata": {**old["metadata"], "name": "of-somebody-else"}})


def test_another_manifest_is_applied_and_fields_that_it_leaves_out_go(
    resources: KubernetesResources, owned: Owned, deployment: Manifest
) -> None:
    owned.apply(deployment)
    pod = deployment["spec"]["template"]["spec"]
    less = {name: value for name, value in pod.items() if name != "topologySpreadConstraints"}
    owned.apply(
        {**deployment, "spec": {**deployment["spec"], "template": {**deployment["spec"]["template"], "spec": less}}}
    )
    assert "topologySpreadConstraints" not in live_of(resources, deployment)["spec"]["template"]["spec"]


def test_a_paused_object_is_left_alone_until_the_annotation_goes(
    resources: KubernetesResources, owned: Owned, deployment: Manifest, namespace: str
) -> None:
    owned.apply(deployment)
    body = {"metadata": {"annotations": {PAUSE: "true"}}, "spec": {"replicas": 0}}
    assert owned.drifted(resources.patch("apps/v1", "Deployment", *_place(deployment), body))
    owned.apply(deployment)
    live = live_of(resources, deployment)
    assert live["spec"]["replicas"] == 0
    assert owned.held(namespace) == [f"Deployment {deployment['metadata']['name']}"]
    assert not owned.drifted(live)

    free = resources.patch("apps/v1", "Deployment", *_place(deployment), {"metadata": {"annotations": {PAUSE: None}}})
    assert owned.drifted(free)
    owned.apply(deployment)
    assert live_of(resources, deployment)["spec"]["replicas"] == 2
    assert owned.held(namespace) == []


def test_what_no_watch_covers_is_read_again_after_a_while(
    resources: KubernetesResources, namespace: str, times: Callable[[], float]
) -> None:
    owned = Owned(resources, clock=times)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "vedette-backends", "namespace": namespace},
        "data": {"a": "YQ=="},
    }
    owned.apply(secret)
    resources.patch("v1", "Secret", namespace, "vedette-backends", {"data": {"a": "Yg=="}})
    owned.apply(secret)
    assert live_of(resources, secret)["data"] == {"a": "YQ=="}


def test_nothing_is_read_while_it_is_known(resources: KubernetesResources, deployment: Manifest) -> None:
    owned = Owned(resources)
    owned.apply(deployment)
    resources.close()
    owned.apply(deployment)


@pytest.fixture
def times() -> Callable[[], float]:
    """A clock that goes on by more than `LOOK_AGAIN` at each look."""
    moments: Iterator[int] = iter(range(100))
    return lambda: next(moments) * (LOOK_AGAIN + 1)


def _place(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]
