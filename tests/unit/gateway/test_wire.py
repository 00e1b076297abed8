from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.wire import (
    ALONE,
    MAX_BYTES,
    MAX_KEYS_BYTES,
    MAX_RECORDS,
    Run,
    UnknownVersionError,
    WireError,
    decode,
    encode,
    event_id,
    pack,
    run_ids,
)

KEYS = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def runs_of(draw: st.DrawFn, count: int) -> list[Run]:
    runs = []
    left = count
    while left:
        alone = draw(st.booleans())
        length = 1 if alone else draw(st.integers(1, left))
        first = ALONE if alone else draw(st.integers(0, 10**6))
        runs.append(Run(length, draw(KEYS), first, draw(st.booleans())))
        left -= length
    return runs


@given(st.data(), st.lists(st.binary(max_size=40), min_size=1, max_size=30))
def test_any_text_records_come_out_of_a_message_as_they_went_in(data: st.DataObject, records: list[bytes]) -> None:
    runs = data.draw(runs_of(len(records)))
    body, headers = encode(source="web", ingested=17, kind="text", records=records, runs=runs)
    batch = decode("shop", body, headers)
    assert [record.raw for record in batch.records] == records
    assert (batch.source, batch.ingested) == ("web", 17)
    positions = [run.first + offset for run in runs for offset in range(run.length)]
    assert [record.position for record in batch.records] == positions
    assert [record.keyed for record in batch.records] == [run.keyed for run in runs for _ in range(run.length)]
    assert [record.id for record in batch.records] == list(run_ids("shop", "web", runs))


@given(
    values=st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), min_size=1, max_size=8),
    pretty=st.booleans(),
)
def test_json_records_keep_their_value_and_are_on_one_line_each(*, values: list[object], pretty: bool) -> None:
    records = [orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else None) for value in values]
    run = Run(len(records), "k", 0, keyed=True)
    batch = decode("shop", *encode(source="web", ingested=0, kind="json", records=records, runs=[run]))
    assert [orjson.loads(record.raw) for record in batch.records] == values
    assert not any(b"\n" in record.raw for record in batch.records)
    if not pretty:
        assert [record.raw for record in batch.records] == records


@given(st.data(), st.lists(st.integers(0, 3000), max_size=60))
def test_packing_keeps_order_and_ids_and_respects_every_limit(data: st.DataObject, sizes: list[int]) -> None:
    records = [b"x" * (size * 100) for size in sizes]
    runs = data.draw(runs_of(len(records)))
    ids: list[str] = []
    raws: list[bytes] = []
    for part, part_runs in pack(records, runs):
        body, headers = encode(source="web", ingested=0, kind="text", records=part, runs=part_runs)
        assert len(part) == 1 or len(body) <= MAX_BYTES
        assert len(part) <= MAX_RECORDS
        assert len(part) == 1 or len(headers["keys"].encode()) <= MAX_KEYS_BYTES
        for record in decode("shop", body, headers).records:
            ids.append(record.id)
            raws.append(record.raw)
    assert raws == records
    assert ids == list(run_ids("shop", "web", runs))


def test_a_thousand_records_fill_two_messages() -> None:
    parts = list(pack([b"{}"] * 1000, [Run(1000, "k", 0, keyed=False)]))
    assert [len(records) for records, _ in parts] == [500, 500]
    assert parts[1][1] == [Run(500, "k", 500, keyed=False)]


def test_many_long_keys_end_a_message_before_its_headers_are_too_large() -> None:
    runs = [Run(1, "\x00" * 500 + str(number), ALONE, keyed=True) for number in range(100)]
    for records, part in pack([b"{}"] * 100, runs):
        _, headers = encode(source="web", ingested=0, kind="json", records=records, runs=part)
        assert sum(len(name) + len(value.encode()) for name, value in headers.items()) < 64 << 10


@given(
    *[st.tuples(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6), st.integers(-1, 99))] * 2,
)
def test_two_deliveries_share_an_id_only_if_they_are_the_same(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)


def test_an_id_never_changes_between_versions() -> None:
    assert event_id("shop", "web", "a key", 7) == "550689a226cfb1169a449f37a9e77f2a"


def test_a_thousand_pairs_of_equal_records_have_two_thousand_ids() -> None:
    ids = list(run_ids("shop", "web", [Run(2000, "drawn", 0, keyed=False)]))
    assert len(set(ids)) == 2000


GOOD_BODY, GOOD = encode(
    source="web", ingested=5, kind="json", records=[b"{}", b"{}"], runs=[Run(2, "k", 0, keyed=True)]
)


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""},
        {"kind": "xml"},
        {"count": "3"},
        {"count": "-2"},
        {"count": "²"},
        {"ingested": "now"},
        {"keys": "[]"},
        {"keys": "nonsense"},
        {"keys": "7"},
        {"keys": '[[2,"k",0]]'},
        {"keys": '[[2,"k",-1,1]]'},
        {"keys": '[[2,"k",-2,1]]'},
        {"keys": '[[3,"k",0,1],[-1,"k",0,1]]'},
        {"keys": "[[2,7,0,1]]"},
        {"keys": '[[2.0,"k",0,1]]'},
        {"keys": '[[1000000000000,"k",0,1]]', "count": "1000000000000"},
        {"kind": "binary"},
    ],
)
def test_a_message_that_is_not_whole_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WireError):
        decode("shop", GOOD_BODY, GOOD | change)


@pytest.mark.parametrize("version", ["", "2", "0", "1.0"])
def test_another_format_is_named(version: str) -> None:
    with pytest.raises(UnknownVersionError):
        decode("shop", GOOD_BODY, GOOD | {"v": version})


@given(st.binary(max_size=60), st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=30)))
def test_nothing_but_a_wire_error_comes_of_a_hostile_message(body: bytes, change: dict[str, str]) -> None:
    for kind in ("json", "binary"):
        try:
            decode("shop", body, GOOD | {"kind": kind} | change)
        except WireError:
            continue


def test_runs_must_cover_the_records() -> None:
    with pytest.raises(ValueError, match="cover"):
        encode(source="web", ingested=0, kind="json", records=[b"{}"], runs=[])
    with pytest.raises(ValueError, match="cover"):
        encode(source="web", ingested=0, kind="json", records=[], runs=[])
