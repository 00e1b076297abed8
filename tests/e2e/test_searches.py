"""Scheduled searches under `vedette up`: events over HTTP become one alert and its incident, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.release import SHOP, TOKEN, sshd
from tests.helpers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RULE = "many-names"
SECONDS = 60


@pytest.fixture
def shop(start: Callable[..., Any]) -> Any:
    made = start(SHOP, "shop")
    until(
        lambda: made.condition("alertrule", RULE, "Ready")[0] == "True", seconds=SECONDS, what="the search", pause=0.2
    )
    return made


def send(shop: Any, address: str, *names: str, ago: float = 0.0) -> None:
    """One failure per name, a second apart, the last one so many seconds ago."""
    first = time.time() - ago - len(names)
    lines = [sshd(name, address, when=first + number) for number, name in enumerate(names)]
    answer = shop.send(TOKEN, "\n".join(lines).encode(), **{"Content-Type": "text/plain"})
    assert answer.status < 300, answer.text


def alerts_of(shop: Any, address: str) -> list[Any]:
    return [alert for alert in shop.alerts(RULE) if alert.body["detection"]["group"] == {"source.ip": address}]


def test_events_become_one_alert_and_its_incident(shop: Any) -> None:
    send(shop, "192.0.2.21", "spray-a", "spray-b", "spray-a", "spray-c", "spray-d", "spray-e")
    send(shop, "192.0.2.22", "spray-a", "spray-b", "spray-c", "spray-a")
    until(lambda: alerts_of(shop, "192.0.2.21"), seconds=SECONDS, what="an alert")
    (alert,) = alerts_of(shop, "192.0.2.21")
    assert alert.summary == "192.0.2.21 tried spray-a, spray-b, spray-c and 1 more on web1, 5 times in all"
    assert alert.title == "One address tries many names"
    assert len(alert.body["events"]) == 5

    def incident() -> str:
        return str(alerts_of(shop, "192.0.2.21")[0].workflow.get("incident", ""))

    until(incident, seconds=SECONDS, what="its incident")
    assert incident() in shop.get("incidents").stdout
    assert shop.page(f"/alerts/{alert.id}").status == 200
    send(shop, "192.0.2.22", "spray-d", ago=30)
    until(lambda: alerts_of(shop, "192.0.2.22"), seconds=SECONDS, what="an alert by an event that came late")
    assert len(alerts_of(shop, "192.0.2.21")) == 1


def test_a_scheduler_that_is_killed_again_and_again_alerts_once(shop: Any) -> None:
    addresses = [f"198.51.100.{number}" for number in range(8)]
    for address in addresses:
        send(shop, address, *(f"spray-{name}" for name in "abcde"))
        before = shop.pids()["scheduler"]
        os.kill(before, signal.SIGKILL)
        until(lambda: shop.pids().get("scheduler", before) != before, seconds=SECONDS, what="another scheduler")  # noqa: B023 # called at once
    until(
        lambda: all(len(alerts_of(shop, address)) == 1 for address in addresses),
        seconds=SECONDS,
        what="one alert of each",
    )
    until(
        lambda: len({alert.workflow.get("incident") for alert in shop.alerts(RULE)} - {None}) == len(addresses),
        seconds=SECONDS,
        what="an incident of each",
    )
    assert len(shop.alerts(RULE)) == len(addresses)


def test_without_searches_there_is_no_scheduler(shop: Any, alive: Callable[[int], bool]) -> None:
    pid = shop.pids()["scheduler"]
    file: Path = shop.folder / "searches.yaml"
    text = file.read_text()
    file.unlink()
    until(lambda: not alive(pid), seconds=SECONDS, what="its end")
    file.write_text(text)
    until(lambda: alive(shop.pids().get("scheduler", pid)), seconds=SECONDS, what="another one")
    until(
        lambda: shop.condition("alertrule", RULE, "Ready")[0] == "True", seconds=SECONDS, what="the search", pause=0.2
    )
