"""The same manifests and the same events give the same alerts on a laptop and on a cluster."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.release import SHOP, TOKEN, Release, sshd
from tests.helpers import until
from tests.up import Vedette

from vedette_backends.store.protocol import Alert, TimeRange
from vedette_engine.query.lucene import parse

NETWORK = "203.0.113."
"""Addresses of these events, and of no others in the cluster."""


@pytest.fixture
def laptop(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vedette]:
    """`vedette up` on the shop's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(SHOP, tmp_path / "manifests")
    vedette = Vedette(tmp_path / "manifests", "shop", free_port)
    try:
        vedette.start()
        yield vedette
    finally:
        vedette.kill()


def events() -> str:
    """What one attacker after the other does, and what others do meanwhile."""
    now = time.time()
    lines = []
    for number in range(40):
        user = ("backup-admin", "root", "ana")[number % 3]
        outcome = ("Failed", "Accepted")[number % 2]
        address = f"{NETWORK}{number // 4}"
        lines.append(sshd(user, address, outcome=outcome, host=f"web{1 + number % 3}", when=now - 600 + number))
    for number in range(6):
        when = now - 500 + 10 * number
        lines.append(sshd(f"spray-{number % 4}", f"{NETWORK}200", when=when))
        # The other one tries too few names.
        lines.append(sshd(f"spray-{number % 2}", f"{NETWORK}201", when=when))
    return "".join(line + "\n" for line in lines)


def told(alerts: list[Alert]) -> list[tuple[Any, ...]]:
    """What people see of alerts, and to which groups they belong; names of incidents differ."""
    ours = [alert for alert in alerts if NETWORK in alert.summary]
    first: dict[str, int] = {}
    for alert in sorted(ours, key=lambda one: (one.time, one.rule)):
        first.setdefault(str(alert.workflow.get("incident") or ""), alert.time)
    return sorted(
        (
            alert.rule,
            alert.summary,
            alert.time,
            alert.severity,
            alert.title,
            first[alert.workflow["incident"]] if "incident" in alert.workflow else None,
            [event["document"].get("vedette.other", {}).get("labels.owner") for event in alert.body["events"]],
        )
        for alert in ours
    )


def complete(alerts: list[Alert]) -> bool:
    """Whether everything is there that the events lead to, incidents of the decoy's alerts included."""
    ours = [alert for alert in alerts if NETWORK in alert.summary]
    decoy = [alert for alert in ours if alert.rule == "decoy-account"]
    found = [alert for alert in ours if alert.rule == "many-names"]
    opening = [*decoy, *found]
    return len(decoy) == 14 and len(ours) == 22 and all("incident" in alert.workflow for alert in opening)


def test_a_folder_gives_the_same_alerts_on_a_laptop_and_on_a_cluster(shop: Release, laptop: Vedette) -> None:
    body = events()
    assert laptop.send(TOKEN, body.encode(), **{"Content-Type": "text/plain"}).status in {200, 202}
    until(lambda: shop.send(body).status in {200, 202}, seconds=30, what="the gateway to take them", pause=0.5)

    def on_the_cluster() -> list[Alert]:
        return [alert for rule in ("decoy-account", "root-login", "many-names") for alert in shop.alerts(rule)]

    until(lambda: complete(laptop.alerts()), seconds=60, what="all alerts on the laptop", pause=0.2)
    # Scheduled searches of a cluster look at what was stored 45 seconds ago and more.
    until(lambda: complete(on_the_cluster()), seconds=150, what="all alerts on the cluster", pause=0.2)
    assert told(laptop.alerts()) == told(on_the_cluster())
    query = f"source.ip:{NETWORK}0/24"
    assert shop.count(query) == laptop.store.count_events(parse(query), TimeRange()) == 52
