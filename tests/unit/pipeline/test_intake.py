"""From deliveries to records. Nothing that a foreign publisher writes passes for a message of ours."""

from __future__ import annotations

import contextlib
import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pipeline.foreign import foreign

from vedette_backends.broker.protocol import Delivery
from vedette_backends.store.protocol import DeadLetter
from vedette_engine.normalise.errors import Malformed
from vedette_engine.wire import ALONE, Run, WireError, encode, event_id, is_content_key
from vedette_workers.pipeline import intake
from vedette_workers.pipeline.compression import decompress
from vedette_workers.pipeline.effects import CUT, MAX_KEPT, Arrival

NOW = 1_795_000_000_000
OURS = encode(source="other", ingested=1, kind="json", records=[b"{}", b"{}"], runs=[Run(2, "k", 0, keyed=True)])
names = st.text("abcdefghijklmnopqrstuvwxyz-._", max_size=12)


def one(delivery: Delivery) -> tuple[Any, Arrival]:
    arrived = intake.read("shop", delivery, NOW)
    (record,) = arrived.records
    return record, arrived.arrival


def test_a_foreign_message_is_one_event_of_the_queue_s_source_that_arrives_now() -> None:
    record, arrival = one(foreign(b'{"a":1}', message_id="m1"))
    assert (record.raw, record.position, record.keyed) == (b'{"a":1}', ALONE, True)
    assert (arrival.source, arrival.ingested, arrival.attempt) == ("app", NOW, "")
    assert not is_content_key(record.key)


@given(st.dictionaries(names, st.text(max_size=20), max_size=6), st.binary(max_size=200))
def test_whatever_headers_it_has_a_foreign_message_stays_foreign(headers: dict[str, str], body: bytes) -> None:
    plain, _ = one(foreign(body))
    claimed = {name: value for name, value in {**OURS[1], **headers}.items() if not name.startswith("amqp.")}
    record, arrival = one(foreign(body, headers={**claimed, "attempt": "x", "encoding": "gzip"}))
    assert record == plain
    assert (arrival.source, arrival.ingested, arrival.attempt, arrival.encoding) == ("app", NOW, "", "")


def test_a_copy_of_one_of_our_messages_is_one_event_when_a_foreign_publisher_sends_it() -> None:
    body, headers = OURS
    record, arrival = one(foreign(body, headers=headers))
    assert record.raw == body
    assert arrival.source == "app"


@given(st.text(min_size=1, max_size=50), st.binary(max_size=50), st.text(max_size=12))
def test_the_message_id_decides_where_there_is_one(message_id: str, body: bytes, timestamp: str) -> None:
    record, _ = one(foreign(body, message_id=message_id, timestamp=timestamp))
    again, _ = one(foreign(body + b"x", message_id=message_id, timestamp=timestamp + "1"))
    assert record.id == again.id


@given(st.tuples(st.binary(max_size=30), st.text(max_size=12)), st.tuples(st.binary(max_size=30), st.text(max_size=12)))
def test_without_an_id_equal_content_and_time_are_one_event_and_nothing_else(
    first: tuple[bytes, str], second: tuple[bytes, str]
) -> None:
    record, _ = one(foreign(first[0], timestamp=first[1]))
    other, _ = one(foreign(second[0], timestamp=second[1]))
    assert (record.id == other.id) == (first == second)
    assert is_content_key(record.key)


def test_no_message_id_meets_another_event_s_identity() -> None:
    by_content, _ = one(foreign(b"{}"))
    imitated, _ = one(foreign(b"x", message_id=by_content.key))
    assert imitated.id != by_content.id
    assert not is_content_key(imitated.key)
    ours = event_id("shop", "app", "k", ALONE)
    assert one(foreign(b"{}", message_id="k"))[0].id != ours


def test_our_own_messages_are_read_as_before() -> None:
    body, headers = OURS
    arrived = intake.read("shop", Delivery(1, "events.other", body, headers, 1, redelivered=True), NOW)
    assert (arrived.arrival.ingested, arrived.arrival.repeat, len(arrived.records)) == (1, True, 2)
    with pytest.raises(WireError):
        intake.read("shop", Delivery(1, "events.other", b"{}", {}, 1, redelivered=False), NOW)


# content encodings --------------------------------------------------------------------------------------------------
def read(delivery: Delivery, limit: int = 100) -> tuple[list[bytes], list[DeadLetter]]:
    letters: list[DeadLetter] = []
    arrived = intake.plain(intake.read("shop", delivery, NOW), lambda _: limit, letters)
    return [record.raw for record in arrived.records], letters


@pytest.mark.parametrize("encoding", ["", "utf-8", "UTF-8", "identity", "binary"])
def test_a_charset_is_no_compression(encoding: str) -> None:
    assert read(foreign(b"{}", content_encoding=encoding)) == ([b"{}"], [])


@given(st.binary(max_size=300), st.integers(1, 3))
def test_gzip_is_decompressed(body: bytes, parts: int) -> None:
    packed = b"".join(gzip.compress(body[index::parts]) for index in range(parts))
    unpacked = b"".join(body[index::parts] for index in range(parts))
    assert decompress(packed, "GZip", 300) == unpacked


@given(st.binary(max_size=100), st.integers(0, 2000))
def test_never_more_is_made_than_the_source_allows(body: bytes, limit: int) -> None:
    packed, size = gzip.compress(body * 20), 20 * len(body)
    if size <= limit:
        assert len(decompress(packed, "gzip", limit)) == size
        return
    with pytest.raises(Malformed, match="more than"):
        decompress(packed, "gzip", limit)


def test_a_bomb_is_a_dead_letter_that_holds_it_as_it_came() -> None:
    bomb = gzip.compress(bytes(10 << 20))
    records, (letter,) = read(foreign(bomb, content_encoding="gzip"))
    assert records == []
    assert (letter.reason, letter.original, letter.headers["encoding"]) == ("TooLarge", bomb, "gzip")


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"{}", "gzip", "MalformedEncoding"),
        (gzip.compress(b"{}")[:-3], "gzip", "MalformedEncoding"),
        (gzip.compress(b"{}") + b"x", "gzip", "MalformedEncoding"),
        (gzip.compress(b"") * 70, "gzip", "MalformedEncoding"),
        (b"{}", "br", "UnsupportedEncoding"),
        (b"{}", "x" * 5000, "UnsupportedEncoding"),
    ],
    ids=["not gzip", "cut", "more behind", "many streams", "brotli", "long name"],
)
def test_what_cannot_be_decompressed_is_a_dead_letter(body: bytes, encoding: str, reason: str) -> None:
    records, (letter,) = read(foreign(body, content_encoding=encoding))
    assert records == []
    assert letter.reason == reason
    assert len(letter.detail) < 300


@given(st.binary(max_size=100), names)
def test_any_bytes_in_any_encoding_are_a_record_or_malformed(body: bytes, encoding: str) -> None:
    with contextlib.suppress(Malformed):
        assert decompress(body, encoding, 1000) == body


def test_what_no_store_takes_in_one_piece_is_cut_and_the_letter_says_so() -> None:
    record, arrival = one(foreign(bytes(MAX_KEPT + 7)))
    letter = arrival.letter(record, "TooLarge", "too large")
    assert len(letter.original) == MAX_KEPT
    assert letter.headers[CUT] == str(MAX_KEPT + 7)
    assert str(MAX_KEPT) in letter.detail
