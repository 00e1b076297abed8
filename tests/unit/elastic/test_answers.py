"""What answers of Elasticsearch mean: written down as it gives them, because most are hard to come by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_backends.store.elastic_bulk import bulk
from vedette_backends.store.elastic_http import READ_SECONDS, Answer, problem
from vedette_backends.store.elastic_indices import Indices
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_search import search
from vedette_backends.store.elastic_writer import EventWriter
from vedette_backends.store.protocol import NewEvent, Outcome
from vedette_engine.query.tree import QueryError

T0 = 1_795_348_800_000


def told(status: int, body: Any) -> Answer:
    return Answer(status, orjson.dumps(body))


def error(status: int, kind: str, reason: str = "because") -> Answer:
    return told(status, {"error": {"type": kind, "reason": reason}, "status": status})


@dataclass
class Recorded:
    """Gives recorded answers; `answer` makes one of a request."""

    answer: Callable[[str, str, bytes], Answer]
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    def call(
        self, method: str, target: str, body: bytes | None = None, *, seconds: float = READ_SECONDS, once: bool = False
    ) -> Answer:
        assert seconds > 0
        assert once in {True, False}
        self.asked.append((method, target, body or b""))
        return self.answer(method, target, body or b"")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(429, "es_rejected_execution_exception"), UnavailableError),
        (error(429, "circuit_breaking_exception"), UnavailableError),
        (error(503, "cluster_block_exception", "state not recovered"), UnavailableError),
        (error(503, "unavailable_shards_exception"), UnavailableError),
        (Answer(502, b"<html>Bad Gateway</html>"), UnavailableError),
        (Answer(504, b""), UnavailableError),
        (error(429, "cluster_block_exception", "disk usage exceeded flood-stage watermark"), RefusedError),
        (error(403, "cluster_block_exception", "index read-only"), RefusedError),
        (error(401, "security_exception"), RefusedError),
        (error(403, "security_exception"), RefusedError),
        (error(404, "index_not_found_exception"), RefusedError),
        (error(400, "validation_exception", "maximum normal shards open"), RefusedError),
        (told(400, {"error": "a text"}), RefusedError),
    ],
)
def test_an_answer_becomes_an_error_that_says_whether_to_try_again(
    answer: Answer, expected: type[BackendError]
) -> None:
    made = problem(answer)
    assert type(made) is expected
    assert str(answer.status) in str(made)


def items(*told_items: dict[str, Any]) -> Answer:
    return told(200, {"errors": True, "items": [{"create": item} for item in told_items]})


def failed(status: int, kind: str, reason: str = "because") -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def writer(answer: Callable[[str, str, bytes], Answer]) -> tuple[EventWriter, Recorded]:
    def whole(method: str, target: str, body: bytes) -> Answer:
        if "/_mapping" in target:
            index = target.split("/")[1]
            return told(200, {index: {"mappings": {"_meta": {"managed_by": "vedette"}}}})
        return answer(method, target, body)

    api = Recorded(whole)
    return EventWriter(api, Names("shop"), Indices(api), lambda: T0), api


def events(count: int) -> list[NewEvent]:
    return [NewEvent(f"{n:032x}", T0, T0, f"h{n}", {"event.code": "x" * 100}) for n in range(count)]


def create(count: int, answer: Callable[[str, str, bytes], Answer]) -> list[tuple[Outcome, str]]:
    made = writer(answer)[0].create("30d", events(count))
    return [(result.outcome, result.reason) for result in made]


def test_faults_of_a_document_reject_it_and_no_other() -> None:
    answer = items(
        {"status": 201},
        failed(400, "document_parsing_exception", "no date"),
        failed(400, "illegal_argument_exception", "Document contains at least one immense term in field=…"),
        {"status": 201},
    )
    found = create(4, lambda *_: answer)
    assert [outcome.name for outcome, _ in found] == ["CREATED", "REJECTED", "REJECTED", "CREATED"]
    assert "no date" in found[1][1]
    assert "immense" in found[2][1]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (failed(429, "es_rejected_execution_exception"), UnavailableError),
        (failed(503, "unavailable_shards_exception"), UnavailableError),
        (failed(403, "cluster_block_exception"), RefusedError),
        (failed(404, "index_not_found_exception"), RefusedError),
        (failed(400, "validation_exception", "this action would add [2] shards"), RefusedError),
        (failed(400, "illegal_argument_exception", "something of ours"), RefusedError),
    ],
)
def test_a_fault_of_the_server_is_never_the_events(item: dict[str, Any], expected: type[BackendError]) -> None:
    with pytest.raises(expected):
        create(2, lambda *_: items({"status": 201}, item))


def test_a_request_that_is_too_large_is_halved_until_it_fits() -> None:
    def answer(_method: str, _target: str, body: bytes) -> Answer:
        lines = body.splitlines()
        if len(lines) > 4:
            return Answer(413, b"")
        return items(*[{"status": 201}] * (len(lines) // 2))

    assert [outcome for outcome, _ in create(7, answer)] == [Outcome.CREATED] * 7


def test_an_event_that_is_too_large_by_itself_is_rejected() -> None:
    found = create(2, lambda *_: Answer(413, b""))
    assert [outcome for outcome, _ in found] == [Outcome.REJECTED] * 2
    assert "larger" in found[0][1]


def test_an_answer_for_another_number_of_items_is_not_believed() -> None:
    with pytest.raises(UnavailableError):
        create(3, lambda *_: items({"status": 201}))


def test_an_answer_without_json_is_not_believed() -> None:
    with pytest.raises(UnavailableError):
        create(1, lambda *_: Answer(200, b"<html>"))


def test_large_calls_go_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette_backends.store.elastic_bulk.MAX_BODY", 250)
    api = Recorded(lambda _m, _t, body: items(*[{"status": 201}] * body.count(b"\n")))
    assert len(bulk(api, "x", [b"a" * 99 + b"\n"] * 5)) == 5
    assert [len(body) for _, _, body in api.asked] == [200, 200, 100]


def test_one_line_that_is_longer_than_a_request_still_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette_backends.store.elastic_bulk.MAX_BODY", 10)
    api = Recorded(lambda _m, _t, body: items(*[{"status": 201}] * body.count(b"\n")))
    assert len(bulk(api, "x", [b"a" * 99 + b"\n", b"b\n", b"c\n"])) == 3
    assert len(api.asked) == 2


def test_an_event_says_when_the_request_was_sent_that_stored_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette_backends.store.elastic_bulk.MAX_BODY", 2000)
    now = T0
    stamps: list[tuple[int, int]] = []

    def answer(_method: str, target: str, body: bytes) -> Answer:
        nonlocal now
        if "/_mapping" in target:
            return told(200, {target.split("/")[1]: {"mappings": {"_meta": {"managed_by": "vedette"}}}})
        lines = body.splitlines()
        stamps.extend((orjson.loads(line)["vedette.stored"], now) for line in lines[1::2])
        now += 20_000
        return Answer(413, b"") if len(lines) > 6 else items(*[{"status": 201}] * (len(lines) // 2))

    api = Recorded(answer)
    EventWriter(api, Names("shop"), Indices(api), lambda: now).create("30d", events(12))
    assert len(stamps) > 12
    assert all(stamp == sent for stamp, sent in stamps)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (error(400, "query_shard_exception", "Determinizing automaton with 21 states would require"), "shorten"),
        (error(400, "query_shard_exception", "The length of regex [20000]"), "shorten"),
        (error(400, "too_many_nested_clauses", "too many clauses"), "too large"),
        (error(400, "illegal_argument_exception", "The nested depth of the query exceeds"), "too deeply"),
        (error(400, "too_many_buckets_exception", "Trying to create too many buckets"), "fewer"),
    ],
)
def test_a_question_that_is_too_much_is_the_askers(answer: Answer, match: str) -> None:
    with pytest.raises(QueryError, match=match):
        search(Recorded(lambda *_: answer), "x", {})


def test_a_search_waits_for_an_index_that_is_being_made() -> None:
    answers: Sequence[Answer] = [error(503, "no_shard_available_action_exception"), told(200, {"hits": {}})]
    api = Recorded(lambda *_: answers[len(api.asked) - 1])
    assert search(api, "x", {}) == {"hits": {}}
