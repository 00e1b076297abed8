from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.enrich.base import compile_enrichments
from vedette_engine.enrich.errors import TableError
from vedette_engine.enrich.lookup import KeyColumn, read_table

CSV = b'\xef\xbb\xbfhost.name,owner,tier\r\nweb1,ana,gold\r\nWEB2,"bo, b",\r\n\r\n7,seven,silver\r\n'
JSON_ROWS = b'[{"host.name": "web1", "owner": "ana", "tier": "gold"}, {"host.name": 7, "owner": "seven", "tier": 3}]'
JSON_OBJECT = b'{"web1": {"owner": "ana", "tier": "gold"}}'


def look_up(event: dict[str, Any], table: bytes, **options: Any) -> dict[str, Any]:
    spec = {
        "lookup": {
            "keyField": "host.name",
            "table": {},
            "set": {"host.owner": "owner", "labels.tier": "tier"},
            **options,
        }
    }
    enricher = compile_enrichments([("owners", spec)], {"owners": table})
    assert not enricher.problems
    enricher.apply(event)
    return event


@pytest.mark.parametrize("table", [CSV, JSON_ROWS, JSON_OBJECT], ids=["csv", "json rows", "json object"])
def test_a_row_gives_its_columns(table: bytes) -> None:
    assert look_up({"host.name": "web1"}, table) == {"host.name": "web1", "host.owner": "ana", "labels.tier": "gold"}


@pytest.mark.parametrize(
    ("value", "options", "owner"),
    [
        ("web2", {}, None),
        ("web2", {"match": "ignoreCase"}, "bo, b"),
        (7, {}, "seven"),
        (["x", "web1"], {}, "ana"),
        ("ana", {"keyColumn": "owner"}, "ana"),
        ("", {}, None),
        ([], {}, None),
    ],
)
def test_values_are_found_as_text(value: Any, options: dict[str, Any], owner: str | None) -> None:
    event = look_up({"host.name": value}, CSV, **options)
    assert event.get("host.owner") == owner
    assert "vedette.enrichment_failed" not in event


def test_an_empty_cell_gives_nothing() -> None:
    assert "labels.tier" not in look_up({"host.name": "WEB2"}, CSV)


def test_rows_can_stand_in_the_manifest() -> None:
    rows = [{"h": "web1", "owner": "ana", "tier": "gold"}]
    event: dict[str, Any] = {"host.name": "web1"}
    spec = {
        "lookup": {"keyField": "host.name", "keyColumn": "h", "table": {"rows": rows}, "set": {"host.owner": "owner"}}
    }
    compile_enrichments([("owners", spec)]).apply(event)
    assert event["host.owner"] == "ana"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "header"),
        (b"a,a\n1,2\n", "twice"),
        (b"a,b\n1\n", "line 2 has 1 columns"),
        (b'a,b\n1,"2\n', "not CSV"),
        (b"a,b\n\xff,1\n", "UTF-8"),
        (b'{"a": 1}', "'a' is not an object"),
        (b"[1]", "row 1"),
        (b"[{", "not JSON"),
        (b"x,owner\nweb1,ana\n", "no column 'tier'"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(table: bytes, said: str) -> None:
    spec = {"lookup": {"keyField": "host.name", "table": {}, "set": {"o": "owner", "t": "tier"}}}
    problem = compile_enrichments([("owners", spec)], {"owners": table}).problems[0]
    assert said in problem.message
    assert problem.path == "spec.lookup"


@given(st.binary(max_size=200), st.sampled_from(["auto", "csv", "json"]))
def test_any_bytes_are_a_table_or_a_table_error(data: bytes, form: str) -> None:
    try:
        table = read_table(data, KeyColumn(None, "k"), form)
    except TableError:
        return
    assert all(isinstance(key, str) for key in table)
