"""The Python client of Elasticsearch and a sender in the manner of MozDef's, against a live gateway."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from elasticsearch import AuthenticationException, Elasticsearch, helpers

from vedette_engine.wire import ALONE, event_id


@pytest.fixture(params=["basic", "api key", "encoded api key", "bearer"])
def client(live: Any, request: pytest.FixtureRequest) -> Iterator[Elasticsearch]:
    encoded = base64.b64encode(f"id:{live.token}".encode()).decode()
    ways: dict[str, dict[str, Any]] = {
        "basic": {"basic_auth": ("anybody", live.token)},
        "api key": {"api_key": ("id", live.token)},
        "encoded api key": {"api_key": encoded},
        "bearer": {"bearer_auth": live.token},
    }
    with Elasticsearch(live.url, **ways[request.param]) as client:
        yield client


def test_bulk_helpers_deliver_every_document(client: Elasticsearch, live: Any) -> None:
    actions: list[dict[str, Any]] = [
        {"_op_type": "create", "_index": "logs", "_source": {"n": number}} for number in range(1200)
    ]
    assert helpers.bulk(client, actions, chunk_size=500) == (1200, [])
    assert [event["n"] for event in live.await_records(1200)] == list(range(1200))


def test_bulk_helpers_report_the_items_that_were_refused(client: Elasticsearch, live: Any) -> None:
    actions: list[dict[str, Any]] = [
        {"_index": "logs", "_id": "a", "n": 1},
        {"_op_type": "delete", "_index": "logs", "_id": "b"},
        {"_index": "logs", "_id": "c", "large": "x" * 300_000},
        {"_index": "logs", "_id": "d", "n": 2},
    ]
    good, bad = helpers.bulk(client, actions, raise_on_error=False)
    assert good == 2
    assert isinstance(bad, list)
    assert [next(iter(item.values()))["status"] for item in bad] == [400, 413]
    assert [event["n"] for event in live.await_records(2)] == [1, 2]
    assert live.records[0].id == event_id("shop", "web", "a", ALONE)


def test_a_gzip_client_asks_who_is_there_and_sends(live: Any) -> None:
    with Elasticsearch(live.url, basic_auth=("x", live.token), http_compress=True) as client:
        assert client.ping()
        assert client.info()["version"]["number"]
        assert client.cluster.health()["status"] == "green"
        assert client.indices.exists_index_template(name="logs")
        assert client.license.get()["license"]["status"] == "active"
        assert client.index(index="logs", document={"n": 1})["result"] == "created"
        assert client.create(index="logs", id="one/two", document={"n": 2})["_id"] == "one/two"
    assert [event["n"] for event in live.await_records(2)] == [1, 2]


def test_a_wrong_token_is_an_authentication_error(live: Any) -> None:
    with Elasticsearch(live.url, basic_auth=("x", "wrong")) as client, pytest.raises(AuthenticationException):
        client.info()


def test_a_mozdef_sender_delivers_single_events_and_bulks(live: Any) -> None:
    event = {"category": "authentication", "summary": "login", "severity": "INFO", "details": {"username": "bob"}}
    with httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {live.token}"}, trust_env=False) as client:
        assert client.get("/status").json()["status"] == "ok"
        assert client.post("/events", json=event).status_code == 200
        lines = b"".join(orjson.dumps(line) + b"\n" for line in [{"index": {"_index": "events"}}, event] * 3)
        assert client.post("/_bulk", content=lines).json()["errors"] is False
    assert live.await_records(4) == [event] * 4
