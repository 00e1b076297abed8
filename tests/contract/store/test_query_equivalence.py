"""A store answers what the specification answers, for documents and questions that nobody thought of."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from vedette_backends.store.protocol import NewEvent, Store, TimeRange
from vedette_engine.query import tree
from vedette_engine.query.naive import matches
from vedette_engine.query.tree import Query, QueryError

T0 = 1_795_348_800_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Few values, so that questions meet documents; each of them once broke a search engine.
WORDS = [
    "root",
    "Root",
    "ROOT",
    "web1",
    "a.b",
    "C:\\Temp\\x.exe",
    "*",
    "?",
    "\\",
    "a*b",
    "über",
    "ÜBER",
    "straße",
    "STRASSE",
    "Kelvin \u212a",
    "kelvin k",
    "\u017f",
    "s",
    "\u03c2",
    "\u03c3",
    "Σ",
    "İ",
    "\u0131",
    "i",
    "I",
    "日本語",
    "5",
    "05",
    "5.0",
    "true",
    "",
    " ",
    "a b",
    "A  B",
    "a-b",
    "b c",
    "line\nbreak",
    "tab\there",
    "nul\0byte",
    "\x01\x02",
    "2026-11-22T10:00:00Z",
    "2026-11-22",
    "192.0.2.7",
    "::1",
    "🦀 crab",
    "[a]",
    "(b)",
    "{c}",
    "^d$",
    "e|f",
    "~g",
    "#h",
    "&&",
    "--",
    '"q"',
    "null",
]
ADDRESSES = [
    "192.0.2.7",
    "192.0.2.8",
    "192.0.2.255",
    "10.0.0.1",
    "::1",
    "2001:db8::1",
    "2001:DB8::1",
    "::ffff:192.0.2.7",
]
NETWORKS = [
    "192.0.2.0/24",
    "192.0.2.7/32",
    "192.0.2.4/30",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/33",
    "::ffff:0:0/96",
    "10.0.0.0/7",
]
INTEGERS = [0, 1, -1, 22, 4711, 65535, 2**31, -(2**63), 2**63 - 1]
FLOATS = [0.0, -0.0, 1.5, -1.5, 1e300, -1e-300, 3.0, 4711.0]
DATES = ["2026-11-22T10:00:00.000Z", "2026-11-22T10:00:00Z", "2026-11-22T23:59:59.999Z", "1999-12-31T00:00:00Z"]
TEXT_FIELDS = ["user.name", "process.command_line", "tags"]
OTHER_FIELDS = [
    "winlog.event_data.Image",
    "x",
    "a b",
    "Ünïcode",
    "source.port",
    "q" * 100,
    "#",
    "~x",
    "a\x01b",
    "*",
    "user",
]

LONG = {"x": 129, "X": 129, "z": 8000, "Z": 8001}
# As a function: hypothesis writes out what a strategy samples from, and complains when that is long.
long_text = st.sampled_from(sorted(LONG)).map(lambda letter: letter * LONG[letter])
text = st.one_of(
    st.sampled_from(WORDS), st.sampled_from(WORDS), long_text, st.text(alphabet="abAB*?\\ .ß\u017fKk5:/-", max_size=6)
)
scalar = st.one_of(text, st.sampled_from(INTEGERS), st.booleans(), st.sampled_from(FLOATS))


def many(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, max_size=3))


documents = st.fixed_dictionaries(
    {},
    optional={
        **{name: many(text) for name in TEXT_FIELDS},
        "message": text,
        "source.ip": many(st.sampled_from(ADDRESSES)),
        "source.port": many(st.sampled_from(INTEGERS)),
        "event.risk_score": st.sampled_from(FLOATS),
        "event.created": st.sampled_from(DATES),
        "network.inner.vlan.id": text,
        "process.args_count": st.sampled_from(INTEGERS),
        "process.entry_leader.interactive": st.booleans(),
        "vedette.other": st.dictionaries(st.sampled_from(OTHER_FIELDS), many(scalar), max_size=3),
    },
)

ASKED_OTHER = [name for name in OTHER_FIELDS if name != "source.port"]
text_field = st.sampled_from([*TEXT_FIELDS, "message", *ASKED_OTHER, "vedette.other.source.port", "nobody.has.this"])
any_field = st.one_of(text_field, st.sampled_from(["source.ip", "source.port", "event.created", "@timestamp"]))


def literal_pattern(value: str) -> str:
    return value.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


patterns = st.one_of(
    st.builds("{}*".format, text.map(lambda t: literal_pattern(t[:20]))),
    st.builds("*{}*".format, text.map(lambda t: literal_pattern(t[:20]))),
    st.text(alphabet="abAB*?\\ .ß5", min_size=1, max_size=6),
)
regexes = st.sampled_from(
    [
        "root",
        "[Rr]oot",
        "R.*",
        ".*",
        "",
        "[^a]+",
        "a|b|",
        "\\d+",
        "\\w+",
        "\\S*",
        "(a|b)*",
        "x{129}",
        "[\\d.]+",
        ".{1,4}",
        "line.break",
        "[a-]*",
        "über|.BER",
        "\\\\",
        "[*?]",
        "a\\*b",
        "[&&]+",
        "~g",
        "#h",
    ]
)
bounds = {
    "source.port": st.one_of(st.none(), st.sampled_from([*INTEGERS, 1.5, -0.5, "22", 2**70])),
    "event.risk_score": st.one_of(st.none(), st.sampled_from([*FLOATS, "1.5"])),
    "event.created": st.one_of(
        st.none(), st.sampled_from(["2026", "2026-11", "2026-11-22", "2026-11-22T10:00:00Z", "2026-11-22T10", 10_000])
    ),
    "source.ip": st.one_of(st.none(), st.sampled_from(ADDRESSES)),
    "@timestamp": st.one_of(st.none(), st.sampled_from(["2026-11-22T12:00:01Z", "2026-11-22", T0, T0 + 2000])),
}
ranges = st.one_of(
    [
        st.builds(tree.Range, st.just(field), bound, bound, st.booleans(), st.booleans())
        for field, bound in bounds.items()
    ]
)
leaf = st.one_of(
    st.builds(tree.Term, text_field, text),
    st.builds(tree.Term, st.just("source.port"), st.one_of(st.sampled_from(INTEGERS), st.just("4711"))),
    st.builds(tree.Term, st.just("event.risk_score"), st.sampled_from(FLOATS)),
    st.builds(tree.Term, st.just("event.created"), st.sampled_from(["2026-11-22", *DATES])),
    st.builds(tree.Term, st.just("source.ip"), st.sampled_from(ADDRESSES)),
    st.builds(tree.Term, st.just("process.entry_leader.interactive"), st.booleans()),
    st.builds(tree.Term, st.sampled_from(ASKED_OTHER), scalar),
    st.builds(tree.Text, text),
    st.builds(tree.Text, text, st.just("message")),
    st.builds(tree.Wildcard, text_field, patterns),
    st.builds(tree.Regex, text_field, regexes),
    ranges,
    st.builds(tree.Cidr, st.just("source.ip"), st.sampled_from(NETWORKS)),
    st.builds(tree.Exists, any_field),
    st.just(tree.MatchAll()),
)
queries = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple).map(tree.And),
        st.lists(inner, max_size=3).map(tuple).map(tree.Or),
        inner.map(tree.Not),
    ),
    max_leaves=4,
)


_example = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(contents=st.lists(documents, min_size=1, max_size=8), asked=st.lists(queries, min_size=6, max_size=20))
def test_a_store_finds_what_the_specification_finds(
    shared_store: Store, contents: list[dict[str, Any]], asked: list[Query]
) -> None:
    number = next(_example)
    events = []
    for place, content in enumerate(contents):
        time = T0 + place * 1000
        stamp = (EPOCH + timedelta(milliseconds=time)).isoformat().replace("+00:00", "Z")
        document = {**content, "event.dataset": f"example{number}", "@timestamp": stamp}
        events.append(NewEvent(f"{number:016x}{place:016x}", time, time, "h", document))
    assert {result.reason for result in shared_store.create_events("7d", events)} == {""}
    mine = tree.Term("event.dataset", f"example{number}")
    for query in asked:
        expected = [e.id for e in events if matches(query, e.document)]
        try:
            page = shared_store.search_events(tree.And((mine, query)), TimeRange(), size=100)
        except QueryError as error:
            if "too long or too intricate" not in str(error):
                raise
            event("refused by the store")
            continue
        assert sorted(found.id for found in page.events) == expected, query
        assert page.total == len(expected), query
        event("some" if 0 < len(expected) < len(events) else "all or none")


def test_documents_come_back_as_they_were_stored(shared_store: Store) -> None:
    document = {
        "event.risk_score": math.pi,
        "message": "\u2028 \0 \x7f",
        "vedette.other": {"": [], "a": [1, [2, "x"]], "time": "2026-11-22T10:00:00+01:00"},
    }
    shared_store.create_events("7d", [NewEvent("f" * 32, T0, T0, "h", document)])
    found = shared_store.get_event("f" * 32)
    assert found is not None
    assert found.document == document
