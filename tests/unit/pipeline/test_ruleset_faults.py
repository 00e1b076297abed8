"""A rule that cannot be tried costs its own verdict, never those of the others."""

from __future__ import annotations

import pytest

from vedette_engine.alerting.bundle import Bundle, BundledRule
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.naive import matches
from vedette_engine.detect.sigma import compile_sigma
from vedette_workers.pipeline import ruleset
from vedette_workers.pipeline.ruleset import Ruleset

SIGMA = """
title: {name}
logsource: {{category: test}}
detection: {{sel: {{event.action: {action}}}, condition: sel}}
"""


def bundle(**actions: str) -> Bundle:
    rules = [
        BundledRule(name, name, [compile_sigma(SIGMA.format(name=name, action=action)).rules[0].to_json()])
        for name, action in actions.items()
    ]
    return Bundle("shop", rules=rules)


def loaded(made: Bundle) -> Ruleset:
    rules = Ruleset("shop")
    rules.swap(made, rules.prepare(made))
    return rules


def test_when_matching_fails_each_rule_is_tried_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = loaded(bundle(good="login", other="logout", bad="login"))
    real = matches

    def explode(*_: object) -> bool:
        raise ValueError("boom")

    monkeypatch.setattr(Engine, "match", explode)
    monkeypatch.setattr(ruleset, "matches", lambda rule, event: explode() if rule.key == "bad/0" else real(rule, event))
    assert [rule.key for rule in rules.match({"event.action": "login"}, b"{}", None)] == ["good/0"]
    assert rules.problems() == ["rule bad: ValueError: boom"]
    assert rules.failures == {"bad": 1}


def test_a_new_version_of_a_failing_rule_starts_without_the_old_one_s_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = loaded(bundle(bad="login"))

    def explode(*_: object) -> bool:
        raise ValueError("boom")

    with monkeypatch.context() as broken:
        broken.setattr(Engine, "match", explode)
        broken.setattr(ruleset, "matches", explode)
        assert not rules.match({"event.action": "login"}, b"{}", None)
    mended = Bundle("shop", rules=[BundledRule("bad", "mended", bundle(bad="login").rules[0].sigma)])
    rules.swap(mended, rules.prepare(mended))
    assert rules.problems() == []
    assert [rule.key for rule in rules.match({"event.action": "login"}, b"{}", None)] == ["bad/0"]


def test_an_engine_that_was_built_for_older_rules_is_not_taken_and_another_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ruleset, "SAMPLE_EVERY", 1)
    monkeypatch.setattr(ruleset, "SAMPLE", 3)
    rules = loaded(bundle(first="login"))
    for _ in range(3):
        rules.match({"event.action": "other"}, b"{}", None)
    rules.settle(1.0)
    changed = bundle(first="login", second="logout")
    rules.swap(changed, rules.prepare(changed))
    builds = 0
    while not rules.state()["learned"]:
        builder = rules._builder
        assert builder is not None
        builder.join(10)
        builds += 1
        rules.settle(2.0)
        rules.settle(2.0)
    assert builds == 2
    assert [rule.key for rule in rules.match({"event.action": "logout"}, b"{}", None)] == ["second/0"]
