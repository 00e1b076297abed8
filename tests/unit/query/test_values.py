"""Types, dates, addresses, patterns: the parts that the meaning of a query rests on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.query import tree
from vedette_engine.query.fields import Kind, kind_of
from vedette_engine.query.naive import matches
from vedette_engine.query.patterns import canonical_regex, escape, escape_wildcard, wildcard_literal, wildcard_regex
from vedette_engine.query.resolve import resolve
from vedette_engine.query.tree import QueryError
from vedette_engine.query.values import address_number, date_bounds, fold, leaves, network_bounds, text_of, words

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ms(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("host.name", Kind.TEXT),
        ("process.command_line", Kind.TEXT),
        ("message", Kind.WORDS),
        ("source.port", Kind.INTEGER),
        ("event.risk_score", Kind.FLOAT),
        ("@timestamp", Kind.DATE),
        ("source.ip", Kind.IP),
        ("process.entry_leader.interactive", Kind.BOOLEAN),
        ("source.geo.location", Kind.TEXT),
        ("winlog.event_data.Image", Kind.OTHER),
        ("vedette.other.source.ip", Kind.OTHER),
        ("labels.tier", Kind.OTHER),
    ],
)
def test_the_catalogue_decides_how_a_field_is_compared(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", "2026-01-01T00:00:00+00:00", "2026-12-31T23:59:59.999+00:00"),
        ("2024-02", "2024-02-01T00:00:00+00:00", "2024-02-29T23:59:59.999+00:00"),
        ("2026-12", "2026-12-01T00:00:00+00:00", "2026-12-31T23:59:59.999+00:00"),
        ("2026-11-22", "2026-11-22T00:00:00+00:00", "2026-11-22T23:59:59.999+00:00"),
        ("2026-11-22T10", "2026-11-22T10:00:00+00:00", "2026-11-22T10:59:59.999+00:00"),
        ("2026-11-22 10:05", "2026-11-22T10:05:00+00:00", "2026-11-22T10:05:59.999+00:00"),
        ("2026-11-22T10:05:07Z", "2026-11-22T10:05:07+00:00", "2026-11-22T10:05:07.999+00:00"),
        ("2026-11-22T10:05:07.5+02:00", "2026-11-22T08:05:07.500+00:00", "2026-11-22T08:05:07.599+00:00"),
        ("2026-11-22T10:05:07.123456789-0130", "2026-11-22T11:35:07.123+00:00", "2026-11-22T11:35:07.123+00:00"),
        ("1795348800000", "2026-11-22T12:00:00+00:00", "2026-11-22T12:00:00+00:00"),
    ],
)
def test_a_date_names_all_of_what_it_leaves_open(text: str, first: str, last: str) -> None:
    assert date_bounds(text) == (ms(first), ms(last))


@pytest.mark.parametrize(
    "text", ["", "x", "2026-13", "2026-02-30", "10:00", "now", "now-1d", "0000", "9" * 50, "²²²²²"]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert date_bounds(text) is None


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1)))  # noqa: DTZ001 # hypothesis wants naive bounds
def test_an_iso_time_names_itself(moment: datetime) -> None:
    text = moment.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert date_bounds(text) == (ms(text), ms(text))


def test_ipv4_and_its_mapped_form_are_one_address() -> None:
    assert address_number("192.0.2.7") == address_number("::ffff:192.0.2.7")
    assert address_number("2001:db8::1") == address_number("2001:0DB8:0::0001")
    assert address_number("web1") is None
    assert network_bounds("192.0.2.9/24") == (address_number("192.0.2.0"), address_number("192.0.2.255"))
    assert network_bounds("::/0") == (0, 2**128 - 1)
    assert network_bounds("10.0.0.0/33") is None


@given(st.text(max_size=20))
def test_folding_keeps_the_length_and_folds_once(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x24F), max_size=20))
def test_text_equals_itself_in_upper_case_where_a_letter_has_one(text: str) -> None:
    upper = "".join(c.upper() if len(c.upper()) == 1 and c != "\u0131" else c for c in text)
    assert fold(upper) == fold(text)


def test_words_are_runs_of_letters_and_digits_in_lower_case() -> None:
    assert words("Failed_password für root@web-1, C:\\x.exe") == [
        "failed",
        "password",
        "für",
        "root",
        "web",
        "1",
        "c",
        "x",
        "exe",
    ]
    assert words("...") == []


def test_leaves_are_the_scalars_of_a_field_however_deep() -> None:
    assert list(leaves([1, [2, [None, "x"]], True])) == [1, 2, "x", True]
    assert [text_of(value) for value in (True, 1, 1.0, "x")] == ["true", "1", "1.0", "x"]


@given(st.text(max_size=10))
def test_an_escaped_text_matches_itself_only(text: str) -> None:
    assert wildcard_literal(escape_wildcard(text)) == text
    assert re.fullmatch(escape(text), text)
    assert re.fullmatch(wildcard_regex(escape_wildcard(text)), text, re.DOTALL)


@given(st.text(alphabet="ab*?\\", max_size=8), st.text(alphabet="ab*?\\", max_size=8))
def test_a_wildcard_pattern_means_what_a_plain_walk_over_it_says(pattern: str, text: str) -> None:
    def walk(at: int, rest: str) -> bool:
        if at == len(pattern):
            return not rest
        character = pattern[at]
        if character == "*":
            return walk(at + 1, rest) or (bool(rest) and walk(at, rest[1:]))
        if character == "?":
            return bool(rest) and walk(at + 1, rest[1:])
        if character == "\\" and at + 1 < len(pattern):
            at, character = at + 1, pattern[at + 1]
        return rest.startswith(character) and walk(at + 1, rest[1:])

    assert bool(re.fullmatch(wildcard_regex(pattern), text, re.DOTALL)) == walk(0, text)


@pytest.mark.parametrize(
    ("pattern", "canonical"),
    [
        (r"\d+\.\w", r"[0-9]+\.[0-9A-Za-z_]"),
        (r"\S", r"[^\t\n\f\r ]"),
        (r"(?:a|b)", "(a|b)"),
        (r"a\/b\-c", "a/b-c"),
        (r"[\d.-]", r"[0-9.\-]"),
        (r"[]a]", r"[\]a]"),
        (r"[a&&b]", r"[a\&\&b]"),
        (r"[^a-z]", "[^a-z]"),
        (r"\t", r"\t"),
    ],
)
def test_regular_expressions_are_rewritten_to_the_common_core(pattern: str, canonical: str) -> None:
    assert canonical_regex(pattern) == canonical


@pytest.mark.parametrize(
    "pattern", ["^a", "a$", r"\bx", r"\pL", "(?=a)", "(?P<n>a)", "[a", "a\\", "[[:alpha:]]", r"[\D]", "x" * 1001]
)
def test_what_not_every_engine_reads_the_same_way_is_refused(pattern: str) -> None:
    with pytest.raises(QueryError):
        canonical_regex(pattern)


@given(st.text(alphabet="ab[]-^\\d.*+?(|){}2,&~", max_size=10))
def test_a_canonical_expression_is_read_by_the_standard_library_too(pattern: str) -> None:
    try:
        resolved = resolve(tree.Regex("x", pattern))
    except QueryError:
        return
    assert isinstance(resolved, tree.Regex)
    assert canonical_regex(resolved.pattern) == resolved.pattern


@pytest.mark.parametrize(
    ("query", "document", "expected"),
    [
        (tree.Term("host.name", "WEB1"), {"host.name": "web1"}, True),
        (tree.Term("host.name", "web1"), {"vedette.other": {"host.name": "web1"}}, False),
        (tree.Term("source.port", "22"), {"source.port": 22}, True),
        (tree.Term("source.port", 22), {"source.port": [21, 22]}, True),
        (tree.Term("x", 1), {"vedette.other": {"x": True}}, False),
        (tree.Term("x", True), {"vedette.other": {"x": "TRUE"}}, True),
        (tree.Term("event.created", "2026-11"), {"event.created": "2026-11-22T10:00:00Z"}, True),
        (tree.Term("source.ip", "2001:DB8::1"), {"source.ip": "2001:db8:0::1"}, True),
        (tree.Exists("tags"), {"tags": []}, False),
        (tree.Exists("tags"), {"tags": [""]}, True),
        (tree.And(()), {}, True),
        (tree.Or(()), {}, False),
        (tree.Not(tree.Exists("tags")), {}, True),
        (tree.Text("a b"), {"tags": ["a", "b"]}, False),
        (tree.Text("a b"), {"tags": ["x A, B y"]}, True),
        (tree.Text("..."), {"tags": ["..."]}, False),
        (tree.Range("source.port", 22.5, 23), {"source.port": 22}, False),
        (tree.Range("source.port", 22, 22, include_low=False), {"source.port": 22}, False),
    ],
    ids=str,
)
def test_queries_mean_what_they_say(query: tree.Query, document: dict[str, Any], expected: object) -> None:
    assert matches(query, document) is expected
