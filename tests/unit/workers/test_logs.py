"""A log line is one line, whatever it was made of, and shows no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_workers import logs

Read = Callable[[], list[str]]


@pytest.fixture
def root() -> Iterator[None]:
    """The root logger as it was before."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def lines(form: Any, *messages: str, error: Exception | None = None, **context: Any) -> list[str]:
    stream = io.StringIO()
    formatter = logs.set_up(form, stream=stream, **context).formatter
    assert formatter is not None
    logger = logging.getLogger("vedette.test")
    for message in messages:
        if error is None:
            logger.warning("%s", message)
        else:
            logger.error("%s", message, exc_info=error)
    return stream.getvalue().splitlines()


@pytest.mark.usefixtures("root")
def test_a_json_line_says_who_when_and_what() -> None:
    (line,) = lines("json", "hello", worker="pipeline", namespace="shop", incarnation="abc")
    said = json.loads(line)
    assert {name: said[name] for name in ("level", "logger", "message", "worker", "namespace", "incarnation")} == {
        "level": "warning",
        "logger": "vedette.test",
        "message": "hello",
        "worker": "pipeline",
        "namespace": "shop",
        "incarnation": "abc",
    }
    assert said["time"].endswith("Z")
    (line,) = lines("json", "hello")
    assert "namespace" not in json.loads(line)


@pytest.mark.usefixtures("root")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_whatever_is_logged_is_one_line(message: str) -> None:
    (line,) = lines("json", message)
    assert isinstance(json.loads(line)["message"], str)
    assert len(lines("text", message)) == 1


@pytest.mark.usefixtures("root")
def test_nobody_forges_a_line_or_moves_a_cursor() -> None:
    forged = "x\n2026-01-01T00:00:00.000Z CRITICAL root: all is lost\x1b[2J\u2028"
    (line,) = lines("text", forged)
    assert "\\n2026" in line
    assert "\x1b" not in line
    assert json.loads(lines("json", forged)[0])["message"] == forged


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("form", ["json", "text"])
def test_long_texts_are_cut_and_it_is_told(form: str) -> None:
    (line,) = lines(form, "x" * 100_000)
    assert len(line) < 5000
    assert "96000 more characters" in line


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "message",
    [
        "cannot reach amqps://vedette.shop:hunter2secret@mq.example:5671/vhost",
        "GET / Authorization: Bearer hunter2secret",
        "ApiKey hunter2secret==",
        "{'password': 'hunter2secret'}",
        'token="hunter2secret"',
        "api_key=hunter2secret&x=1",
    ],
)
def test_credentials_are_hidden(form: str, message: str) -> None:
    for line in (*lines(form, message), *lines(form, "failed", error=ValueError(message))):
        assert "hunter2" not in line
    assert any("***" in line for line in lines(form, message))


@pytest.mark.usefixtures("root")
def test_an_exception_is_one_field_or_indented_lines() -> None:
    error = ValueError("first\nsecond")
    (line,) = lines("json", "failed", error=error)
    assert "ValueError: first" in json.loads(line)["exception"]
    first, *stack = lines("text", "failed", error=error)
    assert first.endswith("failed")
    assert stack
    assert all(part.startswith("    ") for part in stack)
