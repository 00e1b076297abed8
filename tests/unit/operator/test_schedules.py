"""Rules that are scheduled searches: schedulers load them, and what these report is in the rule's status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.store.protocol import Heartbeat
from vedette_operator.observe import Observer, Patience
from vedette_operator.schedules import Schedule
from vedette_operator.verdict import Finding

SEARCH = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {name}, namespace: shop}}
spec:
  severity: high
  search:
    query: 'event.action:{value}'
    window: 20m
    groupBy: [source.ip]
    condition: {{count: {{gte: 2}}}}
  tests:
  - name: twice is enough
    timeline: [{{repeat: {{count: 2}}, event: {{event.action: tried, source.ip: 192.0.2.7}}}}]
    expect: {{alerts: 1}}
"""
LIVE = Finding("Loaded", "True", "Live", "")


def search(name: str = "guesses", value: str = "tried") -> str:
    return SEARCH.format(name=name, value=value)


def report(world: Any, *, bundle: str | None = None, **rules: Any) -> None:
    """A scheduler's heartbeat; without `bundle` it has the one in force."""
    head = world.store().head("bundle") if bundle is None else bundle
    world.beat(worker="scheduler", role="scheduler", bundle=head, rules=rules)
    world.settle()


def beat(**rules: Any) -> Heartbeat:
    return Heartbeat("scheduler", "1", 0, {"role": "scheduler", "rules": rules})


def test_a_search_is_loaded_when_the_scheduler_has_it_whatever_pipelines_say(
    world: Any, make_source: Callable[..., str], make_rule: Callable[..., str]
) -> None:
    world.put(source=make_source(), search=search(), rule=make_rule())
    assert world.conditions("AlertRule", "marked")["Loaded"] == ("True", "Live")
    conditions = world.conditions("AlertRule", "guesses")
    assert conditions["Accepted"][0] == conditions["Tested"][0] == "True"
    assert conditions["Loaded"] == conditions["Ready"] == ("Unknown", "NoWorkers")
    assert "scheduler" in world.condition("AlertRule", "guesses", "Loaded")["message"]
    report(world, bundle="an-older-one")
    assert world.conditions("AlertRule", "guesses")["Loaded"] == ("False", "Waiting")
    report(world)
    assert world.conditions("AlertRule", "guesses")["Ready"] == ("True", "AllGood")


def test_what_a_scheduler_reports_of_a_rule_is_in_its_status(world: Any, make_source: Callable[..., str]) -> None:
    world.put(source=make_source(), search=search())
    report(world, guesses={"matches": 7, "alerts": 2, "last_alert": 1_795_000_000_000})
    status = world.status("AlertRule", "guesses")
    assert status["stats"] == {"matches": 7, "alerts": 2, "lastAlertTime": "2026-11-18T11:06:40Z"}
    report(world, guesses={"error": "the search fails: RefusedError: no"})
    assert world.conditions("AlertRule", "guesses")["Ready"] == ("False", "WorkerFailed")
    report(world, guesses={"note": "more than 10,000 events"})
    assert world.conditions("AlertRule", "guesses")["Ready"] == ("True", "AllGood")
    assert world.condition("AlertRule", "guesses", "Loaded")["message"] == "more than 10,000 events"


def test_a_search_of_which_nothing_new_is_told_is_not_written_again(
    world: Any, make_source: Callable[..., str]
) -> None:
    world.put(source=make_source(), search=search())
    report(world, guesses={"matches": 7})
    world.written.clear()
    for _ in range(3):
        report(world, guesses={"matches": 7, "lag_ms": 3, "last_round": 99})
    assert [key for key in world.written if key.kind == "AlertRule"] == []


def test_schedulers_are_listened_to_no_more_often_than_asked_for(
    world: Any, make_source: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.controller, "_observer", Observer(patience=Patience(searches=3_600_000)))
    world.put(source=make_source(), search=search())
    report(world, guesses={"matches": 7})
    assert world.conditions("AlertRule", "guesses")["Ready"] == ("True", "AllGood")
    report(world, guesses={"error": "it fails"})
    assert world.conditions("AlertRule", "guesses")["Ready"] == ("True", "AllGood")


def test_a_namespace_is_searched_as_long_as_such_a_rule_is_in_force(
    world: Any, make_source: Callable[..., str], make_rule: Callable[..., str]
) -> None:
    world.put(source=make_source(), rule=make_rule())
    space = world.controller.spaces["shop"]
    assert not space.searches
    world.put(search=search())
    assert space.searches
    world.put(search=search(value="nothing-of-the-test"))
    assert space.searches, "the last good version stays in force"
    world.put(search="")
    assert not space.searches


@pytest.mark.parametrize(
    ("told", "wanted_finding"),
    [
        ({}, LIVE),
        ({"error": "it fails"}, Finding("Loaded", "False", "WorkerFailed", "it fails")),
        ({"note": "too many"}, Finding("Loaded", "True", "Live", "too many")),
    ],
    ids=["nothing", "an error", "a note"],
)
def test_the_condition_tells_what_schedulers_say(told: dict[str, str], wanted_finding: Finding) -> None:
    assert Schedule.of([beat(), beat(a=told)], "a").loaded(LIVE) == wanted_finding


def test_a_search_that_is_not_loaded_stays_so_whatever_its_rounds_say() -> None:
    waiting = Finding("Loaded", "False", "Waiting", "")
    assert Schedule.of([beat(a={"error": "it fails"})], "a").loaded(waiting) == waiting


def test_figures_of_several_schedulers_are_added() -> None:
    found = Schedule.of([beat(a={"matches": 2, "last_alert": 5000}), beat(a={"matches": 3, "alerts": 1})], "a")
    assert found.stats() == {"matches": 5, "alerts": 1, "lastAlertTime": "1970-01-01T00:00:05Z"}
