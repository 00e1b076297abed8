"""A user's way from `helm install` to the incident, on a real cluster."""

from __future__ import annotations

import base64
import json
import ssl
import time
from typing import Any

import pika
import pytest
from tests.cluster.node import CommandError
from tests.cluster.release import SHOP, SYSTEM, Release, sshd
from tests.helpers import until

from vedette_backends.store.protocol import TimeRange
from vedette_engine.alerting.bundle import decode
from vedette_engine.query.lucene import parse

SETTLED = 120
"""Seconds in which a scheduled search has come by: it looks at what was stored 45 seconds ago and more."""


def test_an_event_becomes_a_document_an_alert_and_an_incident(shop: Release) -> None:
    answer = shop.send(sshd("backup-admin", "192.0.2.41"))
    assert answer.status in {200, 202}, answer.body
    until(lambda: shop.count("source.ip:192.0.2.41") == 1, seconds=30, what="the document")
    found = shop.store().search_events(parse("source.ip:192.0.2.41"), TimeRange()).events[0].document
    assert found["vedette.other"]["labels.owner"] == "ana@shop.example"
    until(lambda: shop.alerts("decoy-account", "192.0.2.41"), seconds=30, what="the alert")
    (alert,) = shop.alerts("decoy-account", "192.0.2.41")
    assert alert.summary == "192.0.2.41 tried the decoy account backup-admin on web1"

    def incident() -> str:
        return str(shop.alerts("decoy-account", "192.0.2.41")[0].workflow.get("incident", ""))

    until(incident, seconds=30, what="the incident")
    until(lambda: shop.get("incident", incident()).get("status", {}).get("alerts") == 1, seconds=30, what="its status")
    assert shop.get("incident", incident())["spec"]["severity"] == "high"
    assert incident() in shop.node.kubectl("get", "incidents", "-n", "shop")
    assert "decoy-account" in shop.node.kubectl("get", "siem", "-A")


def test_alerts_of_one_group_join_one_incident(shop: Release) -> None:
    for _ in range(3):
        shop.send(sshd("backup-admin", "192.0.2.42"))
    until(lambda: len(shop.alerts("decoy-account", "192.0.2.42")) == 3, seconds=30, what="three alerts")

    def incidents() -> set[str]:
        return {str(one.workflow.get("incident", "")) for one in shop.alerts("decoy-account", "192.0.2.42")}

    until(lambda: "" not in incidents(), seconds=30, what="incidents of all")
    assert len(incidents()) == 1


def test_a_scheduled_search_alerts_once_for_many_events_and_opens_an_incident(shop: Release) -> None:
    names = [f"spray-{letter}" for letter in "abcde"]
    when = time.time() - 60
    lines = [sshd(name, "192.0.2.45", when=when + 5 * number) for number, name in enumerate(names)]
    assert shop.send("\n".join(lines)).status in {200, 202}
    until(lambda: shop.alerts("many-names", "192.0.2.45"), seconds=SETTLED, what="the alert")
    (alert,) = shop.alerts("many-names", "192.0.2.45")
    assert alert.summary == "192.0.2.45 tried spray-a, spray-b, spray-c and 2 more on web1, 5 times in all"
    assert (alert.title, alert.severity) == ("One address tries many names", "medium")
    assert len(alert.body["events"]) == 5

    def incident() -> str:
        return str(shop.alerts("many-names", "192.0.2.45")[0].workflow.get("incident", ""))

    until(incident, seconds=30, what="the incident")
    assert shop.get("incident", incident())["spec"]["title"] == alert.summary
    # One that comes late belongs to the same alert.
    shop.send(sshd("spray-f", "192.0.2.45", when=when + 1))
    until(lambda: shop.count("source.ip:192.0.2.45") == 6, seconds=30, what="the late event")
    stored = 1000 * time.time()
    until(lambda: _checkpoint(shop, "many-names") >= stored, seconds=SETTLED, what="the search to come by")
    assert len(shop.alerts("many-names", "192.0.2.45")) == 1


def test_a_namespace_has_a_scheduler_as_long_as_it_has_searches(shop: Release) -> None:
    shop.wait_ready("alertrule/many-names")
    node = shop.node
    node.kubectl("rollout", "status", "deployment/vedette-scheduler", "-n", "shop", "--timeout=60s", timeout=80)
    assert shop.get("poddisruptionbudget", "vedette-scheduler")["spec"]["maxUnavailable"] == 1
    assert shop.get("alertrule", "many-names")["status"]["stats"].keys() >= {"matches", "alerts"}
    node.kubectl("delete", "alertrule", "many-names", "-n", "shop")
    until(lambda: not _deployments(shop) & {"vedette-scheduler"}, seconds=60, what="its end")
    shop.apply((SHOP / "searches.yaml").read_text())
    shop.wait_ready("alertrule/many-names")
    assert "vedette-scheduler" in _deployments(shop)


def test_a_mozdef_style_publisher_sends_over_amqp(shop: Release) -> None:
    shop.node.kubectl("apply", "--server-side", "-f", str(SHOP.with_name("mozdef.yaml")))
    shop.wait_ready("logsource/mozdef")
    secret = shop.get("secret", "mozdef-publisher")["data"]
    parameters = pika.URLParameters(_decoded(secret["url"]))
    parameters.ssl_options = _trusting(_decoded(secret["ca.crt"]) if "ca.crt" in secret else "")
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number in range(20):
            event = {
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
                "hostname": "legacy1",
                "category": "authentication",
                "summary": f"legacy event {number}",
                "details": {"sourceipaddress": "192.0.2.77"},
            }
            channel.basic_publish(
                "eventtask", "eventtask", json.dumps(event), pika.BasicProperties(message_id=f"m-{number % 10}")
            )
    until(lambda: shop.count("host.name:legacy1") == 10, seconds=30, what="each message_id once")


def test_a_new_version_of_a_rule_is_followed_and_a_broken_one_leaves_the_last_good_one(shop: Release) -> None:
    text = (SHOP / "rules.yaml").read_text().replace("backup-admin", "oracle-dr")
    shop.apply(text)
    generation = shop.get("alertrule", "decoy-account")["metadata"]["generation"]

    def live() -> bool:
        found = shop.condition("alertrule", "decoy-account", "Loaded")
        return bool(found.get("status") == "True" and found.get("observedGeneration") == generation)

    until(live, seconds=30, what="the new version to be live")
    shop.send(sshd("oracle-dr", "192.0.2.51") + "\n" + sshd("backup-admin", "192.0.2.52"))
    until(lambda: shop.alerts("decoy-account", "192.0.2.51"), seconds=30, what="an alert of the new version")
    assert not shop.alerts("decoy-account", "192.0.2.52")
    broken = text.replace("user.name: oracle-dr}", "user.name: nobody-at-all}", 1)
    refused = _refused(shop, broken)
    assert "the decoy is tried" in refused
    shop.send(sshd("oracle-dr", "192.0.2.53"))
    until(lambda: shop.alerts("decoy-account", "192.0.2.53"), seconds=30, what="an alert of the last good version")
    shop.apply((SHOP / "rules.yaml").read_text())


def test_a_deleted_rule_alerts_no_more(shop: Release) -> None:
    text = (SHOP / "rules.yaml").read_text().split("---")[0].replace("decoy-account", "short-lived")
    shop.apply(text.replace("backup-admin", "short-lived-user"))
    shop.wait_ready("alertrule/short-lived")
    shop.send(sshd("short-lived-user", "192.0.2.61"))
    until(lambda: shop.alerts("short-lived", "192.0.2.61"), seconds=30, what="its alert")
    shop.node.kubectl("delete", "alertrule", "short-lived", "-n", "shop")

    def gone() -> bool:
        # What a pod that is gone said last stays for a while.
        since = (time.time() - 10) * 1000
        beats = [one for one in shop.store().heartbeats() if one.body["role"] == "pipeline" and one.time > since]
        loaded = {str(one.body["bundle"]) for one in beats}
        return "" not in loaded and bool(loaded) and not any("short-lived" in _rules(shop, each) for each in loaded)

    until(gone, seconds=30, what="the workers to load the bundle without it")
    shop.send(sshd("short-lived-user", "192.0.2.62"))
    until(lambda: shop.count("source.ip:192.0.2.62") == 1, seconds=30, what="the event")
    assert not shop.alerts("short-lived", "192.0.2.62")


def test_what_is_changed_or_deleted_by_hand_is_repaired(shop: Release) -> None:
    before = shop.get("deployment", "vedette-pipeline")["metadata"]["uid"]
    shop.node.kubectl("delete", "deployment", "vedette-pipeline", "-n", "shop")

    def again() -> bool:
        listed = json.loads(shop.node.kubectl("get", "deployment", "-n", "shop", "-o", "json"))["items"]
        found = next((one for one in listed if one["metadata"]["name"] == "vedette-pipeline"), None)
        new = found is not None and found["metadata"]["uid"] != before
        return bool(found is not None and new and found.get("status", {}).get("availableReplicas"))

    until(again, seconds=60, what="the Deployment")
    shop.send(sshd("root", "192.0.2.71"))
    until(lambda: shop.count("source.ip:192.0.2.71") == 1, seconds=60, what="an event through the new pods")


def test_every_pod_is_restricted_and_only_those_that_need_it_have_a_token(shop: Release) -> None:
    pods = [pod for namespace in ("shop", SYSTEM) for pod in shop.pods(namespace)]
    assert pods
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
        has_token = any("projected" in volume for volume in pod["spec"]["volumes"])
        component = pod["metadata"]["labels"]["vedette.dev/component"]
        assert has_token == (component in {"operator", "web", "responder"}), name


def _checkpoint(shop: Release, rule: str) -> int:
    """Until when what was stored has been searched, ms since the epoch."""
    beats = [one.body for one in shop.store().heartbeats() if one.body["role"] == "scheduler"]
    return max((body["rules"].get(rule, {}).get("checkpoint", 0) for body in beats), default=0)


def _deployments(shop: Release) -> set[str]:
    listed = json.loads(shop.node.kubectl("get", "deployment", "-n", "shop", "-o", "json"))["items"]
    return {one["metadata"]["name"] for one in listed}


def _rules(shop: Release, bundle: str) -> set[str]:
    return {rule.name for rule in decode(shop.store().get_blob(bundle)).rules}


def _refused(shop: Release, text: str) -> str:
    with pytest.raises(CommandError, match="admission webhook") as caught:
        shop.apply(text)
    return str(caught.value)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def _trusting(ca: str) -> Any:
    return pika.SSLOptions(ssl.create_default_context(cadata=ca))
