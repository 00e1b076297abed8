from __future__ import annotations

from typing import Any

import pytest

from vedette_crds.logsource import LogSourceSpec
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.testing import run_source_tests

LINE = "Nov 22 10:00:00 web1 sshd[188]: Failed password for root from 192.0.2.7 port 4711 ssh2"


def spec(**test: Any) -> dict[str, Any]:
    return {
        "input": {"http": {"tokenSecretRef": {"name": "t", "key": "k"}}},
        "format": "json",
        "parser": "linux.auth",
        "dataset": "system.auth",
        "logsource": {"product": "linux", "service": "auth"},
        "windows": {"security4688": "processCreation"},
        "limits": {"maxEventBytes": 2048},
        "mapping": [{"from": "ms", "to": "event.duration", "convert": {"number": {"multiply": 1000000}}}],
        "tests": [{"name": "one", **test}],
    }


def test_a_source_config_reads_the_manifest_and_the_model_alike() -> None:
    written = SourceConfig.from_spec("shop", "web", spec(input=LINE))
    assert written == SourceConfig(
        namespace="shop",
        name="web",
        format="json",
        parser="linux.auth",
        dataset="system.auth",
        product="linux",
        service="auth",
        security_4688=True,
        max_event_bytes=2048,
        mapping=tuple(spec()["mapping"]),
    )
    assert SourceConfig.from_spec("shop", "web", LogSourceSpec.model_validate(spec(input=LINE))) == written


@pytest.mark.parametrize(
    "test",
    [
        {"input": LINE, "expect": {"source.ip": "192.0.2.7", "source.port": 4711, "event.outcome": "failure"}},
        {"input": LINE, "expect": {"event.category": "authentication", "@timestamp": "2025-11-22T10:00:00Z"}},
        {"input": LINE, "received": "2021-01-01T00:00:00Z", "expect": {"@timestamp": "2020-11-22T10:00:00.000Z"}},
        {"input": {"message": LINE, "ms": 2}, "expect": {"event.duration": 2000000, "user": {"name": "root"}}},
        {"input": LINE, "absent": ["user.id"], "expect": {"vedette.timestamp_problem": None}},
    ],
)
def test_tests_that_hold_pass(test: dict[str, Any]) -> None:
    result = run_source_tests(LogSourceSpec.model_validate(spec(**test)))[0]
    assert (result.passed, result.message, result.path) == (True, "", "spec.tests[0]")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"input": LINE, "expect": {"source.ip": "192.0.2.8"}}, "source.ip is '192.0.2.7', but must be '192.0.2.8'"),
        ({"input": LINE, "expect": {"user.id": "0"}}, "user.id is absent, but must be '0'"),
        ({"input": LINE, "absent": ["user.name"]}, "user.name is 'root', but must be absent"),
        ({"input": LINE, "expect": {"user.name": None}}, "user.name is 'root', but must be absent"),
        ({"input": LINE + "x" * 3000, "expect": {}}, "TooLarge: the record has 3086 bytes, the source allows 2048"),
    ],
)
def test_tests_that_do_not_hold_say_what_differs(test: dict[str, Any], said: str) -> None:
    result = run_source_tests(spec(**test))[0]
    assert (result.passed, result.message) == (False, said)


def test_a_source_that_cannot_work_fails_its_tests() -> None:
    result = run_source_tests({**spec(input=LINE), "parser": "cobol"})[0]
    assert result.passed is False
    assert "unknown parser 'cobol'" in result.message
