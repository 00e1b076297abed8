"""What of an event goes to Elasticsearch, and that it comes back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.store import elastic_documents as documents
from vedette_backends.store.protocol import NewEvent
from vedette_engine.query.fields import WORD_CHARACTERS
from vedette_engine.query.values import words

T0 = 1_795_348_800_000

values = st.one_of(
    st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
leaf = st.one_of(values, st.lists(values, max_size=3))
some_documents = st.fixed_dictionaries(
    {},
    optional={
        "host.name": st.text(),
        "tags": st.lists(st.text(), max_size=3),
        "message": st.text(),
        "source.port": st.integers(0, 65535),
        "vedette.other": st.dictionaries(st.text(), leaf, max_size=4),
    },
)


def event(document: dict[str, Any], **changes: Any) -> NewEvent:
    return NewEvent(**{"id": "0" * 31 + "a", "ingested": T0, "time": T0, "hash": "h", "document": document, **changes})


def source_of(document: dict[str, Any]) -> dict[str, Any]:
    action, source, end = documents.encode_event(event(document), T0 + 5).split(b"\n")
    assert orjson.loads(action) == {"create": {"_id": "0" * 31 + "a"}}
    assert end == b""
    loaded: dict[str, Any] = orjson.loads(source)
    return loaded


@given(some_documents)
def test_a_document_comes_back_as_it_was(document: dict[str, Any]) -> None:
    found = documents.read_event("a", source_of(document))
    assert found.document == document
    assert list(found.document) == list(document)
    assert (found.time, found.ingested) == (T0, T0)


@given(some_documents)
def test_no_name_stands_twice_in_a_document(document: dict[str, Any]) -> None:
    line = documents.encode_event(event(document), T0).split(b"\n")[1]
    source = orjson.loads(line)
    # Names come back once each, so the document is as long as its parts.
    assert len(orjson.dumps(source)) == len(line)


@given(some_documents, st.integers(0, 2**53))
def test_a_line_that_is_stamped_again_is_as_if_it_had_been_made_then(document: dict[str, Any], stored: int) -> None:
    made = documents.encode_event(event(document), T0)
    assert documents.restamped([made], stored) == [documents.encode_event(event(document), stored)]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_words_are_those_of_the_specification(texts: list[str]) -> None:
    found = documents.words_of(texts).decode().split(" - ")
    assert [part.split() for part in found] == [words(text[:WORD_CHARACTERS]) for text in texts]


@given(st.text())
def test_a_phrase_is_looked_for_by_the_words_that_were_indexed(text: str) -> None:
    assert documents.phrase_of(text).split() == words(text)
    assert documents.words_of([text]).decode().split() == words(text)


def test_a_value_cannot_fake_the_mark_between_values() -> None:
    assert documents.words_of(["a\x1fb", "c"]).decode().split(" - ") == ["a b", "c"]
    assert documents.words_of(["a - b"]).split() == [b"a", b"b"]


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_the_halves_of_ids_order_as_the_ids_do(first: int, second: int) -> None:
    one, other = f"{first:032x}", f"{second:032x}"
    assert (documents.halves(one) < documents.halves(other)) == (one < other)


def test_words_of_messages_stand_apart() -> None:
    source = source_of({"message": "Failed login", "host.name": "web1", "error.message": "no"})
    assert source["vedette.words"] == "web1"
    assert source["vedette.words.message"] == "failed login"
    assert source["vedette.words.error.message"] == "no"


def test_what_is_below_other_is_found_by_name_and_value() -> None:
    source = source_of({"vedette.other": {"a.b": ["x", 5, True, 1e300], "c": "d"}})
    assert source["vedette.kv"] == ["a.b\0x", "a.b\x005", "a.b\0true", "a.b\x001e+300", "c\0d"]
    assert source["vedette.words"].split() == ["x", "-", "5", "-", "d"]


def test_long_values_have_digests_and_very_long_ones_are_said_to_exist() -> None:
    source = source_of({"host.name": "x" * 1001, "user.name": "Y" * 8001, "vedette.other": {"z": "z" * 8001}})
    assert source["vedette.long"] == [
        documents.digest_term("host.name", "X" * 1001),
        documents.digest_term("user.name", "y" * 8001),
        documents.exists_term("user.name"),
        documents.digest_term("~z", "Z" * 8001),
        documents.exists_term("~z"),
    ]
    assert "vedette.kv" not in source


@pytest.mark.parametrize("name", ["#x", "a\0b", "q" * 600])
def test_a_name_that_cannot_stand_in_a_term_is_a_digest(name: str) -> None:
    prefix = documents.kv_prefix(name)
    assert prefix.endswith("\0")
    assert len(prefix.encode()) <= 200
    assert prefix.count("\0") == 1
    assert prefix != documents.kv_prefix(name + "1")


@pytest.mark.parametrize("event_id", ["", "x" * 32, "A" * 32, "0" * 31, "0" * 33, '"' * 32])
def test_an_id_that_is_none_is_an_error(event_id: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal"):
        documents.encode_event(event({}, id=event_id), T0)


def test_names_of_ours_in_a_document_are_left_out() -> None:
    line = documents.encode_event(event({"vedette.stored": "1999", "vedette.kv": ["x"], "host.name": "a"}), T0)
    source = orjson.loads(line.split(b"\n")[1])
    assert source["vedette.stored"] == T0
    assert "vedette.kv" not in source
