"""Where kinds are in the API: the table agrees with the definitions, and a path stays a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster.kube_kinds import OURS, WELL_KNOWN
from vedette_backends.errors import RefusedError
from vedette_crds.kinds import KINDS
from vedette_crds.resource import API_VERSION


def test_our_kinds_are_those_that_users_write() -> None:
    assert {kind: (found.api_version, found.kind, found.plural) for kind, found in OURS.items()} == {
        kind: (API_VERSION, kind, model.PLURAL) for kind, model in KINDS.items()
    }


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace", "name", "path"),
    [
        ("v1", "Secret", "shop", "s", "/api/v1/namespaces/shop/secrets/s"),
        ("v1", "Secret", None, "", "/api/v1/secrets"),
        ("v1", "Namespace", "", "shop", "/api/v1/namespaces/shop"),
        ("apps/v1", "Deployment", "shop", "", "/apis/apps/v1/namespaces/shop/deployments"),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "shop",
            "system:node",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
        ),
    ],
)
def test_paths(api_version: str, kind: str, namespace: str | None, name: str, path: str) -> None:
    assert WELL_KNOWN[api_version, kind].path(namespace, name) == path


def test_an_object_of_a_namespace_needs_one() -> None:
    with pytest.raises(RefusedError, match="Secret s needs a namespace"):
        WELL_KNOWN["v1", "Secret"].path("", "s")


@given(namespace=st.text(min_size=1), name=st.text(min_size=1))
def test_no_name_leads_out_of_its_place(namespace: str, name: str) -> None:
    try:
        path = WELL_KNOWN["v1", "Secret"].path(namespace, name)
    except RefusedError:
        return
    parts = path.split("/")
    assert parts[:4] == ["", "api", "v1", "namespaces"]
    assert parts[5] == "secrets"
    assert len(parts) == 7
    assert not {"", ".", ".."} & set(parts[1:])
    assert not set("?#% ") & set(path.replace("%3A", ""))
