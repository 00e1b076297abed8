"""The web UI's people on a real API server: tokens of ServiceAccounts, roles, revocation."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers import until
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer

from vedette_backends.cluster.kubernetes import KubernetesResources, connect
from vedette_webui.app import create_app
from vedette_webui.kubernetes import RIGHT_SECONDS, TOKEN_SECONDS, KubernetesAccounts

pytestmark = pytest.mark.slow

SEE = {"apiGroups": ["vedette.dev"], "resources": ["alerts"], "verbs": ["get", "list"]}
WORK = {"apiGroups": ["vedette.dev"], "resources": ["alerts"], "verbs": ["acknowledge"]}


class Place:
    """Two namespaces of this test on the API server, and the web UI that asks it."""

    def __init__(self, server: ApiServer, world: Any) -> None:
        suffix = secrets.token_hex(4)
        self.shop, self.bank = f"shop-{suffix}", f"bank-{suffix}"
        for name in (self.shop, self.bank):
            server.namespace(name)
        self.server = server
        self.now = 0.0
        self.api = connect(server.kubeconfig)
        resources = KubernetesResources(self.api)
        world.app = create_app(
            world.settings,
            lambda _: world.store,
            world.cluster,
            auth=KubernetesAccounts(
                world.settings, resources.review_token, resources.review_access, clock=lambda: self.now
            ),
            namespaces=lambda: [self.bank, self.shop],
        )

    def token(self, *rules: dict[str, list[str]]) -> str:
        self.server.role(self.shop, "jane", *rules)
        return self.server.token(self.shop, "jane")


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, world: Any) -> Iterator[Place]:
    root = tmp_path_factory.getbasetemp()
    server = apiserver.shared(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)
    made = Place(server, world)
    yield made
    made.api.close()


def test_a_role_in_a_namespace_shows_that_namespace_and_its_buttons(place: Place, world: Any, post: Any) -> None:
    world.alert(1)
    jane = world.visitor(place.token(SEE))
    page = jane.get("/alerts").text
    assert place.shop in page
    assert place.bank not in page
    assert "system:serviceaccount" in page
    assert 'value="acknowledge"' not in jane.get("/alerts/alert-1").text
    refused = post(jane, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"})
    assert f"You may not acknowledge alerts in {place.shop}" in refused.text

    place.token(SEE, WORK)
    place.now += RIGHT_SECONDS
    assert 'value="acknowledge"' in jane.get("/alerts/alert-1").text
    assert post(jane, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"}).status_code == 303
    workflow = world.store.get_alert("alert-1").workflow
    assert workflow["owner"] == f"system:serviceaccount:{place.shop}:jane"


def test_a_revoked_token_ends_the_session(place: Place, world: Any) -> None:
    jane = world.visitor(place.token(SEE))
    assert jane.get("/alerts").status_code == 200
    place.server.request("DELETE", f"/api/v1/namespaces/{place.shop}/serviceaccounts/jane")

    def over() -> bool:
        place.now += TOKEN_SECONDS
        return bool(jane.get("/alerts").status_code == 401)

    # The API server itself remembers for ten seconds that the token was good.
    until(over, seconds=40, what="the end of the session", pause=0.5)


def test_a_token_that_the_cluster_does_not_know_opens_nothing(place: Place, world: Any) -> None:
    token = place.token(SEE)
    for wrong in (token[:-4], "x", token.replace(".", "")):
        assert world.visitor().post("/signin", data={"token": wrong}).status_code == 403
