from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FRAGMENTS = [
    b'{"create":{}}', b'{"index":{"_id":"x"}}', b'{"delete":{"_id":"x"}}', b'{"update":{}}', b'{"a":1}', b'{"a":[{}]}',
    b"\n", b"\r\n", b"[", b"]", b"{", b"}", b",", b'"', b":", b"\\", b"null", b"NaN", b"1e999", b"\xff", b"\x00",
    b"\xef\xbb\xbf", b" ", b'{"_id":1}', b"9" * 30, b'"\\ud800"', b"[[[[[[[[" * 10,
]  # fmt: skip
BODIES = st.binary(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)
PATHS = st.sampled_from(["/events", "/_bulk", "/logs/_bulk", "/logs/_doc", "/logs/_doc/id", "/logs/_create/é"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"content-type": st.sampled_from([b"application/json", b"text/plain", b"application/x-ndjson", b"\xff"]),
        b"content-encoding": st.sampled_from([b"gzip", b"deflate", b"identity", b"br", b""]),
        b"idempotency-key": st.binary(max_size=12).filter(lambda value: not set(value) & set(b"\r\n\0")),
        b"accept": st.sampled_from([b"application/vnd.elasticsearch+json; compatible-with=9", b"x;"]),
    },
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(body=BODIES, path=PATHS, headers=HEADERS, squeeze=st.booleans(), token=st.sampled_from(["web", "auth"]))
def test_any_bytes_get_an_answer_and_what_was_accepted_is_in_the_queue_exactly(
    client: Any, site: Any, *, body: bytes, path: str, headers: dict[bytes, bytes], squeeze: bool, token: str
) -> None:
    if squeeze:
        body = gzip.compress(body)
        headers = headers | {b"content-encoding": b"gzip"}
    sent = [*headers.items(), (b"authorization", f"Bearer {token}-token".encode())]
    response = client.request("POST", path, content=body, headers=sent)
    assert response.status_code in {200, 201, 400, 413, 415}, response.text
    told = orjson.loads(response.content)
    records = site.drain("shop", token)
    if response.status_code == 201:
        assert len(records) == 1
    elif response.status_code != 200:
        assert records == []
    elif "items" in told:
        good = [item for entry in told["items"] for item in entry.values() if item["status"] == 201]
        assert len(records) == len(good)
        assert told["errors"] == (len(good) < len(told["items"]))
    else:
        assert told["accepted"] == len(records)
    if token == "web" or path != "/events":
        assert all(type(orjson.loads(record.raw)) is dict for record in records)


@MANY
@given(query=st.text(max_size=40), path=st.text(max_size=40), method=st.sampled_from(["GET", "PUT", "POST", "HEAD"]))
def test_any_path_and_query_get_an_answer(client: Any, method: str, path: str, query: str) -> None:
    response = client.request(method, f"/{quote(path)}?filter_path={quote(query)}", content=b'{"create":{}}\n{}\n')
    assert response.status_code < 500


@MANY
@given(value=st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0")))
def test_any_authorization_is_refused_not_choked_on(client: Any, value: bytes) -> None:
    for scheme in (b"", b"Bearer ", b"Basic ", b"ApiKey "):
        headers = [(b"authorization", scheme + value)]
        assert client.request("POST", "/events", content=b"{}", headers=headers).status_code in {401, 429}
