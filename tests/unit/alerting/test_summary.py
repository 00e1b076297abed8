"""The sentence that a responder reads first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_engine.alerting.summary import ABSENT, MAX_SUMMARY, MAX_VALUE, fields_of, render


@pytest.mark.parametrize(
    ("template", "event", "text"),
    [
        ("{source.ip} as {user.name}", {"source.ip": "192.0.2.7", "user.name": "root"}, "192.0.2.7 as root"),
        ("{ source.ip }", {"source.ip": "192.0.2.7"}, "192.0.2.7"),
        ("{source.ip}", {}, ABSENT),
        ("{n} {b} {f}", {"n": 4711, "b": True, "f": 0.5}, "4711 true 0.5"),
        ("{host.name}", {"host.name": ["a", "b", "c", "d", "e"]}, "a, b, c and 2 more"),
        ("{host.name|top(1)}", {"host.name": ["a", "b"]}, "a and 1 more"),
        ("{host.name|top(0)}", {"host.name": ["a", "b"]}, "a and 1 more"),
        ("{host.name|top(9)}", {"host.name": ["a", "b"]}, "a, b"),
        ("{host.name|top(3)}", {"host.name": "a"}, "a"),
        ("{} {|} {a|lower} {a|top(100)} {{a}}", {"a": "x"}, "{} {|} {a|lower} {a|top(100)} {x}"),
        ("no field", {"a": 1}, "no field"),
        ("{a}", {"a": "{b}", "b": "never looked at"}, "{b}"),
        ("{a}", {"a": []}, ""),
    ],
)
def test_placeholders_are_replaced_by_values(template: str, event: dict[str, Any], text: str) -> None:
    assert render(template, event) == text


def test_native_names_are_looked_up_under_the_events_names() -> None:
    event = {"process.executable": "C:\\x.exe"}
    assert render("{Image}", event, {"Image": "process.executable"}) == "C:\\x.exe"


def test_fields_are_found_in_order() -> None:
    assert fields_of("{a} {b.c|top(2)} {d|nothing} { e }") == ["a", "b.c", "e"]


def test_a_number_that_python_does_not_write_is_shown_as_such() -> None:
    assert render("{a}", {"a": 10**5000}) == "…"
    assert render("{a}", {"a": [1, 10**5000]}) == "1, …"


def test_long_values_are_cut_with_a_mark() -> None:
    text = render("{a}", {"a": "x" * 10_000})
    assert len(text) == MAX_VALUE
    assert text.endswith("…")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=40,
)
templates = st.text(max_size=200) | st.lists(
    st.sampled_from(["{", "}", "|", "top(", "3", ")", "a", "b", " ", "{a}", "{b|top(2)}"]), max_size=60
).map("".join)


@given(template=templates, event=st.dictionaries(st.sampled_from(["a", "b", "aa", "3"]), values))
def test_whatever_the_template_and_the_event_a_bounded_text_comes_out(template: str, event: dict[str, Any]) -> None:
    assert len(render(template, event)) <= MAX_SUMMARY


def test_a_template_of_braces_alone_takes_linear_time() -> None:
    assert len(render("{" * 100_000 + "a" * 100_000, {"a": 1})) == MAX_SUMMARY
