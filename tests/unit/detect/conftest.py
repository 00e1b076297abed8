"""Shared by the tests of the detection engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_engine.detect import scanner
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.explain import explain
from vedette_engine.detect.naive import matches
from vedette_engine.detect.naming import NATIVE
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma import compile_sigma

Verdict = Callable[[Rule, dict[str, Any]], bool]

HEAD = "title: t\nlogsource: {product: test}\ndetection:\n"


@pytest.fixture
def always_hyperscan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use Hyperscan, where it is installed, however few literals there are."""
    monkeypatch.setattr(scanner, "_WORTH_HYPERSCAN", 0)


@pytest.fixture
def rule_of() -> Callable[[str], Rule]:
    """Compiles the body of a detection section, each line indented by two spaces."""

    def compiled(detection: str) -> Rule:
        found = compile_sigma(HEAD + detection)
        assert not found.problems, found.problems
        return found.rules[0]

    return compiled


@pytest.fixture
def verdict() -> Verdict:
    """The verdict of a rule on an event, on which naive evaluation, both indexes and the explanation agree."""

    def judged(rule: Rule, event: dict[str, Any]) -> bool:
        expected = matches(rule, event, NATIVE)
        assert explain(rule, event, NATIVE).held is expected
        for hyperscan in (False, True):
            assert bool(Engine([rule], naming=NATIVE, hyperscan=hyperscan).match(event)) is expected
        return expected

    return judged
