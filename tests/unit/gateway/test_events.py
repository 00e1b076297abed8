from __future__ import annotations

import gzip
import zlib
from typing import Any

import orjson
import pytest

from vedette_engine.wire import event_id


def raws(records: list[Any]) -> list[bytes]:
    return [record.raw for record in records]


@pytest.mark.parametrize(
    ("body", "records"),
    [
        pytest.param(b'{"a":1}', [b'{"a":1}'], id="an object"),
        pytest.param(b' {"a": 1}\n', [b' {"a": 1}'], id="an object with white space"),
        pytest.param(b'{\n  "a": [\n1]\n}\n', [b'{   "a": [ 1] } '], id="an object over several lines"),
        pytest.param(b'{"a":{}\n,"b":1}', [b'{"a":{} ,"b":1}'], id="an object whose first line ends with a brace"),
        pytest.param(b'[{"a": 1}, {"b": "\xc3\xa9"}]', [b'{"a":1}', b'{"b":"\xc3\xa9"}'], id="an array"),
        pytest.param(b'\n [\n{"a": 1}\n]', [b'{"a":1}'], id="an array over several lines"),
        pytest.param(b"[]", [], id="an empty array"),
        pytest.param(b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="NDJSON"),
        pytest.param(b'{"a":1}\r\n\n  \r\n{"b":2}', [b'{"a":1}\r', b'{"b":2}'], id="NDJSON with blank lines"),
        pytest.param(b'{"n":123456789012345678901234567890}', [b'{"n":123456789012345678901234567890}'], id="huge int"),
        pytest.param(b'{"a":1,"a":2,"__proto__":{},"":0}', [b'{"a":1,"a":2,"__proto__":{},"":0}'], id="odd names"),
    ],
)
def test_events_come_as_an_object_an_array_or_ndjson(client: Any, site: Any, body: bytes, records: list[bytes]) -> None:
    response = client.post("/events", body)
    assert response.status_code == 200, response.text
    assert response.json() == {"status": "ok", "accepted": len(records)}
    assert raws(site.drain()) == records


@pytest.mark.parametrize("path", ["/events", "/events/"])
def test_mozdef_senders_find_their_route(client: Any, site: Any, path: str) -> None:
    event = {"category": "syslog", "summary": "hello", "severity": "INFO", "tags": ["a"], "details": {"b": 1}}
    assert client.post(path, orjson.dumps(event)).status_code == 200
    assert [orjson.loads(raw) for raw in raws(site.drain())] == [event]


@pytest.mark.parametrize("members", [1, 3])
def test_a_gzip_body_may_have_several_members(client: Any, site: Any, members: int) -> None:
    body = b"".join(gzip.compress(b'{"a":%d}\n' % number) for number in range(members))
    assert client.post("/events", body, {"Content-Encoding": "gzip"}).status_code == 200
    assert raws(site.drain()) == [b'{"a":%d}' % number for number in range(members)]


def test_deflate_is_read_too(client: Any, site: Any) -> None:
    assert client.post("/events", zlib.compress(b'{"a":1}'), {"Content-Encoding": "deflate"}).status_code == 200
    assert raws(site.drain()) == [b'{"a":1}']


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(b'{"a":1}\n{"b":}\n{"c":3}', "line 2: not valid JSON", id="syntax"),
        pytest.param(b'{"a":1}\n\n[1]\n', "line 3: must be a JSON object, not an array", id="not an object"),
        pytest.param(b'{"a":NaN}', "line 1: not valid JSON", id="NaN"),
        pytest.param(b'{"a":1e999}', "line 1: not valid JSON", id="infinity"),
        pytest.param(b'{"a":"\xff"}', "line 1: not valid JSON", id="invalid UTF-8"),
        pytest.param(b'{"a":"\\ud800"}', "line 1: not valid JSON", id="lone surrogate"),
        pytest.param(b'{"a":1}{"b":2}', "line 1: not valid JSON", id="two objects on a line"),
        pytest.param(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "line 1: nested deeper than 64 levels", id="deep"),
        pytest.param(b"[" * 3000, "line 1: not valid JSON", id="deeper than the decoder goes"),
        pytest.param(b'[{"a":1},\n{"b":}]', "line 2: not valid JSON", id="syntax in an array"),
        pytest.param(b'[{"a":1}, null]', "item 2: must be a JSON object, not null", id="null in an array"),
        pytest.param(b'[{"a":' + b"[" * 64 + b"]" * 64 + b"}]", "item 1: nested deeper", id="deep in an array"),
        pytest.param(b"", "the body holds no event", id="empty"),
        pytest.param(b" \n ", "the body holds no event", id="blank"),
        pytest.param(b"hello", "line 1: not valid JSON", id="text"),
    ],
)
def test_a_bad_body_is_refused_whole_and_the_answer_names_the_line(
    client: Any, site: Any, body: bytes, told: str
) -> None:
    response = client.post("/events", body)
    assert response.status_code == 400
    assert told in response.json()["error"]
    assert site.drain() == []


def test_the_first_twenty_problems_are_told_and_the_others_counted(client: Any) -> None:
    response = client.post("/events", b'{"a":1}\n' + b"nonsense\n" * 100)
    problems = response.json()["problems"]
    assert len(problems) == 21
    assert problems[0].startswith("line 2: ")
    assert problems[-1] == "and 80 more"


def test_sixty_four_levels_are_not_too_deep(client: Any, site: Any) -> None:
    body = b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"
    assert client.post("/events", body).status_code == 200
    assert raws(site.drain()) == [body]


@pytest.mark.parametrize("body", [b'{"a":"%s"}', b'[{"a":"%s"}]', b'{"b":1}\n{"a":"%s"}'])
def test_an_event_beyond_its_size_is_413_and_nothing_is_taken(client: Any, site: Any, body: bytes) -> None:
    response = client.post("/events", body % (b"x" * 262_144))
    assert response.status_code == 413
    assert "may have 262144 bytes" in response.json()["error"]
    assert site.drain() == []


def test_an_event_larger_than_a_message_goes_alone(site: Any) -> None:
    with site.client() as client:
        source = client.gateway._table.sources()[0]
        large = source.limits.model_copy(update={"max_event_bytes": 3 << 20})
        table = client.gateway._table
        table._by_digest = {
            key: type(each)(each.namespace, each.name, each.text, each.queue, large)
            for key, each in table._by_digest.items()
        }
        body = b'{"small":1}\n{"a":"' + b"x" * (2 << 20) + b'"}\n{"small":2}'
        assert client.post("/events", body).status_code == 200
    assert raws(site.drain()) == body.split(b"\n")


@pytest.mark.parametrize(
    ("settings", "body", "headers"),
    [
        pytest.param({"max_request": 10}, b'{"a":"0123456789"}', {}, id="request"),
        pytest.param({"max_inflated": 1000}, gzip.compress(b" " * 100_000), {"Content-Encoding": "gzip"}, id="bomb"),
        pytest.param({"max_events": 2}, b"{}\n{}\n{}", {}, id="events"),
        pytest.param({"max_events": 2}, b"[{},{},{}]", {}, id="events in an array"),
        pytest.param({"max_events": 2}, b"\n\n\n\n\n\n\n\n{}", {}, id="lines"),
        pytest.param({"max_values": 3}, b'[{"a":[1,2,3,4,5]}]', {}, id="values"),
    ],
)
def test_a_request_beyond_a_limit_is_413(
    site: Any, settings: dict[str, int], body: bytes, headers: dict[str, str]
) -> None:
    with site.client(**settings) as client:
        assert client.post("/events", body, headers).status_code == 413
        assert client.gateway._in_flight.total == 0
    assert site.drain() == []


@pytest.mark.parametrize(
    "body",
    [b"no gzip", b"", gzip.compress(b'{"a":1}')[:-9], gzip.compress(b"{}") + b"junk", gzip.compress(b"") * 1001],
    ids=["not gzip", "empty", "cut off", "junk behind", "too many members"],
)
def test_a_broken_gzip_body_is_400(client: Any, body: bytes) -> None:
    response = client.post("/events", body, {"Content-Encoding": "gzip"})
    assert response.status_code == 400, response.text


def test_an_unknown_content_encoding_is_415(client: Any) -> None:
    assert client.post("/events", b"{}", {"Content-Encoding": "br"}).status_code == 415


def test_lines_of_a_text_source_are_kept_byte_for_byte(site: Any) -> None:
    lines = [b"Nov 22 10:00:00 web1 sshd[1]: Failed password", b"\xff\xfe not UTF-8", b"nul \x00 inside", b'{"a":1}']
    with site.client("auth-token") as client:
        body = b"\r\n".join(lines) + b"\n\n"
        assert client.post("/events", body, {"Content-Type": "text/plain"}).json()["accepted"] == 4
        assert raws(site.drain("shop", "auth")) == lines
        too_long = client.post("/events", b"ok\n" + b"x" * 1001)
        assert too_long.status_code == 413
        assert too_long.json()["error"].startswith("line 2: ")


def test_a_text_source_may_be_sent_objects_that_are_declared_as_json(site: Any) -> None:
    with site.client("auth-token") as client:
        body = b'{"message":"Nov 22 10:00:00 web1 sshd[1]: Failed password"}'
        assert client.post("/events", body, {"Content-Type": "application/json"}).status_code == 200
        assert client.post("/events", b"a line", {"Content-Type": "application/json"}).status_code == 400
    assert raws(site.drain("shop", "auth")) == [body]


def test_a_keyed_request_repeated_has_the_same_ids_however_it_is_batched(client: Any, site: Any) -> None:
    body = b'{"a":1}\n' * 700
    client.post("/events", b"{}\n" * 3, {"Idempotency-Key": "another"})
    for _ in range(2):
        assert client.post("/events", body, {"Idempotency-Key": "batch-7"}).status_code == 200
    records = site.drain()[3:]
    ids = [event_id("shop", "web", "batch-7", position) for position in range(700)]
    assert [record.id for record in records] == ids * 2
    assert all(record.keyed for record in records)


def test_a_thousand_pairs_of_equal_events_without_a_key_are_two_thousand(client: Any, site: Any) -> None:
    body = b"".join(b'{"pair":%d}\n' % (number // 2) for number in range(2000))
    assert client.post("/events", body).json()["accepted"] == 2000
    assert client.post("/events", body).json()["accepted"] == 2000
    records = site.drain()
    assert len({record.id for record in records}) == 4000
    assert not any(record.keyed for record in records)


@pytest.mark.parametrize("key", ["", "x" * 256, "with blank", "é"])
def test_an_idempotency_key_must_be_short_visible_ascii(client: Any, key: str) -> None:
    response = client.request("POST", "/events", content=b"{}", headers=[(b"idempotency-key", key.encode("latin-1"))])
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["error"]


def test_what_a_client_says_about_ingestion_does_not_reach_the_headers(client: Any, site: Any) -> None:
    client.post("/events", b'{"event.ingested":"1970-01-01T00:00:00Z","vedette.source":"other"}')
    broker = site.broker("shop")
    consumer = broker.consume(["events.web"], prefetch=10)
    (delivery,) = consumer.fetch(10, 1)
    assert delivery.headers["source"] == "web"
    assert int(delivery.headers["ingested"]) > 1_700_000_000_000
    consumer.close()
    broker.close()
