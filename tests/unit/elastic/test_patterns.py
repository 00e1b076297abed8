"""Patterns as Lucene reads them; that it does is shown by the contract tests, here is how they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.store import elastic_patterns as patterns
from vedette_engine.query.patterns import canonical_regex, wildcard_regex
from vedette_engine.query.tree import QueryError
from vedette_engine.query.values import fold


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", "()"),
        ("a|b|", "a|b|()"),
        ("(|a)", "(()|a)"),
        ("()", "(())"),
        ("\\t", "\t"),
        ("[\\n-]", "[\n\\-]"),
        ("a{3}", "a{3}"),
        ("a{3,}", "a{3,}"),
        ("a{3,5}b", "a{3,5}b"),
        ("a{,5}", "a\\{,5\\}"),
        ("{c}", "\\{c\\}"),
        ("a{", "a\\{"),
        ('a"b', 'a\\"b'),
        ("a#b@c&d~e<f>", "a\\#b\\@c\\&d\\~e\\<f\\>"),
        ("\\d+", "[0-9]+"),
        ("\\S", "[^\t\n\f\r ]"),
        ("[]a]", "[\\]a]"),
        ("[^a-z&]", "[^a-z\\&]"),
        ("a\\.b\\\\", "a\\.b\\\\"),
        (".*x?", ".*x?"),
    ],
)
def test_a_regular_expression_is_written_as_lucene_reads_it(pattern: str, expected: str) -> None:
    assert patterns.regex(canonical_regex(pattern)) == expected


@given(st.text(alphabet=st.sampled_from('aZ.*?\\^$+()[]{}|&~<>#@"ß\u017fKk\u0130\u0131\u03c2-/ ')))
def test_an_escaped_text_is_itself(text: str) -> None:
    # In what both share, the standard library reads the expression as Lucene does.
    assert re.fullmatch(re.sub(r'\\(["#@<>&~])', r"\1", patterns.escape(text)), text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_folded_text_matches_what_folds_to_the_same(text: str, other: str) -> None:
    expression = re.compile(patterns.folded(text).replace('\\"', '"'), re.DOTALL)
    assert expression.fullmatch(text)
    assert expression.fullmatch(fold(text))
    assert bool(expression.fullmatch(other)) == (fold(other) == fold(text))


@pytest.mark.parametrize(
    ("text", "family"), [("k", "kK\u212a"), ("s", "sS\u017f"), ("\u03c2", "\u03c3\u03a3\u03c2"), ("ß", "ß\u1e9e")]
)
def test_letters_with_more_than_two_forms_are_all_there(text: str, family: str) -> None:
    assert set(patterns.folded(text)) == set("[" + family + "]")


def test_letters_without_another_form_stand_alone() -> None:
    assert patterns.folded("5\u0131\u65e5-") == "5\u0131\u65e5-"
    assert not patterns.has_case("5\u0131\u65e5-")
    assert patterns.has_case("5x")


@given(st.text(alphabet="ab*?\\", max_size=12), st.text(alphabet="abAB*?\\", max_size=8))
def test_a_wildcard_matches_what_the_specification_says(pattern: str, text: str) -> None:
    expected = re.fullmatch(f"(?is){wildcard_regex(pattern)}", text)
    assert bool(re.fullmatch(patterns.wildcard(pattern), text, re.DOTALL)) == bool(expected)


def test_a_pattern_that_is_too_long_is_refused() -> None:
    with pytest.raises(QueryError, match="shorten"):
        patterns.wildcard("k" * 5000)
