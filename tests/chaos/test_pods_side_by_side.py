"""Pipelines side by side on real servers: whoever comes, goes or is killed, everything is there once."""

from __future__ import annotations

import gzip
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.helpers import until

from vedette_backends.broker.protocol import Consumer, Delivery
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.store.protocol import AlertFilter, DeadLetter, Heartbeat, StoredEvent, TimeRange
from vedette_engine.query.tree import MatchAll
from vedette_engine.wire import Run, encode
from vedette_workers.librarian.letters import drain
from vedette_workers.librarian.replay import replay
from vedette_workers.pipeline import intake
from vedette_workers.responder.worker import ResponderWorker, Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PER_MESSAGE = 100
MESSAGES = 200
EVERY = 50
TEAMS = 4

SOURCES = """
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: load, namespace: shop}
spec:
  input: {http: {tokenSecretRef: {name: t, key: token}}}
  format: json
  dataset: test.load
  logsource: {category: test}
  retention: {search: 7d}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: others, namespace: shop}
spec:
  input: {amqp: {}}
  format: mozdef
  dataset: test.others
  logsource: {category: test}
  retention: {search: 7d}
"""
RULE = """
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: NAME, namespace: shop}
spec:
  severity: low
  incident: {open: auto, groupBy: [labels.team], within: 30d}
  sigma: |
    title: A marked event
    logsource: {category: test}
    detection: {sel: {event.action: NAME}, condition: sel}
"""


def event(number: int) -> bytes:
    action = "marked" if number % EVERY == 0 else "plain"
    labels = {"team": f"t{number // EVERY % TEAMS}"}
    return orjson.dumps({"event": {"action": action, "sequence": number}, "labels": labels, "message": f"no {number}"})


def send(tenant: Any, first: int, last: int) -> None:
    for message in range(first, last):
        numbers = range(message * PER_MESSAGE, (message + 1) * PER_MESSAGE)
        tenant.send("load", *map(event, numbers), key=f"m{message}")


def stored(tenant: Any) -> Iterator[StoredEvent]:
    after: str | None = None
    while True:
        page = tenant.store.search_events(MatchAll(), TimeRange(), size=5000, after=after)
        yield from page.events
        after = page.next
        if after is None:
            return


@pytest.fixture
def responder(tenant: Any, tmp_path: Path) -> Iterator[LocalCluster]:
    """A responder on the same servers; the Incidents are kept in a file, since there is no API server here."""
    cluster = LocalCluster(tmp_path / "cluster.db")
    worker = ResponderWorker(Settings(tenant.name), tenant.store, tenant.broker, cluster)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield cluster
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()
    cluster.close()


def count(tenant: Any) -> int:
    """How many events are stored."""
    return int(tenant.store.count_events(MatchAll(), TimeRange()))


def beats(tenant: Any) -> list[Heartbeat]:
    """What living pods said last."""
    now = time.time_ns() // 1_000_000
    return [beat for beat in tenant.store.heartbeats() if now - beat.time < 5000 and beat.body["role"] == "pipeline"]


def all_live(tenant: Any, pods: list[Any]) -> bool:
    """Whether each of the pods tells that it has a bundle."""
    told = {beat.worker.removeprefix("pipeline")[1:] for beat in beats(tenant) if beat.body["bundle"]}
    return told >= {tenant.name_of(pod) for pod in pods}


def loaded(tenant: Any, head: str, pods: int) -> bool:
    """Whether so many pods have the bundle, and no other pod lives."""
    return [beat.body["bundle"] for beat in beats(tenant)] == [head] * pods


def test_from_one_to_four_and_back_with_kills_loses_and_doubles_nothing(tenant: Any, responder: LocalCluster) -> None:
    seed = int(time.time())
    dice = random.Random(seed)
    tenant.publish_bundle(SOURCES + RULE.replace("NAME", "marked"))
    pods = [tenant.pod()]
    send(tenant, 0, MESSAGES // 4)
    pods += [tenant.pod() for _ in range(3)]
    send(tenant, MESSAGES // 4, MESSAGES // 2)
    until(lambda: all_live(tenant, pods), seconds=120, what=f"four pods\n{tenant.logs()}")
    sender = threading.Thread(target=send, args=(tenant, MESSAGES // 2, MESSAGES))
    sender.start()
    for pod in dice.sample(pods, 2):
        until(lambda: not tenant.drained("load"), seconds=60, what="work in progress")
        pod.kill()
        pod.wait()
        pods.remove(pod)
        pods.append(tenant.pod())
    until(lambda: all_live(tenant, pods), seconds=120, what=f"four pods again\n{tenant.logs()}")
    for pod in pods[1:]:
        pod.send_signal(signal.SIGTERM)
        assert pod.wait(timeout=60) == 0, tenant.logs()
    sender.join()
    until(lambda: count(tenant) >= MESSAGES * PER_MESSAGE, seconds=120, what=f"all events\n{tenant.logs()}")
    numbers = Counter(one.document["event.sequence"] for one in stored(tenant))
    assert sorted(numbers) == list(range(MESSAGES * PER_MESSAGE)), f"seed {seed}"
    assert set(numbers.values()) == {1}, f"seed {seed}"
    assert tenant.store.search_dead_letters()[1] == 0
    check_incidents(tenant, responder)


def check_incidents(tenant: Any, cluster: LocalCluster) -> None:
    """Every alert is there once and in one incident; there is one for each group."""
    marked = MESSAGES * PER_MESSAGE // EVERY

    def linked() -> int:
        alerts = tenant.store.search_alerts(AlertFilter(), size=2 * marked).alerts
        return sum("incident" in alert.workflow for alert in alerts)

    until(lambda: linked() == marked, seconds=120, what="an incident for each alert")
    alerts = tenant.store.search_alerts(AlertFilter(), size=2 * marked)
    assert alerts.total == marked
    names = {one.key.name for one in cluster.list("Incident", tenant.name)}
    assert {alert.workflow["incident"] for alert in alerts.alerts} == names
    assert len(names) == TEAMS


def test_an_applied_rule_is_live_everywhere_and_a_deleted_one_alerts_no_more(tenant: Any) -> None:
    first = tenant.publish_bundle(SOURCES + RULE.replace("NAME", "one"))
    pods = [tenant.pod() for _ in range(2)]
    until(lambda: loaded(tenant, first, len(pods)), seconds=120, what=f"two pods\n{tenant.logs()}")
    second = tenant.publish_bundle(SOURCES + RULE.replace("NAME", "two"))
    # The pods say which bundle they work with; from then on the old rule is silent.
    until(lambda: loaded(tenant, second, len(pods)), seconds=10, what="the new bundle on both")
    for number in range(40):
        record = orjson.dumps({"event": {"action": "one" if number % 2 else "two"}})
        tenant.send("load", record, key=f"k{number}")
    until(lambda: count(tenant) == 40, seconds=60, what="all events")
    alerts = tenant.store.search_alerts(AlertFilter(), size=100).alerts
    assert Counter(alert.rule for alert in alerts) == {"two": 20}


def test_foreign_events_are_stored_once_and_pass_for_nothing_else(
    tenant: Any, publish_foreign: Callable[..., None]
) -> None:
    tenant.publish_bundle(SOURCES + RULE.replace("NAME", "marked"))
    mozdef = {"category": "authentication", "summary": "login", "hostname": "web1", "details": {"username": "ana"}}
    ours, headers = encode(
        source="load", ingested=1, kind="json", records=[b'{"forged":1}'], runs=[Run(1, "k", 0, keyed=True)]
    )
    for number in range(300):
        publish_foreign(orjson.dumps({**mozdef, "n": number}), message_id=f"m{number}")
    for _ in range(3):
        publish_foreign(orjson.dumps(mozdef), message_id="the same")
        publish_foreign(orjson.dumps(mozdef), timestamp=1_795_000_000)
    publish_foreign(gzip.compress(orjson.dumps({**mozdef, "n": "packed"})), content_encoding="gzip")
    publish_foreign(gzip.compress(bytes(50 << 20)), content_encoding="gzip", message_id="bomb")
    publish_foreign(b"no json", message_id="broken")
    publish_foreign(ours, headers={**headers, "amqp.exchange": "", "attempt": "x"}, message_id="forged")
    tenant.pod()
    until(
        lambda: count(tenant) >= 304 and tenant.store.search_dead_letters()[1] >= 2,
        seconds=120,
        what=f"all events\n{tenant.logs()}",
    )
    until(partial(tenant.drained, "others"), seconds=60, what="an empty queue")
    events = list(stored(tenant))
    letters, set_aside, _ = tenant.store.search_dead_letters(size=50)
    assert set_aside == 2
    assert {letter.reason for letter in letters} == {"TooLarge", "MalformedJson"}
    assert {one.document["event.dataset"] for one in events} == {"test.others"}
    assert len(events) == 304
    day = time.time_ns() // 1_000_000 - 3_600_000
    assert all(one.ingested > day for one in events)


def test_a_pod_that_starts_while_elasticsearch_is_down_holds_what_it_takes_and_nothing_is_lost(tenant: Any) -> None:
    head = tenant.publish_bundle(SOURCES + RULE.replace("NAME", "marked"))
    first = tenant.pod()
    until(lambda: loaded(tenant, head, 1), seconds=120, what=f"a pod\n{tenant.logs()}")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 0, tenant.logs()
    # The container starts again in the same pod: its scratch folder is still there, and nobody answers at this port.
    second = tenant.pod(scratch=tenant.folder / "pod-0", elasticsearch_url="https://127.0.0.1:9")
    tenant.send("load", event(0), key="k")
    until(lambda: tenant.broker.stats("events.load").unacked == 1, seconds=60, what=f"a delivery\n{tenant.logs()}")
    assert second.poll() is None
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 0, tenant.logs()
    tenant.pod()
    until(lambda: count(tenant) == 1, seconds=60, what=f"the event\n{tenant.logs()}")


def test_a_dead_letter_of_a_foreign_message_keeps_its_identity(
    tenant: Any, publish_foreign: Callable[..., None]
) -> None:
    """It comes back without its exchange; what it claims of itself counts as little as before."""
    tenant.publish_bundle(SOURCES)
    ours, headers = encode(
        source="load", ingested=1, kind="json", records=[b'{"forged":1}'], runs=[Run(1, "k", 0, keyed=True)]
    )
    publish_foreign(ours, headers=headers, message_id="m1")
    consumer = tenant.broker.consume(["events.others"], prefetch=10)
    (delivery,) = fetched(consumer)
    wanted = intake.read(tenant.name, delivery, 0).records[0].id
    consumer.reject(delivery.tag, "a test")
    consumer.close()

    def letters() -> list[DeadLetter]:
        drain(tenant.name, tenant.store, tenant.broker, ["others", "load"], lambda: 1)
        return list(tenant.store.search_dead_letters()[0])

    until(letters, seconds=30, what="a dead letter")
    (letter,) = letters()
    assert (letter.source, letter.original, letter.headers["id"]) == ("others", ours, wanted)
    assert replay(tenant.store, tenant.broker, [letter.id]) == 1
    tenant.pod()
    until(lambda: count(tenant) == 1, seconds=60, what=f"the event\n{tenant.logs()}")
    (found,) = stored(tenant)
    assert (found.id, found.document["event.dataset"]) == (wanted, "test.others")


def fetched(consumer: Consumer) -> list[Delivery]:
    """What comes first."""
    found: list[Delivery] = []

    def fetch() -> bool:
        found.extend(consumer.fetch(10, 1.0))
        return bool(found)

    until(fetch, seconds=30, what="a delivery")
    return found
