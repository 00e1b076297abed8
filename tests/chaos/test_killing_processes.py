"""Nothing that was answered 2xx is lost, nothing is stored or alerted twice, whichever process dies when."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
from tests.helpers import until

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import Alert, AlertFilter, Store, TimeRange
from vedette_engine.query.tree import MatchAll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EVENTS = int(os.environ.get("VEDETTE_KILL_EVENTS", "200000"))
KILLS = 20
PER_REQUEST = 500
EVERY = 1000
"""One event in so many raises an alert."""
TEAMS = 5
"""Groups of alerts; each is one incident."""

MANIFESTS = """
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: kill}
stringData: {token: kill-test-token-0123456789}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: load, namespace: kill}
spec:
  description: the test's events
  input: {http: {tokenSecretRef: {name: token, key: token}}}
  format: json
  dataset: test.load
  logsource: {category: test}
  limits: {eventsPerSecond: 1000000, burst: 1000000}
  retention: {search: 7d}
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: marked, namespace: kill}
spec:
  severity: low
  incident: {open: auto, groupBy: [labels.team], within: 30d}
  sigma: |
    title: A marked event
    logsource: {category: test}
    detection: {sel: {event.action: marked}, condition: sel}
"""


@dataclass
class Vedette:
    """`vedette up` as a child, started again whenever it was killed."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder.parent / "up.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vedette_cli", "up", str(self.folder), "--port", str(self.port)],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()

    def pids(self) -> list[int]:
        assert self.process is not None
        files = (self.folder / ".vedette" / "run").glob("*.pid")
        return [self.process.pid, *(pid for file in files if (pid := _pid(file)) is not None)]

    def kill_one(self, dice: random.Random) -> None:
        assert self.process is not None
        pid = dice.choice(self.pids())
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if pid == self.process.pid:
            self.process.wait()
            self.start()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


@dataclass
class Sender:
    """Sends keyed batches and repeats each until it is answered 2xx."""

    port: int
    sent: int = 0
    unanswered: int = 0
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for start in range(0, EVENTS, PER_REQUEST):
            body = b"\n".join(_event(number) for number in range(start, min(start + PER_REQUEST, EVENTS)))
            until(partial(self._post, body, f"batch-{start}"), seconds=180, what="an answer")
            self.sent = start + PER_REQUEST
        self.done.set()

    def has_sent(self, mark: float) -> bool:
        return self.sent >= mark

    def _post(self, body: bytes, key: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/events", body, {
                "Authorization": "Bearer kill-test-token-0123456789",
                "Content-Type": "application/x-ndjson",
                "Idempotency-Key": key,
            })  # fmt: skip
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            return False
        finally:
            connection.close()
        assert status < 300 or status >= 500 or status == 429, status
        return status < 300


def _event(number: int) -> bytes:
    action = "marked" if number % EVERY == 0 else "plain"
    labels = {"team": f"t{number // EVERY % TEAMS}"}
    message = f"event number {number} " * 8
    return orjson.dumps({"event": {"action": action, "sequence": number}, "labels": labels, "message": message})


@pytest.fixture
def vedette(tmp_path: Path, free_port: int) -> Iterator[Vedette]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "all.yaml").write_text(MANIFESTS)
    made = Vedette(folder, free_port)
    made.start()
    yield made
    assert made.process is not None
    made.process.kill()
    made.process.wait()


def test_no_event_is_lost_or_doubled_while_processes_are_killed(vedette: Vedette) -> None:
    seed = int(time.time())
    dice = random.Random(seed)
    sender = Sender(vedette.port + 1)
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    for kill in range(KILLS):
        # Spread over the whole run, each at a random moment within its share.
        mark = (kill + dice.random()) * EVENTS * 0.9 / KILLS
        until(partial(sender.has_sent, mark), seconds=300, what=f"{mark:.0f} events (seed {seed})")
        vedette.kill_one(dice)
    until(sender.done.is_set, seconds=600, what="all events to be accepted")
    folder = vedette.folder / ".vedette" / "ns" / "kill"
    reader = open_store(folder, writer=False)
    until(lambda: reader.count_events(MatchAll(), TimeRange()) >= EVENTS, seconds=300, what="all events in the store")
    marked = EVENTS // EVERY
    until(partial(all_have_incidents, reader, marked), seconds=120, what="an incident for each alert")
    vedette.stop()

    numbers: list[int] = []
    after: str | None = None
    while True:
        page = reader.search_events(MatchAll(), TimeRange(), size=5000, after=after)
        numbers += [event.document["event.sequence"] for event in page.events]
        after = page.next
        if after is None:
            break
    assert sorted(numbers) == list(range(EVENTS)), f"seed {seed}"
    alerts = reader.search_alerts(AlertFilter(), size=10 * EVENTS // EVERY)
    assert alerts.total == EVENTS // EVERY, f"seed {seed}"
    letters = reader.search_dead_letters()
    assert letters[1] == 0, letters[0][:3]
    check_incidents(vedette, list(alerts.alerts), seed)
    reader.close()


def all_have_incidents(reader: Store, number: int) -> bool:
    """Whether the responder has caught up."""
    alerts = reader.search_alerts(AlertFilter(), size=number).alerts
    return all(alert.workflow.get("incident") for alert in alerts)


def check_incidents(vedette: Vedette, alerts: list[Alert], seed: int) -> None:
    """Each alert is in exactly one incident, each group has exactly one, and there are no others."""
    groups: dict[str, set[str]] = {}
    for alert in alerts:
        team = alert.body["events"][0]["document"]["vedette.other"]["labels.team"]
        groups.setdefault(team, set()).add(alert.workflow["incident"])
    assert [len(names) for names in groups.values()] == [1] * TEAMS, f"seed {seed}: {groups}"
    cluster = LocalCluster(vedette.folder / ".vedette" / "cluster.db")
    names = {one.key.name for one in cluster.list("Incident", "kill")}
    cluster.close()
    assert names == set.union(*groups.values()), f"seed {seed}"


def test_equal_events_without_keys_are_all_kept(vedette: Vedette) -> None:
    lines = [orjson.dumps({"message": f"pair {number}"}) for number in range(1000) for _ in range(2)]
    body = b"\n".join(lines)

    def post() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", vedette.port + 1, timeout=20)
        try:
            connection.request("POST", "/events", body, {
                "Authorization": "Bearer kill-test-token-0123456789", "Content-Type": "application/x-ndjson",
            })  # fmt: skip
            return connection.getresponse().status < 300
        except OSError:
            return False
        finally:
            connection.close()

    until(post, seconds=90, what="an answer")
    folder = vedette.folder / ".vedette" / "ns" / "kill"
    reader = open_store(folder, writer=False)
    until(lambda: reader.count_events(MatchAll(), TimeRange()) >= 2000, seconds=60, what="2,000 events")
    vedette.stop()
    assert reader.count_events(MatchAll(), TimeRange()) == 2000
    reader.close()
