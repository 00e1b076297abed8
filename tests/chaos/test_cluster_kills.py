"""Containers and pods of a release end in mid-stream: by SIGKILL, by eviction, by hand."""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.chaos import containers
from tests.chaos.streams import EVERY, PATIENCE, SOURCE, Stream, asked
from tests.cluster.release import SYSTEM, Release
from tests.helpers import until

from vedette_backends.store.protocol import AlertFilter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("VEDETTE_CLUSTER_KILLS", "5"))
"""How often each container is killed."""
SEARCH = "faults-searched"
MANIFEST = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {rule}, namespace: shop}}
spec:
  severity: low
  search:
    query: 'labels.stream:{stream} AND event.action:marked'
    every: 2s
    window: 1m
    groupBy: [event.sequence]
    condition: {{count: {{gte: 1}}}}
"""
SETTLED = 60
"""Seconds after which scheduled searches have looked at what is stored."""
COMPONENTS = {
    "pipeline": "shop",
    "responder": "shop",
    "scheduler": "shop",
    "gateway": SYSTEM,
    "librarian": SYSTEM,
    "operator": SYSTEM,
}


def all_ready(release: Release, components: dict[str, str] = COMPONENTS) -> None:
    """Wait until each component has a Ready pod and no other."""

    def well() -> bool:
        for component, namespace in components.items():
            there = asked(lambda: containers.pods(release, namespace, component))  # noqa: B023 # called at once
            running = asked(lambda: containers.ready(release, namespace, component))  # noqa: B023 # called at once
            if not there or len(there) != len(running or ()):
                return False
        return True

    until(well, seconds=PATIENCE, what=f"Ready pods of {', '.join(components)}", pause=0.2)


def test_whatever_container_is_killed_when_nothing_is_lost_or_doubled(stream: Stream) -> None:
    """Each by a thread of its own, at moments that the stream tells: so two may be down at the same time."""
    seed = time.time_ns()
    killed: dict[str, int] = {}
    stream.shop.apply(MANIFEST.format(rule=SEARCH, stream=stream.name))
    stream.shop.wait_ready(f"alertrule/{SEARCH}")

    def kill(component: str) -> None:
        dice = random.Random(f"{seed} {component}")
        for _ in range(KILLS):
            stream.passes(dice.randrange(10, 300))
            until(
                lambda: containers.kill(stream.shop, COMPONENTS[component], component),
                seconds=PATIENCE,
                what=f"a container of {component} to kill",
                pause=0.1,
            )
            killed[component] = killed.get(component, 0) + 1

    with ThreadPoolExecutor(len(COMPONENTS)) as pool:
        for done in [pool.submit(kill, component) for component in COMPONENTS]:
            done.result()
    stream.recovered(f"kill -9 of each container {KILLS} times")
    all_ready(stream.shop)
    assert killed == dict.fromkeys(COMPONENTS, KILLS), f"seed {seed}"
    stream.account()
    marked = [str(number) for number in range(0, stream.answered, EVERY)]
    until(lambda: len(searched(stream)) >= len(marked), seconds=SETTLED + PATIENCE, what="alerts of the search")
    assert sorted(searched(stream)) == sorted(marked), f"seed {seed}"
    stream.shop.node.kubectl("delete", "alertrule", SEARCH, "-n", "shop")


def searched(stream: Stream) -> list[str]:
    """What the scheduled search has alerted of this stream."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = stream.shop.store().search_alerts(AlertFilter(rules=(SEARCH,)), size=500, after=after)
        told = [alert.body["detection"] for alert in page.alerts]
        found += [detection["group"]["event.sequence"] for detection in told if stream.name in detection["query"]]
        after = page.next
        if after is None:
            return found


def test_pods_that_are_evicted_or_deleted_hand_over_their_work(stream: Stream) -> None:
    shop = stream.shop
    for component in ("pipeline", "responder", "scheduler"):
        # There may be more of them: the operator adds pods while events wait.
        name = containers.pods(shop, "shop", component)[0]["metadata"]["name"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": "shop"},
        }
        path = f"/api/v1/namespaces/shop/pods/{name}/eviction"
        shop.node.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    stream.recovered("pipeline, responder and scheduler evicted")
    for component in ("gateway", "librarian", "operator"):
        names = [pod["metadata"]["name"] for pod in containers.pods(shop, SYSTEM, component)]
        shop.node.kubectl("delete", "pod", *names, "-n", SYSTEM, "--wait=false")
    stream.recovered("gateway, librarian and operator pods deleted")
    all_ready(shop)
    stream.account()


def test_what_is_deleted_by_hand_comes_back(stream: Stream) -> None:
    shop = stream.shop
    elastic, rabbit = shop.backends.elasticsearch, shop.backends.rabbitmq
    before = {
        kind: shop.get(kind, "vedette-pipeline")["metadata"]["uid"]
        for kind in ("deployment", "serviceaccount", "poddisruptionbudget", "networkpolicy")
    }
    for kind in before:
        shop.node.kubectl("delete", kind, "vedette-pipeline", "-n", "shop", "--wait=false")

    def again() -> bool:
        found = {kind: asked(lambda: shop.get(kind, "vedette-pipeline")) for kind in before}  # noqa: B023 # called at once
        return all(found[kind] and found[kind]["metadata"]["uid"] != uid for kind, uid in before.items())

    began = time.monotonic()
    until(again, seconds=PATIENCE, what="what belongs to the pipeline", pause=0.2)
    stream.figures["Deployment and its likes deleted: all made again"] = time.monotonic() - began
    stream.recovered("Deployment and its likes deleted: events flow")

    def templates() -> set[str]:
        found = elastic.ask("GET", "/_index_template")["index_templates"]
        return {one["name"] for one in found if ".shop" in one["name"]}

    made = templates()
    assert made
    for name in made:
        elastic.ask("DELETE", f"/_index_template/{name}")
    began = time.monotonic()
    until(
        lambda: templates() == made,
        seconds=PATIENCE,
        what=f"the templates {made}",
        pause=0.2,
    )
    stream.figures["index templates deleted"] = time.monotonic() - began

    # Who deletes a queue deletes what waits in it: nothing does just now. What is sent from then on must not vanish.
    with stream.held():
        for name in (f"events.{SOURCE}", "alerts"):
            rabbit.ctl("delete_queue", "-p", "vedette.shop", name)
    stream.recovered("queues deleted")
    stream.account()
