"""API server, node and control plane fail in mid-stream."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from tests.chaos import containers
from tests.chaos.streams import MANIFESTS, PATIENCE, RULE, Stream, asked
from tests.cluster.release import NAME, SYSTEM, Release
from tests.helpers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DOWN = 60.0
PAUSED = 30.0


def test_the_api_server_is_down_while_events_flow_and_a_rule_right_after_is_live(stream: Stream) -> None:
    shop = stream.shop
    with shop.node.without("apiserver"):
        began, answered = time.monotonic(), stream.answered
        until(lambda: time.monotonic() - began > DOWN, seconds=2 * DOWN, what="a minute", pause=0.2)
        assert stream.answered > answered + 10 * DOWN, "events were to flow without the API server"
        stored = stream.count()
        stream.passes(100)
        until(lambda: stream.count() > stored, seconds=30, what="events to be stored without the API server", pause=0.2)
    began = time.monotonic()
    name = f"late-{stream.name}"
    rule = MANIFESTS.rsplit("---", 1)[1].replace(RULE, name).replace("marked", "late")
    until(lambda: asked(lambda: shop.apply(rule)), seconds=PATIENCE, what="the rule to be applied", pause=0.5)
    try:
        shop.wait_ready(f"alertrule/{name}")
        stream.figures[f"API server down {DOWN:.0f} s: a rule applied right after is Ready"] = time.monotonic() - began
    finally:
        shop.node.kubectl("delete", "alertrule", name, "-n", "shop")
    stream.recovered(f"API server down {DOWN:.0f} s")
    stream.account()


def test_the_node_hangs_and_goes_on(stream: Stream) -> None:
    node = stream.shop.node
    node.pause()
    try:
        began = time.monotonic()
        until(lambda: time.monotonic() - began > PAUSED, seconds=2 * PAUSED, what="half a minute", pause=0.2)
    finally:
        node.resume()
    stream.recovered(f"node paused {PAUSED:.0f} s")
    stream.account()


def test_of_two_operators_one_works_and_the_other_waits(stream: Stream) -> None:
    shop = stream.shop
    deployment = f"deployment/{NAME}-operator"
    try:
        shop.node.kubectl("scale", deployment, "--replicas=2", "-n", SYSTEM)
        until(
            lambda: len(containers.pods(shop, SYSTEM, "operator")) == 2,
            seconds=PATIENCE,
            what="a second operator",
            pause=0.2,
        )

        def lease() -> str:
            return str(shop.get("lease", f"{NAME}-operator", SYSTEM)["spec"]["holderIdentity"])

        holder = lease()
        name = f"twice-{stream.name}"
        rule = MANIFESTS.rsplit("---", 1)[1].replace(RULE, name).replace("marked", "twice")
        shop.apply(rule)
        shop.wait_ready(f"alertrule/{name}")
        assert lease() == holder
        shop.node.kubectl("delete", "alertrule", name, "-n", "shop")
    finally:
        shop.node.kubectl("scale", deployment, "--replicas=1", "-n", SYSTEM)
    stream.recovered("two operators")
    stream.account()


WATCH = """
import threading
from vedette_operator import routes
print("begun", flush=True)
# In one piece: two threads may tell of two objects at once.
seen = lambda kind, body: print("seen\\n", end="", flush=True)
routes.watch("vedette.dev", "v1alpha1", ["logsources"], seen, threading.Event())
print("ended", flush=True)
"""


def test_the_operators_watches_end_at_sigterm(faults: Release) -> None:
    """Or else it is killed after its grace period, and the next one waits until the Lease runs out."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCH], env=faults.node.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            assert process.stdout.readline() == "seen\n"
            process.terminate()
            assert process.wait(timeout=20) == 0
            assert process.stdout.read().endswith("ended\n")
        finally:
            process.kill()
