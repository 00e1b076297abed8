"""Plain scalars mean what they mean to `kubectl apply`; the table follows sigs.k8s.io/yaml's reader."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_crds.scalars import key_text, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("On", True),
        ("y", True),
        ("NO", False),
        ("off", False),
        ("n", False),
        ("yEs", "yEs"),
        ("", None),
        ("~", None),
        ("Null", None),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("08", 8),
        ("5.0", 5),
        ("1e3", 1000),
        (".5", 0.5),
        ("-1.25", -1.25),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", 9223372036854775808.0),
        ("1e400", "1e400"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("2026-11-22", "2026-11-22"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("1.2.3.4", "1.2.3.4"),
        ("-", "-"),
        (".", "."),
        ("5m", "5m"),
        ("0x", "0x"),
        ("1__", 1),
    ],
)
def test_a_plain_scalar_means_what_kubectl_makes_of_it(text: str, value: Any) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_what_json_cannot_hold_is_left_to_the_caller() -> None:
    assert resolve(".inf") == math.inf
    assert math.isnan(float(resolve(".NaN") or 0))


def test_a_number_of_a_million_digits_stays_text() -> None:
    assert resolve("9" * 1_000_000) == "9" * 1_000_000


@given(st.text())
def test_any_text_has_a_value(text: str) -> None:
    assert resolve(text) is None or isinstance(resolve(text), str | int | float)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (8080, "8080"), (None, None)])
def test_keys_become_text(value: Any, text: str | None) -> None:
    assert key_text(value) == text
