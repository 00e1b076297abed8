"""A steady stream of events into a release, and the account of what became of them."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.machine import NodeError
from tests.cluster.release import Release
from tests.helpers import until

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Alert, AlertFilter, TimeRange
from vedette_engine.query.lucene import parse

TOKEN = "faults-token-0123456789"
SOURCE, RULE, DATASET = "faults", "faults-marked", "test.faults"
PER_REQUEST = 10
INTERVAL = 0.1
"""Seconds from one request to the next: 100 events a second."""
EVERY = 25
"""One event in so many raises an alert."""
TEAMS = 1
"""Groups of a stream's alerts; each is one incident. A rule may open twenty in an hour, and there are many streams."""
PATIENCE = 120
"""Seconds after a fault in which everything has to be well again."""
RETRY = 0.1

MANIFESTS = f"""
apiVersion: v1
kind: Secret
metadata: {{name: {SOURCE}, namespace: shop}}
stringData: {{token: {TOKEN}}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: {SOURCE}, namespace: shop}}
spec:
  description: what the tests of faults send
  input: {{http: {{tokenSecretRef: {{name: {SOURCE}, key: token}}}}}}
  format: json
  dataset: {DATASET}
  logsource: {{category: test}}
  retention: {{search: 7d}}
  deletionPolicy: Delete
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {RULE}, namespace: shop}}
spec:
  severity: low
  summary: "{{labels.stream}} {{event.sequence}}"
  incident: {{open: auto, groupBy: [labels.team], within: 30d}}
  sigma: |
    title: A marked event
    logsource: {{category: test}}
    detection: {{sel: {{event.action: marked}}, condition: sel}}
"""


@dataclass
class Stream:
    """Sends numbered events until it is left; each request has a key and is repeated until it is answered 2xx.

    Attributes:
        answered: events of requests that were answered 2xx.
        refused: answers that were not 2xx, by status; 0: no answer.
        unannounced: answers 503 that did not say when to try again.
        slowest: seconds from the first attempt of a request to its 2xx.
    """

    shop: Release
    figures: dict[str, float]
    name: str = field(default_factory=lambda: "s" + secrets.token_hex(5))
    answered: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    unannounced: int = 0
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _held: threading.Event = field(default_factory=threading.Event)
    _idle: threading.Event = field(default_factory=threading.Event)
    _address: str = ""
    _connection: http.client.HTTPConnection | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name)

    # sending --------------------------------------------------------------------------------------------------------
    @contextmanager
    def running(self) -> Iterator[Stream]:
        """It sends meanwhile; what is under way is finished before this returns."""
        self._address = urlsplit(self.shop.service("gateway", 8421)).netloc
        self._thread.start()
        try:
            self.passes(5 * PER_REQUEST)
            yield self
        finally:
            self.end()

    def end(self) -> None:
        """Send no more; what is under way is finished before this returns."""
        self._stop.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def passes(self, events: int, *, seconds: float = PATIENCE) -> None:
        """Wait until so many more events have been answered."""
        goal = self.answered + events
        until(lambda: self.answered >= goal, seconds=seconds, what=f"{events} more events; {self.refused}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is sent meanwhile, and all that was sent is stored."""
        self._idle.clear()
        self._held.set()
        try:
            until(self._idle.is_set, seconds=PATIENCE, what="the sender to stand still")
            self.stored(self.answered)
            until(lambda: self._waiting() == 0, seconds=PATIENCE, what="an empty queue", pause=0.2)
            yield
        finally:
            self._held.clear()

    def _waiting(self) -> int:
        broker = self.shop.backends.rabbitmq
        for line in broker.ctl("list_queues", "-q", "-p", "vedette.shop", "name", "messages").splitlines():
            name, messages = line.split()
            if name == f"events.{SOURCE}":
                return int(messages)
        return -1

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.is_set():
            if self._held.is_set():
                self._idle.set()
                self._stop.wait(0.02)
                continue
            numbers = range(number * PER_REQUEST, (number + 1) * PER_REQUEST)
            body = b"\n".join(json.dumps(self._event(one)).encode() for one in numbers)
            self._deliver(f"{self.name}-{number}", body)
            self.answered += PER_REQUEST
            number += 1
            # What a fault held up is made up for, but not all at once.
            due = max(due + INTERVAL, time.monotonic() - 10 * INTERVAL)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _event(self, number: int) -> dict[str, Any]:
        marked = number % EVERY == 0
        return {
            "event": {"action": "marked" if marked else "plain", "sequence": number},
            "labels": {"stream": self.name, "team": f"{self.name}-{number // EVERY % TEAMS}"},
            "message": f"{self.name} {number}",
        }

    def _deliver(self, key: str, body: bytes) -> None:
        began = time.monotonic()
        while (status := self._post(key, body)) not in {200, 202}:
            self.refused[status] += 1
            # A test that failed waits no longer than this.
            assert time.monotonic() - began < 3 * PATIENCE, f"{key} is not taken: {self.refused}"
            time.sleep(RETRY)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _post(self, key: str, body: bytes) -> int:
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": key,
        }
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=15)
        try:
            self._connection.request("POST", "/events", body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return 0
        self.unannounced += answer.status == 503 and answer.headers.get("Retry-After") is None
        return answer.status

    # what became of it ----------------------------------------------------------------------------------------------
    def count(self) -> int:
        """Stored events; -1 when the store does not answer."""
        try:
            return int(self.shop.store().count_events(parse(f"labels.stream:{self.name}"), TimeRange()))
        except BackendError:
            return -1

    def letters(self) -> int:
        """Dead letters of the source, of all streams, in whatever state."""
        return int(self.shop.store().search_dead_letters(source=SOURCE, state=None)[1])

    def stored(self, events: int, but: Callable[[], int] = int) -> None:
        """Wait until so many events are stored; `but`: how many were set aside."""
        until(lambda: self.count() + but() >= events, seconds=PATIENCE, what=f"{events} stored events", pause=0.2)

    def recovered(self, fault: str, but: Callable[[], int] = int) -> None:
        """A fault has just ended: wait until events go through again, with all that waited; note how long it took."""
        began = time.monotonic()
        self.passes(PER_REQUEST)
        self.stored(self.answered, but)
        self.figures[fault] = time.monotonic() - began

    def account(self) -> None:
        """Everything that was answered is stored once and alerted once, and each group has one incident."""
        self.end()
        assert not self.unannounced
        sent = self.answered
        self.stored(sent)
        numbers = Counter(self._numbers())
        assert sorted(numbers) == list(range(sent)), sorted(set(range(sent)) ^ set(numbers))[:50]
        assert set(numbers.values()) == {1}
        marked = len(range(0, sent, EVERY))
        until(lambda: len(self.alerts()) >= marked, seconds=PATIENCE, what=f"{marked} alerts", pause=0.5)
        until(self._all_linked, seconds=PATIENCE, what="an incident of each alert", pause=0.5)
        found = self.alerts()
        summaries = Counter(alert.summary for alert in found)
        assert summaries == {f"{self.name} {number}": 1 for number in range(0, sent, EVERY)}
        incidents = {str(alert.workflow["incident"]) for alert in found}
        assert len(incidents) == TEAMS, incidents
        for incident in incidents:
            self.shop.get("incident", incident)

    def _all_linked(self) -> bool:
        return all("incident" in alert.workflow for alert in self.alerts())

    def alerts(self) -> list[Alert]:
        """All of this stream's; none while the store does not answer."""
        found: list[Alert] = []
        after: str | None = None
        where = AlertFilter(rules=(RULE,), text=self.name)
        while True:
            try:
                page = self.shop.store().search_alerts(where, size=500, after=after)
            except BackendError:
                return []
            found += page.alerts
            after = page.next
            if after is None:
                return found

    def _numbers(self) -> Iterator[int]:
        after: str | None = None
        query = parse(f"labels.stream:{self.name}")
        while True:
            page = self.shop.store().search_events(query, TimeRange(), size=5000, after=after)
            yield from (int(one.document["event.sequence"]) for one in page.events)
            after = page.next
            if after is None:
                return


def asked(question: Callable[[], Any]) -> Any:
    """The answer of the cluster; None while it gives none."""
    try:
        return question()
    except (OSError, NodeError):
        return None
