"""Requests when the server is not well: what is tried again, and which error it is in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vedette_backends.cluster import kube_api
from vedette_backends.cluster.kube_api import Api, ExpiredError, Stream
from vedette_backends.cluster.kube_kinds import VALUES
from vedette_backends.errors import BackendError, ConflictError, NotFoundError, RefusedError, UnavailableError

PATH = "/api/v1/namespaces/a/configmaps"


def status(code: int, message: str = "because", **more: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": message, **more}


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_failure_that_passes_is_not_seen(api: Api, script: Any, code: int) -> None:
    script.then(code).then(code, Retry_After="1").then(200, {"a": 1})
    assert api.get(PATH) == {"a": 1}
    assert len(script.asked) == 3


def test_a_cut_connection_is_tried_again_when_that_does_no_harm(api: Api, script: Any) -> None:
    script.then(200, None).then(200, {"a": 1})
    assert api.request("PATCH", PATH, {"b": 2}) == {"a": 1}
    assert script.asked == [("PATCH", PATH, b'{"b":2}')] * 2


def test_what_must_happen_once_is_sent_once(api: Api, script: Any) -> None:
    for code, body in ((200, None), (500, "{}"), (503, "{}")):
        script.asked.clear()
        script.then(code, body)
        with pytest.raises(UnavailableError):
            api.request("POST", PATH, {}, repeatable=False)
        assert script.methods == ["POST"]


def test_too_many_requests_means_that_nothing_happened(api: Api, script: Any) -> None:
    script.then(429).then(200, {"a": 1})
    assert api.request("POST", PATH, {}, repeatable=False) == {"a": 1}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, RefusedError),
        (401, RefusedError),
        (403, RefusedError),
        (404, NotFoundError),
        (405, RefusedError),
        (409, ConflictError),
        (410, ExpiredError),
        (413, RefusedError),
        (422, RefusedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (599, UnavailableError),
        (302, RefusedError),
    ],
)
def test_a_refusal_says_what_the_server_says(api: Api, script: Any, code: int, error: type[BackendError]) -> None:
    for _ in range(3):
        script.then(code, status(code, "the reason"), Location="http://127.0.0.1:1/")
    with pytest.raises(BackendError, match="the reason") as raised:
        api.get(PATH)
    assert type(raised.value) is error


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"text"', '{"message": 5}', "null", "\u0000"])
def test_a_refusal_may_be_any_text(api: Api, script: Any, text: str) -> None:
    script.then(403, text)
    with pytest.raises(RefusedError):
        api.get(PATH)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"text"'])
def test_an_answer_that_is_no_object_is_no_answer(api: Api, script: Any, text: str) -> None:
    script.then(200, text)
    with pytest.raises(UnavailableError, match="answered with something"):
        api.get(PATH)


def test_a_server_of_another_history_asks_for_a_new_list(api: Api, script: Any) -> None:
    causes = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
    for _ in range(3):
        script.then(504, status(504, "Timeout: Too large resource version: 9, current: 5", details=causes))
    with pytest.raises(ExpiredError):
        api.get(PATH)


def test_a_server_that_says_nothing_is_unavailable(api: Api, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "READ_SECONDS", 0.05)
    for _ in range(3):
        script.then(200, ...)
    with pytest.raises(UnavailableError, match="timed out"):
        api.get(PATH)
    assert len(script.asked) == 3


def test_messages_are_bounded_and_show_no_token(api: Api, script: Any) -> None:
    script.then(403, status(403, "x" * 1_000_000))
    with pytest.raises(RefusedError) as raised:
        api.request("POST", PATH, {"spec": {"token": "secret"}})
    assert len(str(raised.value)) < 3000
    assert "secret" not in str(raised.value)


def test_after_closing_nothing_is_sent(api: Api, script: Any) -> None:
    api.close()
    with pytest.raises(UnavailableError, match="closed"):
        api.get(PATH)
    with pytest.raises(UnavailableError, match="closed"):
        api.stream(PATH, {}, 1)
    assert script.asked == []


def test_what_is_no_json_is_not_sent(api: Api, script: Any) -> None:
    for value in (2**70, "\ud800", {1: 2}, {"a": object()}):
        with pytest.raises(RefusedError, match="cannot be written as JSON"):
            api.request("POST", PATH, value)
    assert script.asked == []


def item(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a"}}


def test_a_list_that_took_too_long_begins_anew(api: Api, script: Any) -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [item("old")]}
    script.then(200, first).then(410, status(410))
    script.then(200, {"metadata": {"resourceVersion": "9"}, "items": [item("b"), item("a")]})
    assert [one["metadata"]["name"] for one in api.items(VALUES["ConfigMap"], "a")] == ["a", "b"]
    assert [path.partition("?")[2] for _, path, _ in script.asked] == [
        "limit=500",
        "continue=more&limit=500",
        "limit=500",
    ]


def test_a_list_that_always_takes_too_long_fails(api: Api, script: Any) -> None:
    for _ in range(3):
        script.then(410, status(410))
    with pytest.raises(ExpiredError):
        api.items(VALUES["ConfigMap"], "a")


class Chunks:
    """A body in pieces."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.status = 200
        self.headers: Mapping[str, str] = {}

    def read(self) -> bytes:
        return b"".join(self._chunks)

    def chunks(self) -> Any:
        return iter(self._chunks)

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_events_are_lines_however_they_are_cut() -> None:
    text = b'{"n":1}\n\n{"n":2}\n{"n":"\xc3\xbc"}\n{"n":4'
    wanted = [{"n": 1}, {"n": 2}, {"n": "ü"}]
    for size in (1, 2, 3, 7, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(Stream(Chunks(*pieces))) == wanted


def test_an_event_without_an_end_is_not_gathered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "_LINE_BYTES", 100)
    with pytest.raises(UnavailableError, match="more than 100 bytes"):
        list(Stream(Chunks(*[b"x" * 30] * 5)))


def test_an_event_that_is_no_json_ends_the_watch() -> None:
    with pytest.raises(UnavailableError):
        list(Stream(Chunks(b'{"n":1}\nno json\n')))
