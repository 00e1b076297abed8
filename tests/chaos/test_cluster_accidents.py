"""People and senders do what they should not, in mid-stream."""

from __future__ import annotations

import base64
import datetime as dt
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.chaos import containers
from tests.chaos.streams import DATASET, PATIENCE, SOURCE, TOKEN, Stream, asked
from tests.cluster.node import CommandError
from tests.cluster.release import CHART, NAME, SYSTEM, Release, http, values
from tests.helpers import until

from vedette_backends.store.protocol import AlertFilter, TimeRange
from vedette_engine.query.lucene import parse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {name}, namespace: shop}}
spec:
  severity: low
  sigma: |
    title: One of a test
    logsource: {{category: test}}
    detection:
      sel: {{event.action: {action}}}
      condition: {condition}
"""

POISON = (
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    json.dumps({f"field{number}": number for number in range(20_000)}).encode(),
    b'{"message":"' + b"abcdefg" * 100_000 + b'","event":{"action":"' + b"abcdefg" * 50_000 + b'"}}',
    b'{"source":{"ip":"999.1.1.1"},"@timestamp":"never","message":{"an":["object",{"in":1}]}}',
    b'{"event":{"sequence":1e400,"duration":-99999999999999999999999999},"process":{"pid":"\\ud800"}}',
    b'{"\\u0000":"\\u0000","..":1,".a":2,"a.":3,"":4,"_id":"x","_index":".security"}',
    b"\xff\xfe\x00not text at all",
    b"[[[[",
)


def send(shop: Release, *records: bytes) -> int:
    """Each in a request of its own; each is answered, with 2xx or with 4xx. How many were taken."""
    taken = 0
    for record in records:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
        answer = http(shop.service("gateway", 8421) + "/events", record, headers)
        assert answer.status // 100 in {2, 4}, (answer, record[:80])
        taken += answer.status // 100 == 2
    return taken


def kept(shop: Release) -> int:
    """How many events of no stream are stored or set aside."""
    stored = shop.store().count_events(parse(f"event.dataset:{DATASET} AND NOT _exists_:labels.stream"), TimeRange())
    return stored + shop.store().search_dead_letters(source=SOURCE)[1]


@contextmanager
def applied(shop: Release, **rules: str) -> Iterator[None]:
    """Rules are there meanwhile: name → manifest."""
    try:
        for text in rules.values():
            shop.apply(text)
        yield
    finally:
        shop.node.kubectl("delete", "alertrule", *rules, "-n", "shop", "--ignore-not-found")


def test_while_the_webhook_is_down_rules_apply_and_the_operator_judges_them(stream: Stream) -> None:
    shop, name = stream.shop, stream.name
    broken, good = f"broken-{name}", f"good-{name}"
    wrong = RULE.format(name=broken, action=name, condition="nothing-of-that-name")
    deployment = f"deployment/{NAME}-webhook"
    shop.node.kubectl("scale", deployment, "--replicas=0", "-n", SYSTEM)
    try:
        until(lambda: not shop.pods(SYSTEM, "vedette.dev/component=webhook"), seconds=PATIENCE, what="no webhook")
        with applied(shop, **{broken: wrong, good: RULE.format(name=good, action=name, condition="sel")}):
            shop.wait_ready(f"alertrule/{good}")
            until(
                lambda: shop.condition("alertrule", broken, "Accepted").get("status") == "False",
                seconds=PATIENCE,
                what="the operator's verdict",
                pause=0.2,
            )
            assert send(shop, json.dumps({"event": {"action": name}, "message": "one of a test"}).encode()) == 1
            where = AlertFilter(rules=(good, broken))
            until(lambda: shop.store().search_alerts(where).total == 1, seconds=PATIENCE, what="an alert", pause=0.2)
    finally:
        shop.node.kubectl("scale", deployment, "--replicas=1", "-n", SYSTEM)
    shop.node.kubectl("rollout", "status", deployment, "-n", SYSTEM, "--timeout=90s")

    def refused() -> bool:
        try:
            shop.node.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=wrong)
        except CommandError as error:
            return "admission webhook" in error.output
        return False

    until(refused, seconds=30, what="the webhook to judge again", pause=0.2)
    stream.account()


def test_a_deleted_secret_is_made_anew_with_another_password_and_nothing_stops(stream: Stream) -> None:
    shop = stream.shop
    before = shop.get("secret", "vedette-backends")
    pods = {pod["metadata"]["name"] for pod in containers.pods(shop, "shop", "pipeline")}
    shop.node.kubectl("delete", "secret", "vedette-backends", "-n", "shop")

    def password(secret: dict[str, Any]) -> bytes:
        return base64.b64decode(secret["data"]["rabbitmq-url"])

    def rotated() -> bool:
        found = asked(lambda: shop.get("secret", "vedette-backends"))
        return bool(found) and password(found) != password(before)

    until(rotated, seconds=PATIENCE, what="a new password", pause=0.2)
    stream.recovered("Secret vedette-backends deleted: new password")
    until(
        lambda: not pods & set(asked(lambda: containers.ready(shop, "shop", "pipeline")) or pods),
        seconds=PATIENCE,
        what="new pods",
        pause=0.2,
    )
    stream.recovered("Secret vedette-backends deleted: workers rolled")
    stream.account()


def test_no_event_and_no_rule_stops_the_others(stream: Stream) -> None:
    """Neither what is too deep, too wide or no text, nor a rule full of wildcards, nor a clock that is a day ahead."""
    shop, name = stream.shop, stream.name
    started, before = containers.restarts(shop, "shop"), kept(shop)
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    ahead = {"event": {"action": name}, "message": "from tomorrow", "@timestamp": tomorrow.isoformat()}
    rules = {
        f"greedy-{name}": RULE.format(name=f"greedy-{name}", action="'*a*b*c*d*e*f*g*h*'", condition="sel"),
        f"ahead-{name}": RULE.format(name=f"ahead-{name}", action=name, condition="sel"),
    }
    with applied(shop, **rules):
        shop.wait_ready(*(f"alertrule/{each}" for each in rules))
        taken = send(shop, *POISON, json.dumps(ahead).encode())
        assert taken > 1
        stream.passes(200)
        where = AlertFilter(rules=(f"ahead-{name}",))
        until(lambda: shop.store().search_alerts(where).total, seconds=PATIENCE, what="tomorrow's alert", pause=0.2)
        until(lambda: kept(shop) - before >= taken, seconds=PATIENCE, what=f"{taken} that were taken", pause=0.2)
    assert kept(shop) - before == taken
    assert shop.store().search_alerts(where).total == 1
    (found,) = shop.store().search_events(parse(f"event.action:{name}"), TimeRange()).events
    assert found.document["vedette.timestamp_problem"] == "future"
    assert not containers.started_again(shop, "shop", started)
    stream.account()


TENANT = """
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: {name}}}
stringData: {{token: {token}}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: first, namespace: {name}}}
spec:
  input: {{http: {{tokenSecretRef: {{name: token, key: token}}}}}}
  format: json
  dataset: test.gone
  logsource: {{category: test}}
  deletionPolicy: Delete
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: second, namespace: {name}}}
spec:
  input: {{amqp: {{}}}}
  format: mozdef
  dataset: test.gone
  logsource: {{category: test}}
  deletionPolicy: Delete
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: any, namespace: {name}}}
spec:
  severity: low
  incident: {{open: auto, groupBy: [event.action], within: 24h}}
  sigma: |
    title: Any event
    logsource: {{category: test}}
    detection: {{sel: {{event.action: any}}, condition: sel}}
"""


@pytest.fixture
def doomed(release: Release, tmp_path: Path) -> Iterator[str]:
    """A further tenant, which the release serves no more afterwards."""
    name = "t" + secrets.token_hex(4)
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values((*release.tenants, name))))
    release.helm("upgrade", NAME, str(CHART), "--values", str(file), "--wait", "--timeout", "240s")
    yield name
    release.node.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    # The namespace may be gone, and helm makes what it does not find.
    release.helm("upgrade", NAME, str(CHART), "--values", str(release.values), "--wait", "--timeout", "240s")


def test_a_namespace_deleted_while_the_servers_are_down_is_gone_soon_after(
    doomed: str, faults: Release, recovery: dict[str, float]
) -> None:
    release, token = faults, secrets.token_hex(16)
    release.apply(TENANT.format(name=doomed, token=token))
    release.wait_ready("logsource/first", "logsource/second", "alertrule/any", namespace=doomed)
    event = json.dumps({"event": {"action": "any"}, "message": "gone"})
    until(lambda: release.send(event, token=token).status in {200, 202}, seconds=60, what="the token", pause=0.2)
    store = release.store(doomed)
    until(lambda: store.search_alerts(AlertFilter()).total, seconds=PATIENCE, what="an alert", pause=0.2)
    until(
        lambda: json.loads(release.node.kubectl("get", "incidents", "-n", doomed, "-o", "json"))["items"],
        seconds=PATIENCE,
        what="its incident",
        pause=0.2,
    )
    rabbit, elastic = release.backends.rabbitmq, release.backends.elasticsearch
    assert left(release, doomed)
    rabbit.stop()
    elastic.stop()
    try:
        release.node.kubectl("delete", "namespace", doomed, "--wait=false")
        until(
            lambda: not asked(lambda: release.pods(doomed)),
            seconds=PATIENCE,
            what="its pods to be gone",
            pause=0.5,
        )
        assert release.get("namespace", doomed)["status"]["phase"] == "Terminating"
    finally:
        elastic.start()
        rabbit.start()
    began = time.monotonic()
    until(lambda: not _exists(release, doomed), seconds=60, what="the namespace to be gone", pause=0.2)
    recovery["namespace deleted while both servers were down: gone"] = time.monotonic() - began
    until(lambda: not left(release, doomed), seconds=10, what="nothing to be left of it", pause=0.5)


def _exists(release: Release, namespace: str) -> bool:
    return bool(release.node.kubectl("get", "namespace", namespace, "--ignore-not-found"))


def left(release: Release, namespace: str) -> list[str]:
    """What speaks of a namespace in RabbitMQ and Elasticsearch."""
    rabbit, elastic = release.backends.rabbitmq, release.backends.elasticsearch
    found = [rabbit.ctl("list_vhosts", "-q"), rabbit.ctl("list_users", "-q")]
    found += [
        name
        for path in ("/_alias", "/_index_template", "/_component_template", "/_security/api_key?active_only=true")
        for name in _names(elastic.ask("GET", path))
    ]
    return [line for text in found for line in text.splitlines() if namespace in line]


def _names(answer: dict[str, Any]) -> list[str]:
    for key in ("index_templates", "component_templates", "api_keys"):
        if key in answer:
            return [str(one["name"]) for one in answer[key]]
    return list(answer)
