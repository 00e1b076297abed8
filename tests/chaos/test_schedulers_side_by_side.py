"""Schedulers on real servers, with a tenant's own rights: whoever comes, goes or is killed, each group alerts once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.store.protocol import Alert, AlertFilter, NewEvent
from vedette_engine.alerting import notices
from vedette_engine.normalise.document import to_document
from vedette_engine.wire import ALERT_QUEUE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GROUPS = 60
KILLS = 6
SETTLE = 8_000
"""ms; the machine that tests may be busy, so a bulk may take that long."""
PATIENCE = 120
RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: many-names, namespace: shop}
spec:
  severity: medium
  summary: "{labels.team} tried {user.name} ({count} times)"
  search:
    query: event.action:tried
    every: 1s
    window: 10m
    groupBy: [labels.team, source.ip]
    condition: {count: {gte: 3}, distinct: {field: user.name, gte: 2}}
  incident: {open: auto, groupBy: [labels.team], within: 1h}
"""
PROGRAM = """
import signal, sys
from pathlib import Path
from vedette_cli.pods import Servers
from vedette_workers.scheduler.worker import SchedulerWorker, Settings
namespace, backends, name, settle = sys.argv[1:]
servers = Servers(Path(backends), name)
settings = Settings(namespace, name, settle=int(settle), bundle_interval=0.2)
made = SchedulerWorker(settings, servers.store(namespace), servers.broker(namespace))
signal.signal(signal.SIGTERM, lambda *_: made.stop())
made.run()
"""
Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tenant: Any) -> Iterator[Start]:
    """Starts a scheduler as a process of its own; all end with the test."""
    made: list[subprocess.Popen[bytes]] = []

    def run() -> subprocess.Popen[bytes]:
        name = f"scheduler-{len(made)}"
        command = [sys.executable, "-c", PROGRAM, tenant.name, str(tenant.folder / "backends"), name, str(SETTLE)]
        with (tenant.folder / f"{name}.log").open("wb") as log:
            made.append(subprocess.Popen(command, stdout=log, stderr=log))
        return made[-1]

    yield run
    for process in made:
        process.kill()
        process.wait()


def store(tenant: Any, group: int, part: int) -> None:
    """The events of a group, in two parts: only both together alert, once."""
    now = time.time_ns() // 1_000_000
    users = (("root", "root"), ("oracle", "oracle", "root"))[part]
    made = []
    for number, user in enumerate(users):
        event = {
            "event.action": "tried",
            "user.name": user,
            "source.ip": f"192.0.2.{group}",
            "labels.team": f"Team {group % 3}",
        }
        document = to_document(event)
        key = f"{group:04x}{part:04x}{number:024x}"
        made.append(NewEvent(key, now, now - 60_000 + 1000 * number, key, document, maybe_repeat=False))
    tenant.store.create_events("7d", made)


def alerts(tenant: Any) -> list[Alert]:
    return list(tenant.store.search_alerts(AlertFilter(rules=("many-names",)), size=500).alerts)


def told(tenant: Any) -> set[str]:
    """Alerts that the responder was told of."""
    consumer = tenant.broker.consume([ALERT_QUEUE], prefetch=500)
    found: set[str] = set()
    while deliveries := consumer.fetch(500, 2.0):
        for delivery in deliveries:
            found |= {notice.alert for notice in notices.decode(delivery.body, delivery.headers)}
        consumer.ack([delivery.tag for delivery in deliveries])
    consumer.close()
    return found


def reports(tenant: Any, name: str) -> dict[str, Any]:
    return dict(next((beat.body for beat in tenant.store.heartbeats() if beat.worker == name), {}))


def test_two_schedulers_that_are_killed_again_and_again_alert_once(tenant: Any, start: Start) -> None:
    seed = time.time_ns()
    dice = random.Random(seed)
    head = tenant.publish_bundle(RULE)
    running = [start(), start()]
    until(lambda: reports(tenant, "scheduler-0").get("bundle") == head, seconds=60, what=tenant.logs())
    todo = [(group, part) for part in (0, 1) for group in range(GROUPS)]
    for number, (group, part) in enumerate(todo):
        store(tenant, group, part)
        if number % (len(todo) // KILLS) == 0:
            victim = running.pop(dice.randrange(len(running)))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            running.append(start())
    until(lambda: len(alerts(tenant)) >= GROUPS, seconds=PATIENCE, what=f"alerts\n{tenant.logs()}", pause=0.5)
    for process in running:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, tenant.logs()
    found = alerts(tenant)
    groups = Counter(alert.body["detection"]["group"]["source.ip"] for alert in found)
    assert groups == {f"192.0.2.{group}": 1 for group in range(GROUPS)}, f"seed {seed}"
    assert told(tenant) == {alert.id for alert in found}, f"seed {seed}"
    one = next(alert for alert in found if alert.body["detection"]["group"]["source.ip"] == "192.0.2.4")
    assert one.summary == "Team 1 tried root, oracle (3 times)"


def test_a_scheduler_that_begins_looks_at_what_was_stored_while_none_ran(tenant: Any, start: Start) -> None:
    tenant.publish_bundle(RULE)
    first = start()
    until(
        lambda: reports(tenant, "scheduler-0").get("rules", {}).get("many-names", {}).get("rounds"),
        seconds=60,
        what=tenant.logs(),
    )
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    for part in (0, 1):
        store(tenant, 7, part)
    start()
    until(lambda: alerts(tenant), seconds=PATIENCE, what=f"the alert\n{tenant.logs()}", pause=0.5)
    (alert,) = alerts(tenant)
    assert alert.body["detection"]["group"] == {"labels.team": "team 1", "source.ip": "192.0.2.7"}
    assert alert.body["detection"]["distinct"] == {"field": "user.name", "count": 2}
