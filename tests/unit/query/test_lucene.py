"""The search bar's language: what it understands, how it refuses, and that it can be written back."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.query import tree
from vedette_engine.query.lucene import MAX_TEXT, parse
from vedette_engine.query.naive import matches
from vedette_engine.query.resolve import resolve
from vedette_engine.query.text import unparse, with_filter, write_name
from vedette_engine.query.tree import (
    And,
    Cidr,
    Exists,
    MatchAll,
    Not,
    Or,
    QueryError,
    Range,
    Regex,
    Term,
    Text,
    Wildcard,
)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", MatchAll()),
        ("  ", MatchAll()),
        ("*", MatchAll()),
        ("*:*", MatchAll()),
        ("failed", Text("failed")),
        ('"failed password"', Text("failed password")),
        ("failed password", And((Text("failed"), Text("password")))),
        ("a AND b OR c", Or((And((Text("a"), Text("b"))), Text("c")))),
        ("a AND (b OR c)", And((Text("a"), Or((Text("b"), Text("c")))))),
        ("a AND b AND c", And((Text("a"), Text("b"), Text("c")))),
        ("NOT a", Not(Text("a"))),
        ("-a", Not(Text("a"))),
        ("+a -b", And((Text("a"), Not(Text("b"))))),
        ("host.name:web1", Term("host.name", "web1")),
        ('host.name:"web 1"', Term("host.name", "web 1")),
        ('host.name:""', Term("host.name", "")),
        ("host.name:web*", Wildcard("host.name", "web*")),
        (r"host.name:web\*", Term("host.name", "web*")),
        (r"host.name:w?b\*", Wildcard("host.name", r"w?b\*")),
        ("host.name:*", Exists("host.name")),
        ("_exists_:host.name", Exists("host.name")),
        ('_exists_:"a b"', Exists("a b")),
        ("user.name:(root OR admin)", Or((Term("user.name", "root"), Term("user.name", "admin")))),
        ("user.name:(root -admin)", And((Term("user.name", "root"), Not(Term("user.name", "admin"))))),
        ("message:failed", Text("failed", "message")),
        ('message:"failed password"', Text("failed password", "message")),
        ("source.ip:192.0.2.0/24", Cidr("source.ip", "192.0.2.0/24")),
        ('source.ip:"2001:db8::/32"', Cidr("source.ip", "2001:db8::/32")),
        ("source.port:>=1024", Range("source.port", "1024", None)),
        ("source.port:<1024", Range("source.port", None, "1024", include_high=False)),
        ("source.port:[1 TO 5}", Range("source.port", "1", "5", include_high=False)),
        ("source.port:{* TO 5]", Range("source.port", None, "5", include_low=False)),
        ("event.risk_score:[-5 TO -1.5]", Range("event.risk_score", "-5", "-1.5")),
        ("event.risk_score:-5", Term("event.risk_score", "-5")),
        ("@timestamp:[2026-11-22T10:00:00Z TO *]", Range("@timestamp", "2026-11-22T10:00:00Z", None)),
        ('@timestamp:>="2026-11-22"', Range("@timestamp", "2026-11-22", None)),
        (r"file.name:/inv-[0-9]+\/x/", Regex("file.name", "inv-[0-9]+/x")),
        (r"process.executable:C\:\Windows\cmd.exe", Term("process.executable", r"C:\Windows\cmd.exe")),
        (r"process.executable:*\cmd.exe", Wildcard("process.executable", r"*\\cmd.exe")),
        (r"process.executable:*\\cmd.exe", Wildcard("process.executable", r"*\\cmd.exe")),
        (r'process.executable:"C:\Windows\cmd.exe"', Term("process.executable", r"C:\Windows\cmd.exe")),
        (r"a\ b:c", Term("a b", "c")),
        (r"a\:b:c", Term("a:b", "c")),
        ("winlog.event_data.Image:x", Term("winlog.event_data.Image", "x")),
        ("event.code:4625", Term("event.code", "4625")),
        ("x:TO", Term("x", "TO")),
        ("TO", Text("TO")),
        ("日本語:ü", Term("日本語", "ü")),
    ],
)
def test_text_is_understood(text: str, query: tree.Query) -> None:
    assert parse(text) == query


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("a AND", 5, "ends too early"),
        ("(a", 2, "ends too early"),
        ("a)", 1, "not expected"),
        ('host.name:"abc', 10, "not closed"),
        ("source.port:ssh", 12, "numbers"),
        ("a AND source.ip:web1", 16, "IP addresses"),
        ("source.ip:10.0.0.0/99", 10, "not a network"),
        ("process.executable:C:\\x", 19, "quotes"),
        ("power*", 0, "need a field"),
        ("/x/", 0, "need a field"),
        ("[1 TO 2]", 0, "needs a field"),
        (">5", 0, "needs a field"),
        ("a~2", 0, "Fuzzy"),
        ('"a b"~2', 0, "Proximity"),
        ("a^2", 0, "Boosts"),
        ("foo:[1 TO 2]", 4, "holds text"),
        ("winlog.*:x", 0, "wildcards"),
        ("*:x", 0, "Name a field"),
        ("x:/(?i)a/", 2, "not supported"),
        ("x:/^a/", 2, "whole value"),
        ("x:/(/", 2, "cannot be read"),
        ("_exists_:(a)", 9, "name of a field"),
        ("source.ip:10.*", 10, "network"),
        ("x" * 9000, MAX_TEXT, "longer than"),
        ("(" * 3000 + "a" + ")" * 3000, None, "nested"),
        ("NOT " * 2000 + "a", None, "nested"),
        ("a:" * 2000 + "a", 2, "quotes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, position: int | None, word: str) -> None:
    with pytest.raises(QueryError, match=word) as caught:
        parse(text)
    if position is not None:
        assert caught.value.position == position


@given(st.text(alphabet='ab:*?"\\/()[]{}+-~^ \n\x00é&|!<>=TOANDRNOT0.', max_size=40))
def test_any_text_is_a_query_or_a_query_error(text: str) -> None:
    refused: QueryError | None = None
    try:
        query = parse(text)
    except QueryError as error:
        refused = error
    else:
        matches(query, {"message": "a"})
    if refused is not None:
        assert refused.position is None or 0 <= refused.position <= len(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_query_or_a_query_error(data: bytes) -> None:
    with contextlib.suppress(QueryError):
        parse(data.decode("latin-1"))


names = st.one_of(
    st.sampled_from(
        ["user.name", "process.command_line", "x", "a b", "Ü", "a:b", "AND", "_exists_", "-x", "vedette.other.y"]
    ),
    st.text(alphabet='ab:*?"\\/()-+~^ é&|!<>=.0', min_size=1, max_size=8).filter(lambda name: name != "*"),
)
texts = st.text(alphabet='abT:*?"\\/()[]{}+-~^ \né&|!<>=0', max_size=10)
leaf = st.one_of(
    st.builds(Term, names, texts),
    st.builds(Text, texts),
    st.builds(Text, texts, st.just("message")),
    st.builds(Wildcard, names, texts.filter(lambda text: bool(text) and "\n" not in text)),
    st.sampled_from([Regex("x", "a/b"), Regex("x", "a\\/b"), Regex("x", '[/"]'), Regex("a b", "a|b c")]),
    st.builds(
        Range, st.just("source.port"), st.one_of(st.none(), st.integers(-5, 5)), st.integers(0, 9), st.booleans()
    ),
    st.builds(Cidr, st.just("source.ip"), st.sampled_from(["10.0.0.0/8", "2001:db8::/32"])),
    st.builds(Exists, names),
    st.just(MatchAll()),
)
queries = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple).map(And), st.lists(inner, max_size=3).map(tuple).map(Or), inner.map(Not)
    ),
    max_leaves=6,
)


def flat(query: tree.Query) -> tree.Query:
    """The query with nested And in And, and Or in Or, taken apart, as the parser does."""
    if isinstance(query, Not):
        return Not(flat(query.part))
    if isinstance(query, And | Or):
        kind = type(query)
        if not query.parts:
            return MatchAll() if kind is And else Not(MatchAll())
        parts: list[tree.Query] = []
        for part in map(flat, query.parts):
            parts += part.parts if isinstance(part, kind) else (part,)
        return parts[0] if len(parts) == 1 else kind(tuple(parts))
    return query


@given(queries)
def test_a_query_that_is_written_is_read_as_the_same(query: tree.Query) -> None:
    assert flat(resolve(parse(unparse(query)))) == flat(resolve(query))


@pytest.mark.parametrize(
    ("text", "field", "value", "negate", "expected"),
    [
        ("", "user.name", "root", False, 'user.name:"root"'),
        ("*", "user.name", "root", True, 'NOT user.name:"root"'),
        ("a b", "user.name", 'x "y" \\z\\', False, 'a b AND user.name:"x \\"y\\" \\\\z\\\\"'),
        ("a OR b", "source.port", 22, False, '(a OR b) AND source.port:"22"'),
        (
            "a AND b",
            "process.entry_leader.interactive",
            True,
            True,
            "a AND b AND NOT process.entry_leader.interactive:true",
        ),
        ("", "a b:c", "", False, r'a\ b\:c:""'),
    ],
)
def test_a_filter_is_added_to_what_stands_in_the_bar(
    text: str,
    field: str,
    value: str | float | bool,  # noqa: FBT001 # a value
    negate: bool,  # noqa: FBT001 # pytest gives it by name
    expected: str,
) -> None:
    assert with_filter(text, field, value, negate=negate) == expected


bar = st.sampled_from(
    ["", "a", "a b", "a OR b", "NOT a OR b", "c a OR b", "a AND b", "(a OR b)", "x:[1 TO 2] "[:1], "-a b"]
)


@given(bar, names, texts, st.booleans())
def test_a_filter_narrows_to_what_had_and_has_the_value(text: str, field: str, value: str, negate: bool) -> None:  # noqa: FBT001 # hypothesis
    narrowed = parse(with_filter(text, field, value, negate=negate))
    clause: tree.Query = Term(field, value)
    before = parse(text)
    wanted = And((before, Not(clause) if negate else clause))
    assert flat(resolve(narrowed)) == flat(resolve(wanted.parts[1] if isinstance(before, MatchAll) else wanted))


@pytest.mark.parametrize("field", ["", "a\nb", "*"])
def test_a_name_that_cannot_be_written_is_refused(field: str) -> None:
    with pytest.raises(QueryError):
        write_name(field)


def test_a_bar_that_would_become_too_long_is_refused() -> None:
    with pytest.raises(QueryError, match="longer"):
        with_filter("a" * 8000, "user.name", "x" * 500)


def test_many_threads_may_parse_at_once() -> None:
    wrong: list[tree.Query] = []

    def work(number: int) -> None:
        for turn in range(100):
            query = parse(f"host.name:web{number} AND (a{turn} OR b)")
            if query != And((Term("host.name", f"web{number}"), Or((Text(f"a{turn}"), Text("b"))))):
                wrong.append(query)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
