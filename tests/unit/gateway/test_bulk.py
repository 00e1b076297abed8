from __future__ import annotations

from typing import Any

import orjson
import pytest

from vedette_engine.wire import ALONE, event_id


def bulk(*lines: object) -> bytes:
    return b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + b"\n" for line in lines)


def test_documents_are_taken_and_every_item_is_answered_as_elasticsearch_does(client: Any, site: Any) -> None:
    body = bulk({"create": {"_index": "logs"}}, {"a": 1}, {"index": {"_id": "mine"}}, {"b": 2})
    response = client.post("/other/_bulk", body)
    assert response.status_code == 200
    assert response.headers["x-elastic-product"] == "Elasticsearch"
    told = response.json()
    assert told["errors"] is False
    create, index = told["items"][0]["create"], told["items"][1]["index"]
    assert (create["status"], create["result"], create["_index"]) == (201, "created", "logs")
    assert (index["status"], index["_id"], index["_index"]) == (201, "mine", "other")
    records = site.drain()
    assert [record.raw for record in records] == [b'{"a":1}', b'{"b":2}']
    assert records[0].id == create["_id"]
    assert records[1].id == event_id("shop", "web", "mine", ALONE)


def test_an_id_names_its_event_wherever_it_stands(client: Any, site: Any) -> None:
    one, two = ({"create": {"_id": "1"}}, {"a": 1}), ({"create": {"_id": "2"}}, {"a": 2})
    client.post("/_bulk", bulk(*one, *two))
    client.post("/_bulk", bulk(*two))
    first, second, again = site.drain()
    assert again.id == second.id != first.id


def test_an_idempotency_key_serves_items_without_an_id(client: Any, site: Any) -> None:
    body = bulk({"create": {}}, {"a": 1}, {"create": {"_id": "x"}}, {"a": 2}, {"create": {}}, {"a": 3})
    for _ in range(2):
        client.post("/_bulk", body, {"Idempotency-Key": "k"})
    ids = [record.id for record in site.drain()]
    expected = [("k", 0), ("x", ALONE), ("k", 2)]
    assert ids == [event_id("shop", "web", key, position) for key, position in expected] * 2


def test_a_bad_item_is_refused_for_itself(client: Any, site: Any) -> None:
    body = bulk(
        {"create": {}},
        {"good": 1},
        {"create": {}},
        b'{"bad":',
        {"index": {}},
        [1],
        {"update": {"_id": "u"}},
        {"doc": {}},
        {"delete": {"_id": "d"}},
        {"create": {}},
        {"large": "x" * 262_144},
        {"create": {"_id": ["list"]}},
        {"a": 1},
        {"create": {"_id": ""}},
        {"a": 1},
        {"create": {"_id": "é" * 257}},
        {"a": 1},
        {"create": {"_id": 17}},
        {"good": 2},
    )
    told = client.post("/_bulk", body).json()
    assert told["errors"] is True
    statuses = [next(iter(item.values()))["status"] for item in told["items"]]
    assert statuses == [201, 400, 400, 400, 400, 413, 400, 400, 400, 201]
    assert "line 4: not valid JSON" in told["items"][1]["create"]["error"]["reason"]
    assert told["items"][9]["create"]["_id"] == "17"
    assert [record.raw for record in site.drain()] == [b'{"good":1}', b'{"good":2}']
    assert client.gateway.metrics.get("rejected_events_total", "shop", "web") == 8


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(b"", "request body is required", id="empty"),
        pytest.param(b"\n \n", "request body is required", id="blank"),
        pytest.param(bulk({"create": {}}, {"a": 1}, b"nonsense", {"a": 2}), "line 3: not a bulk action", id="syntax"),
        pytest.param(bulk({"upsert": {}}, {}), "line 1: 'upsert' is not a bulk action", id="unknown action"),
        pytest.param(bulk({"create": {}, "index": {}}, {}), "line 1: a bulk action is an object", id="two actions"),
        pytest.param(bulk({"create": {"x": "x" * 16_384}}, {}), "line 1: an action line may have", id="long action"),
        pytest.param(bulk([], {}), "line 1: a bulk action is an object", id="array"),
        pytest.param(bulk({"create": 7}, {}), "line 1: 'create' is not", id="action without an object"),
        pytest.param(bulk({"create": {}}, {"a": 1}, {"create": {}}), "line 3: the last action has", id="no document"),
    ],
)
def test_broken_framing_refuses_the_whole_request_and_names_the_line(
    client: Any, site: Any, body: bytes, told: str
) -> None:
    response = client.post("/_bulk", body)
    assert response.status_code == 400
    answer = response.json()
    assert answer["status"] == 400
    assert told in answer["error"]["reason"]
    assert answer["error"]["root_cause"][0]["reason"] == answer["error"]["reason"]
    assert site.drain() == []


def test_too_many_items_are_413(site: Any) -> None:
    with site.client(max_events=2) as client:
        assert client.post("/_bulk", bulk({"create": {}}, {}) * 3).status_code == 413
    assert site.drain() == []


@pytest.mark.parametrize(
    ("filter_path", "expected"),
    [
        ("errors", {"errors": True}),
        (
            "errors,items.*.error,items.*.status",
            {
                "errors": True,
                "items": [
                    {"create": {"status": 201}},
                    {
                        "delete": {
                            "status": 400,
                            "error": {
                                "type": "illegal_argument_exception",
                                "reason": "events are never deleted by those who send them",
                            },
                        }
                    },
                ],
            },
        ),
        ("items.*._id", {"items": [{"create": {"_id": "x"}}, {"delete": {"_id": "y"}}]}),
        ("**.status", {"items": [{"create": {"status": 201}}, {"delete": {"status": 400}}]}),
        ("items.delete.status", {"items": [{"delete": {"status": 400}}]}),
        ("nothing", {}),
    ],
)
def test_shippers_are_told_only_what_they_ask_for(client: Any, filter_path: str, expected: dict[str, Any]) -> None:
    body = bulk({"create": {"_id": "x"}}, {"a": 1}, {"delete": {"_id": "y"}})
    assert client.request("POST", f"/_bulk?filter_path={filter_path}", content=body).json() == expected


@pytest.mark.parametrize("filter_path", ["-took", "", "a.b.c.d.e.f.g.h.i", ",".join("x" * 30), "*a" * 600])
def test_a_filter_that_is_not_supported_gives_the_whole_answer(client: Any, filter_path: str) -> None:
    told = client.request("POST", f"/_bulk?filter_path={filter_path}", content=bulk({"create": {}}, {"a": 1})).json()
    assert set(told) == {"errors", "took", "items"}


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", "/logs/_doc", ""),
        ("PUT", "/logs/_doc/one", "one"),
        ("POST", "/logs/_doc/one", "one"),
        ("PUT", "/logs/_create/a%2Fb", "a/b"),
        ("POST", "/system/events", ""),
    ],
)
def test_one_document_may_be_sent_by_itself(client: Any, site: Any, method: str, path: str, key: str) -> None:
    response = client.request(method, path, content=b'{"a":1}')
    assert response.status_code == 201
    told = response.json()
    (record,) = site.drain()
    assert record.raw == b'{"a":1}'
    assert told["_id"] == (key or record.id)
    assert told["result"] == "created"
    if key:
        assert record.id == event_id("shop", "web", key, ALONE)


@pytest.mark.parametrize(
    ("content", "status"), [(b"[]", 400), (b"", 400), (b'{"a":"%s"}' % (b"x" * 262_144), 413), (b"{}{}", 400)]
)
def test_one_bad_document_is_refused(client: Any, site: Any, content: bytes, status: int) -> None:
    response = client.post("/logs/_doc", content)
    assert response.status_code == status
    assert response.json()["status"] == status
    assert site.drain() == []
