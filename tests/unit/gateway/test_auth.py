from __future__ import annotations

import base64
import logging
from typing import Any

import pytest

from vedette_workers.gateway.sources import SourceTable


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("Bearer web-token", id="bearer"),
        pytest.param("bearer   web-token", id="bearer in lower case"),
        pytest.param(f"Basic {b64('anybody:web-token')}", id="basic password"),
        pytest.param(f"Basic {b64(':web-token')}", id="basic password without a user"),
        pytest.param(f"ApiKey {b64('id:web-token')}", id="API key, encoded"),
        pytest.param("ApiKey web-token", id="API key, raw"),
        pytest.param("ApiKey id:web-token", id="API key, raw with its id"),
    ],
)
def test_a_token_is_accepted_in_every_form_that_shippers_have(site: Any, authorization: str) -> None:
    with site.client("") as client:
        response = client.post("/events", b"{}", {"Authorization": authorization})
    assert response.status_code == 200
    assert len(site.drain()) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer web-token-and-more",
        "Digest web-token",
        "web-token",
        "Basic web-token",
        f"Basic {b64('web-token')}",
        f"Basic {b64('web-token:')}",
        "Basic !!!",
        f"ApiKey {b64('web-token:')}",
        "Bearer " + "x" * 5000,
        "Bearer \x80\xff",
    ],
)
@pytest.mark.parametrize("path", ["/events", "/_bulk", "/logs/_doc"])
def test_without_a_valid_token_nothing_is_taken(site: Any, authorization: str, path: str) -> None:
    with site.client("") as client:
        headers = [(b"authorization", authorization.encode("latin-1"))]
        response = client.request("POST", path, content=b"{}", headers=headers)
    assert response.status_code == 401
    assert "Bearer" in response.headers["www-authenticate"]
    assert site.drain() == []


def test_the_token_decides_the_namespace_and_the_source(site: Any) -> None:
    with site.client("slow-token") as client:
        client.post("/shop-index/_doc", b'{"a":1}')
    assert site.drain() == []
    assert [record.raw for record in site.drain("bank", "slow")] == [b'{"a":1}']


def test_guessing_from_one_address_is_slowed_down_and_known_senders_are_not(site: Any) -> None:
    with site.client("", failures=3, failure_interval=1000) as client:
        known = {"Authorization": "Bearer web-token"}
        assert client.post("/events", b"{}", known).status_code == 200
        guesses = [client.post("/events", b"{}", {"Authorization": f"Bearer {n}"}) for n in range(5)]
        assert [guess.status_code for guess in guesses] == [401, 401, 401, 429, 429]
        assert int(guesses[-1].headers["retry-after"]) > 0
        # A right guess is not told from a wrong one now, but who was here before goes on.
        assert client.post("/events", b"{}", {"Authorization": "Bearer auth-token"}).status_code == 429
        assert client.post("/events", b"{}", known).status_code == 200
        assert client.gateway.metrics.get("authentication_failures_total") == 6


def test_no_token_reaches_the_log(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), site.client("") as client:
        client.post("/events", b"{}", {"Authorization": "Bearer web-token"})
        client.post("/events", b"nonsense", {"Authorization": "Bearer web-token"})
        client.post("/events", b"{}", {"Authorization": "Bearer a-wrong-secret"})
        text = client.get("/metrics").text
    assert "web-token" not in caplog.text + text
    assert "a-wrong-secret" not in caplog.text + text


def test_before_the_first_bundle_senders_are_asked_to_come_back_instead_of_being_sent_away(client: Any) -> None:
    known = client.gateway._table
    client.gateway.swap(SourceTable())
    answer = client.post("/events", b'{"message": "hello"}')
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    client.gateway.swap(known)
    assert client.post("/events", b'{"message": "hello"}').status_code == 200
