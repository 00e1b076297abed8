"""What the operator does for whoever works with kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from tests.cluster.node import CommandError
from tests.cluster.release import SHOP, SYSTEM, Release, sshd
from tests.helpers import until

from vedette_backends.broker.rabbitmq import open_broker
from vedette_backends.store.protocol import TimeRange
from vedette_engine.alerting.bundle import decode
from vedette_engine.query.lucene import parse

OPERATOR = f"system:serviceaccount:{SYSTEM}:vedette-operator"
WEBHOOK = "validatingwebhookconfiguration/vedette-webhook"
RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {name}, namespace: shop}}
spec:
  severity: low
  sigma: |
    title: {title}
    logsource: {{product: linux, service: auth}}
    detection:
      tried: {{event.action: ssh_login, user.name: {user}}}
      condition: tried
  tests:
  - name: it fires
    timeline: [{{event: {{event.action: ssh_login, user.name: {tested}}}}}]
    expect: {{alerts: 1}}
"""
SOURCE = """
apiVersion: v1
kind: Secret
metadata: {{name: {name}-token, namespace: shop}}
stringData: {{token: token-of-{name}}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: {name}, namespace: shop}}
spec:
  input: {{http: {{tokenSecretRef: {{name: {name}-token, key: token}}}}}}
  format: json
  dataset: test.{name}
  workers: {{mode: {mode}}}
  retention: {{search: 30d}}
  deletionPolicy: {policy}
"""
OWNERS = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: owners, namespace: shop}}
data:
  owners.csv: |
    name,owner
    web1,ana@shop.example
    web2,{owner}
"""


def rule(name: str, user: str = "nobody", *, tested: str | None = None, title: str = "Test") -> str:
    """A rule, broken where what is tested is not what fires."""
    return RULE.format(name=name, user=user, tested=tested or user, title=title)


def source(name: str, policy: str, mode: str = "shared") -> str:
    """A source with a token of its own."""
    return SOURCE.format(name=name, policy=policy, mode=mode)


def events_about(shop: Release, name: str) -> list[tuple[str, str]]:
    """Kubernetes' Events of an object: (type, reason), oldest first."""
    selector = f"involvedObject.name={name}"
    found = json.loads(shop.node.kubectl("get", "events", "-n", "shop", "--field-selector", selector, "-o", "json"))
    items = sorted(found["items"], key=lambda item: str(item["metadata"]["creationTimestamp"]))
    return [(item["type"], item["reason"]) for item in items for _ in range(item.get("count") or 1)]


def settled(shop: Release, kind: str, name: str, ready: str) -> Callable[[], bool]:
    """Whether Ready has this status for the newest version."""

    def holds() -> bool:
        found = shop.get(kind, name)
        conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", ())}
        return bool(
            conditions.get("Ready", {}).get("status") == ready
            and conditions["Ready"]["observedGeneration"] == found["metadata"]["generation"]
        )

    return holds


@contextmanager
def without_admission(shop: Release) -> Iterator[None]:
    """Objects get past the webhook, as they do while it is down."""
    selector = {"matchExpressions": [{"key": "test.vedette.dev/asked", "operator": "Exists"}]}

    def patch(value: Any) -> None:
        operation = [{"op": "add", "path": "/webhooks/0/objectSelector", "value": value}]
        shop.node.kubectl("patch", WEBHOOK, "--type=json", "-p", json.dumps(operation))

    patch(selector)
    try:
        yield
    finally:
        patch({})


@pytest.fixture
def cleared(shop: Release) -> Iterator[Callable[..., None]]:
    """Takes (kind, name) of what a test makes; deleted after it, whatever happens."""
    made: list[str] = []
    yield lambda *names: made.extend(names)
    if made:
        shop.node.kubectl("delete", "-n", "shop", "--ignore-not-found", "--timeout=60s", *made)


def test_kubectl_wait_works_for_every_kind(shop: Release) -> None:
    shop.send(sshd("backup-admin", "192.0.2.111"))
    until(lambda: shop.alerts("decoy-account", "192.0.2.111"), seconds=30, what="the alert", pause=0.1)
    until(
        lambda: json.loads(shop.node.kubectl("get", "incidents", "-n", "shop", "-o", "json"))["items"],
        seconds=30,
        what="an incident",
        pause=0.1,
    )
    for kind in ("logsources", "enrichments", "alertrules", "incidents"):
        shop.node.kubectl("wait", "--for=condition=Ready", kind, "--all", "-n", "shop", "--timeout=60s")


def test_kubectl_describe_says_why_a_rule_is_not_in_force(shop: Release, cleared: Callable[..., None]) -> None:
    cleared("alertrule/broken")

    def taken() -> bool:
        try:
            shop.apply(rule("broken", "nobody", tested="somebody"))
        except CommandError:
            return False  # the API server does not know yet that it is not to ask
        return True

    with without_admission(shop):
        until(taken, seconds=20, what="the API server to ask no more", pause=0.3)
    until(settled(shop, "alertrule", "broken", "False"), seconds=30, what="the verdict", pause=0.2)
    told = shop.node.kubectl("describe", "alertrule", "broken", "-n", "shop")
    assert "TestsFailed" in told
    assert "it fires" in told
    assert "spec.tests[0]" in told
    until(lambda: events_about(shop, "broken") == [("Warning", "TestsFailed")], seconds=20, what="its Event", pause=0.2)
    assert "broken" in shop.node.kubectl("get", "alertrules", "-n", "shop")
    shop.apply(rule("broken", "nobody"))
    until(settled(shop, "alertrule", "broken", "True"), seconds=30, what="the repaired one", pause=0.2)
    shop.apply(rule("broken", "nobody", title="Another title"))
    until(settled(shop, "alertrule", "broken", "True"), seconds=30, what="the next version", pause=0.2)
    # One for each time that Ready turned, none for versions that are as good as the one before.
    expected = [("Warning", "TestsFailed"), ("Normal", "AllGood")]
    until(lambda: events_about(shop, "broken") == expected, seconds=20, what="the second Event", pause=0.2)


def test_a_missing_table_is_named_with_what_to_do(shop: Release, cleared: Callable[..., None]) -> None:
    cleared("enrichment/lost", "configmap/lost")
    shop.apply((SHOP / "owners.yaml").read_text().split("---")[1].replace("name: owners", "name: lost"))
    until(settled(shop, "enrichment", "lost", "False"), seconds=30, what="the verdict", pause=0.2)
    told = shop.node.kubectl("describe", "enrichment", "lost", "-n", "shop")
    assert "ReferenceNotFound" in told
    assert "ConfigMap lost with key owners.csv does not exist" in told
    shop.apply((SHOP / "owners.yaml").read_text().split("---")[0].replace("name: owners", "name: lost"))
    until(settled(shop, "enrichment", "lost", "True"), seconds=60, what="the table to be found", pause=0.5)


def test_a_paused_rule_stays_as_it_is_until_the_annotation_goes(shop: Release, cleared: Callable[..., None]) -> None:
    cleared("alertrule/held")

    def titles() -> dict[str, str]:
        head = shop.store().head("bundle")
        assert head is not None
        rules = decode(shop.store().get_blob(head)).rules
        return {each.name: each.sigma[0]["title"] for each in rules if each.sigma}

    shop.apply(rule("held", title="Before"))
    shop.wait_ready("alertrule/held")
    shop.node.kubectl("annotate", "alertrule", "held", "-n", "shop", "vedette.dev/paused=true")
    until(
        lambda: shop.condition("alertrule", "held", "Paused").get("status") == "True",
        seconds=20,
        what="the condition Paused",
        pause=0.2,
    )
    shop.apply(rule("held", title="Behind"))
    shop.apply(rule("beside"))
    cleared("alertrule/beside")
    shop.wait_ready("alertrule/beside")
    assert titles()["held"] == "Before"
    shop.node.kubectl("annotate", "alertrule", "held", "-n", "shop", "vedette.dev/paused-")
    until(lambda: titles().get("held") == "Behind", seconds=20, what="the newer version", pause=0.2)
    until(settled(shop, "alertrule", "held", "True"), seconds=20, what="its status", pause=0.2)
    assert not shop.condition("alertrule", "held", "Paused")


def test_what_a_deletion_removes_follows_the_policy(shop: Release, cleared: Callable[..., None]) -> None:
    cleared("logsource/gone", "logsource/kept", "secret/gone-token", "secret/kept-token")
    shop.apply(source("gone", "Delete", "dedicated") + "---" + source("kept", "Retain"))
    shop.wait_ready("logsource/gone", "logsource/kept")

    def deployments() -> set[str]:
        found = json.loads(shop.node.kubectl("get", "deployments", "-n", "shop", "-o", "json"))
        return {item["metadata"]["name"] for item in found["items"]}

    def queues() -> set[str]:
        broker = open_broker(shop.backends.rabbitmq.settings, "shop", name="test")
        try:
            return set(broker.queues())
        finally:
            broker.close()

    def stored(name: str) -> int:
        return shop.count(f"event.dataset:test.{name}")

    def sent(name: str) -> bool:
        # The gateway learns a token within seconds.
        return shop.send('{"message": "one"}', token=f"token-of-{name}").status in {200, 202}

    assert {"vedette-pipeline", "vedette-pipeline-gone"} <= deployments()
    assert "vedette-pipeline-kept" not in deployments()
    for name in ("gone", "kept"):
        until(partial(sent, name), seconds=30, what=f"the token of {name}", pause=0.3)
        until(partial(stored, name), seconds=30, what=f"the event of {name}", pause=0.2)
    shop.send(sshd("ana", "198.18.1.1"))
    until(lambda: shop.count("source.ip:198.18.1.1"), seconds=30, what="an event of another source", pause=0.2)
    before = shop.count("event.dataset:system.auth")
    assert {"events.gone", "events.kept", "events.web-auth"} <= queues()

    shop.node.kubectl("delete", "logsource", "gone", "kept", "-n", "shop", "--timeout=60s")
    assert not {"events.gone", "events.gone.dead"} & queues()
    assert {"events.kept", "events.kept.dead", "events.web-auth"} <= queues()
    until(lambda: stored("gone") == 0, seconds=30, what="its events to go", pause=0.2)
    assert stored("kept") >= 1
    assert shop.count("event.dataset:system.auth") >= before
    until(lambda: "vedette-pipeline-gone" not in deployments(), seconds=60, what="its workers to go", pause=0.3)
    assert "vedette-pipeline" in deployments()
    # Whoever makes it again finds what was kept, and may decide otherwise.
    shop.apply(source("kept", "Delete"))
    shop.wait_ready("logsource/kept")
    shop.node.kubectl("delete", "logsource", "kept", "-n", "shop", "--timeout=60s")
    assert "events.kept" not in queues()
    until(lambda: stored("kept") == 0, seconds=30, what="its events to go, too", pause=0.2)


def test_a_table_that_changes_is_followed(shop: Release) -> None:
    numbers = iter(range(200))

    def owner() -> str:
        address = f"198.18.0.{next(numbers)}"
        shop.send(sshd("ana", address, host="web2"))
        until(lambda: shop.count(f"source.ip:{address}") == 1, seconds=30, what="the event", pause=0.1)
        (found,) = shop.store().search_events(parse(f"source.ip:{address}"), TimeRange()).events
        return str(found.document["vedette.other"]["labels.owner"])

    assert owner() == "ben@shop.example"
    shop.apply(OWNERS.format(owner="carla@shop.example"))
    until(lambda: owner() == "carla@shop.example", seconds=60, what="the new owner", pause=0.5)
    shop.apply(OWNERS.format(owner="ben@shop.example"))
    until(lambda: owner() == "ben@shop.example", seconds=60, what="the owner before", pause=0.5)


def test_an_idle_operator_writes_nothing_but_its_lease(shop: Release) -> None:
    def writes() -> list[str]:
        told = [entry for entry in shop.node.audit() if entry["user"]["username"] == OPERATOR]
        return ["{verb} {objectRef[resource]}/{objectRef[name]}".format(**entry) for entry in told]

    def since_others() -> int:
        """Renewals of the Lease since it last wrote anything else."""
        return next((at for at, write in enumerate(reversed(writes())) if "leases/" not in write), 0)

    # What other tests began ends first. Counters are written every 30 s, the Lease every 3 to 4 s.
    until(lambda: since_others() >= 15, seconds=180, what="50 seconds with renewals of the Lease alone", pause=0.5)
