"""Alerts whose rules open incidents are told to the responder, before the message that raised them is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.errors import UnavailableError
from vedette_backends.store.protocol import AlertFilter, ItemResult, Outcome
from vedette_engine.alerting.notices import Notice, decode, group_of
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.pipeline import committer as module

Manifest = Callable[..., str]
AUTO = "incident: {open: auto, groupBy: [user.name, source.ip], within: 2h}"
EVENT = b'{"event":{"action":"marked"},"user":{"name":"root"},"source":{"ip":"192.0.2.7"}}'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed commits are tried again at once."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


def told(space: Any) -> list[Notice]:
    """What lies in the queue of notices."""
    consumer = space.broker.consume([ALERT_QUEUE], prefetch=100)
    deliveries = consumer.fetch(100, 1)
    consumer.close()
    return [notice for delivery in deliveries for notice in decode(delivery.body, delivery.headers)]


def test_an_alert_of_a_rule_that_opens_incidents_is_told_with_its_group(
    space: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    space.publish(space.bundle(make_source(), make_rule(extra=AUTO), make_rule("quiet", extra="owner: ana")))
    space.worker()
    space.send(b"{}", EVENT)
    space.wait_drained()
    (notice,) = told(space)
    alerts = space.store.search_alerts(AlertFilter(rules=["marked"])).alerts
    assert notice.alert == alerts[0].id
    assert (notice.rule, notice.time, notice.within) == ("marked", alerts[0].time, 2 * 3_600_000)
    assert notice.group == group_of(["root", "192.0.2.7"])


def test_a_field_that_is_not_there_is_a_value_of_its_own(line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    line.load(make_source(), make_rule(extra=AUTO))
    effects = line.run(b'{"event":{"action":"marked"}}')
    assert effects.notices[0].group == group_of([None, None])


def test_a_repeated_delivery_tells_again(space: Any, make_source: Manifest, make_rule: Manifest) -> None:
    """The worker may have died between storing the alert and telling of it."""
    space.publish(space.bundle(make_source(), make_rule(extra=AUTO)))
    space.worker()
    for _ in range(2):
        space.send(EVENT, key="same")
        space.wait_drained()
    notices = told(space)
    assert len(notices) == 2
    assert len(set(notices)) == 1
    assert space.store.search_alerts(AlertFilter()).total == 1


@pytest.mark.parametrize("late", [False, True], ids=["before it works", "after it worked"])
def test_a_message_is_not_done_before_its_alerts_were_told(
    space: Any, make_source: Manifest, make_rule: Manifest, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    space.publish(space.bundle(make_source(), make_rule(extra=AUTO)))
    real = space.broker.publish
    calls: list[int] = []

    def publish(messages: Any) -> None:
        if messages[0].queue != ALERT_QUEUE:
            real(messages)
            return
        if late:
            real(messages)
        if len(calls) < 3:
            calls.append(space.broker.stats("events.app").unacked)
            raise UnavailableError("the connection was lost")
        real(messages)

    monkeypatch.setattr(space.broker, "publish", publish)
    space.worker()
    space.send(EVENT)
    space.wait_drained()
    assert calls == [1, 1, 1]
    assert len(set(told(space))) == 1
    assert space.count() == 1


def test_an_alert_that_the_store_cannot_hold_is_a_dead_letter_and_is_not_told(
    space: Any, make_source: Manifest, make_rule: Manifest, unavailable: Any
) -> None:
    space.publish(space.bundle(make_source(), make_rule(extra=AUTO)))
    store = unavailable(space.store, {})
    store.create_alerts = lambda alerts: [ItemResult(Outcome.REJECTED, "too large") for _ in alerts]
    worker = space.worker(store=store)
    space.send(EVENT)
    space.wait_drained()
    (letter,) = space.letters()
    assert (letter.reason, letter.original, letter.detail) == (
        "AlertRejected",
        EVENT,
        "an alert of rule marked: too large",
    )
    assert space.count() == 1
    assert ALERT_QUEUE not in space.broker.queues()
    assert worker.counters.letters == {"AlertRejected": 1}
