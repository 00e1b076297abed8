"""The worker as a whole: bundles in, alerts out, through failures and stops."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_engine.alerting.bundle import BundledRule
from vedette_workers.metrics import METRICS
from vedette_workers.scheduler import plan, worker
from vedette_workers.scheduler.figures import Figures
from vedette_workers.together import Together

SECONDS = 20
START = 1_795_000_000_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow one another at once."""
    monkeypatch.setattr(worker, "IDLE", 0.005)
    monkeypatch.setattr(plan, "SHORTEST", 0.02)
    monkeypatch.setattr(plan, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(plan, "LONGEST_PAUSE", 0.05)


def quick(desk: Any, name: str = "guesses", **fields: Any) -> BundledRule:
    made: BundledRule = desk.rule(name, every=0.0001, **fields)
    return made


class Failing:
    """The real store, except that named methods raise the given error where it fits."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.errors: dict[str, Exception] = {}
        self.only: Any = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if name in self.errors and (self.only is None or self.only(arguments)):
                raise self.errors[name]
            return method(*arguments, **options)

        return call


def settled(desk: Any, made: Any, rule: str = "guesses") -> None:
    """Wait until everything that is stored now has been looked at."""
    desk.now += 2001
    newest = desk.now - 2000
    until(
        lambda: rule in made.plan.entries and made.plan.entries[rule].figures.checkpoint >= newest,
        seconds=SECONDS,
        what="the search to come by",
    )


def test_stored_events_become_alerts(desk: Any) -> None:
    desk.publish(quick(desk, incident={"groupBy": [], "within": 1}))
    made = desk.worker()
    settled(desk, made)
    desk.send(0, 50)
    settled(desk, made)
    until(lambda: desk.minutes() == [0, 50], seconds=SECONDS, what="alerts")
    until(lambda: len(desk.notices()) == 2, seconds=SECONDS, what="notices")


def test_rules_of_a_new_bundle_begin_and_those_that_are_gone_end(desk: Any) -> None:
    desk.publish(quick(desk, "one"))
    made = desk.worker()
    settled(desk, made, "one")
    head = desk.publish(quick(desk, "two"))
    settled(desk, made, "two")
    desk.send(0)
    settled(desk, made, "two")
    assert desk.minutes("two") == [0]
    assert desk.alerts("one") == []
    until(lambda: desk.beat().get("bundle") == head, seconds=SECONDS, what="a heartbeat that tells")
    assert set(desk.beat()["rules"]) == {"two"}
    until(lambda: desk.state("one").gone is not None, seconds=SECONDS, what="the rule that is gone to be noted")


def test_rules_that_pipelines_load_are_none_of_the_scheduler_s(desk: Any) -> None:
    desk.publish(BundledRule("sigma", "h", sigma=()), quick(desk))
    made = desk.worker()
    settled(desk, made)
    assert set(made.plan.entries) == {"guesses"}


def test_a_rule_that_cannot_be_read_or_asked_does_not_stop_the_others(desk: Any) -> None:
    store = Failing(desk.store)
    store.errors["groups"] = RefusedError("this field cannot be grouped by")
    store.only = lambda arguments: "user.name" in arguments[2]
    desk.publish(
        quick(desk, "refused", by=("user.name",)),
        BundledRule("unreadable", "h", sigma=(), search={"query": "(", "every": 1, "window": 1, "groupBy": []}),
        BundledRule("strange", "h", sigma=(), search={"query": "*"}),
        quick(desk),
    )
    made = desk.worker(store=store)
    settled(desk, made)
    desk.send(0)
    settled(desk, made)
    assert desk.minutes() == [0]

    def told() -> bool:
        rules = desk.beat().get("rules", {})
        return {name for name, one in rules.items() if one.get("error")} == {"refused", "unreadable", "strange"}

    until(told, seconds=SECONDS, what="a heartbeat that tells")
    assert "cannot be grouped by" in desk.beat()["rules"]["refused"]["error"]
    assert any("unreadable" in error for error in desk.beat()["errors"])
    store.errors.clear()
    settled(desk, made, "refused")
    until(lambda: not desk.beat()["rules"]["refused"].get("error"), seconds=SECONDS, what="the problem to be over")


def test_while_the_store_is_down_nothing_is_lost_and_no_rule_is_blamed(desk: Any) -> None:
    store = Failing(desk.store)
    desk.publish(quick(desk))
    made = desk.worker(store=store)
    settled(desk, made)
    until(lambda: not made.vitals.unready(), seconds=SECONDS, what="a ready scheduler")
    away = UnavailableError("Elasticsearch is away")
    store.errors = dict.fromkeys(("groups", "get_record", "put_record", "head", "search_events"), away)
    desk.send(0)
    desk.now += 2001
    failed = made.plan.entries["guesses"].figures.failures
    until(lambda: made.plan.entries["guesses"].figures.failures > failed, seconds=SECONDS, what="a round that fails")
    assert made.plan.entries["guesses"].figures.error == ""
    store.errors = {}
    settled(desk, made)
    assert desk.minutes() == [0]


def test_a_store_that_does_not_answer_is_told_to_the_probe(desk: Any) -> None:
    store = Failing(desk.store)
    store.errors["put_heartbeat"] = UnavailableError("Elasticsearch is away")
    made = desk.worker(store=store)
    until(lambda: "away" in made.vitals.unready().get("store", ""), seconds=SECONDS, what="the probe to know")
    assert "bundle" in made.vitals.unready()
    assert made.vitals.hanging() == ""


def test_a_scheduler_without_a_bundle_waits_for_one(desk: Any) -> None:
    made = desk.worker()
    waiting = {"bundle": "not yet"}
    until(lambda: made.vitals.unready() == waiting, seconds=SECONDS, what="all but the bundle")
    desk.publish(quick(desk))
    until(lambda: not made.vitals.unready(), seconds=SECONDS, what="a ready scheduler")


def test_two_schedulers_at_once_alert_once(desk: Any) -> None:
    desk.publish(quick(desk, incident={"groupBy": ["source.ip"], "within": 1}))
    one, other = desk.worker(), desk.worker(worker="scheduler-2")
    settled(desk, one)
    settled(desk, other)
    for number in range(5):
        desk.send(0, 1, 60, ip=f"192.0.2.{number}")
        desk.now += 1000
    settled(desk, one)
    settled(desk, other)
    assert desk.minutes() == [0] * 5 + [60] * 5
    total = sum(made.plan.entries["guesses"].figures.alerts for made in (one, other))
    assert total == 10


def test_the_last_rule_s_end_is_noted_though_the_worker_is_stopped_at_once(desk: Any) -> None:
    desk.publish(quick(desk))
    made = desk.worker(bundle_interval=3600.0)
    settled(desk, made)
    desk.publish()
    desk.stop()
    assert desk.state().gone is not None


def test_what_is_remembered_of_rules_that_went_meanwhile_is_noted_at_the_start(desk: Any) -> None:
    desk.look(desk.rule("old"))
    desk.publish(quick(desk))
    desk.worker()
    until(lambda: desk.state("old").gone is not None, seconds=SECONDS, what="the rule that is gone to be noted")


def test_metrics_tell_of_each_rule(desk: Any) -> None:
    desk.publish(quick(desk))
    made = desk.worker()
    settled(desk, made)
    desk.send(0)
    settled(desk, made)
    found = {name: value for name, labels, value in made.samples() if labels == ("guesses",)}
    wanted = {spec.name for spec in METRICS if spec.labels == ("rule",) and spec.roles == ("scheduler",)}
    assert found.keys() == wanted
    assert (found["vedette_scheduler_alerts_total"], found["vedette_scheduler_rule_matches_total"]) == (1, 1)


def test_a_search_that_is_late_says_by_how_much() -> None:
    figures = Figures(checkpoint=START)
    assert figures.overdue(START + 2000 + 60_000, 60_000, 2000) == 0
    assert figures.overdue(START + 2000 + 90_000, 60_000, 2000) == 30_000
    assert Figures().overdue(START, 60_000, 2000) == 0


def test_one_process_serves_several_namespaces(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [
        worker.SchedulerWorker(worker.Settings(name, worker=name), desk.store, desk.broker) for name in ("a", "b")
    ]
    monkeypatch.setattr(workers[0], "_follow", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Together(workers).run()
