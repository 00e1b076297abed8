"""Watches that expire: the API server has forgotten the version from which on they ask."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest
from tests.chaos.streams import MANIFESTS, PATIENCE, RULE, TOKEN, Stream
from tests.cluster.release import Release
from tests.helpers import until

from vedette_backends.cluster.kubernetes import KubernetesCluster, connect
from vedette_backends.cluster.protocol import Change
from vedette_backends.errors import BackendError
from vedette_engine.alerting import bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ALERTRULES = "/apis/vedette.dev/v1alpha1/alertrules"
LISTED = """
import json, os, threading
from vedette_operator import routes
def seen(kind, body):
    # In one piece: what a list brings comes from other threads.
    os.write(1, json.dumps([kind, body["metadata"]["name"]]).encode() + b"\\n")
routes.watch("vedette.dev", "v1alpha1", ["alertrules"], seen, threading.Event())
"""


def test_after_watches_expired_nothing_that_came_or_went_meanwhile_is_missed(stream: Stream) -> None:
    """A second API server on the same etcd writes while the first is down, whose watches then begin too late."""
    shop, name = stream.shop, stream.name
    born, gone = f"born-{name}", f"gone-{name}"
    template = MANIFESTS.rsplit("---", 1)[1].replace("action: marked", f"action: {name}")
    shop.apply(template.replace(RULE, gone))
    try:
        shop.wait_ready(f"alertrule/{gone}")
        with visited(shop) as pages, operators_watch(shop) as listed, our_watch(shop) as changes:
            until(lambda: gone in pages.rules(), seconds=PATIENCE, what="the rule in the web UI", pause=0.2)
            until(lambda: [None, gone] in listed, seconds=PATIENCE, what="the rule in the operator's list")
            before = shop.node.get(ALERTRULES + "?limit=1")["metadata"]["resourceVersion"]
            with shop.node.spare_api() as aside, shop.node.without("apiserver"):
                aside("apply", "--server-side", "-f", "-", stdin=template.replace(RULE, born))
                aside("delete", "alertrule", gone, "-n", "shop", "--wait=false")
            began = time.monotonic()
            asked_again = f"{ALERTRULES}?watch=1&timeoutSeconds=1&resourceVersion={before}"
            assert "too old resource version" in shop.node.get(asked_again, raw=True)
            until(lambda: [None, born] in listed, seconds=PATIENCE, what="a new list of the operator's watch")
            until(
                lambda: {(Change.SET, born), (Change.DELETED, gone)} <= changes, seconds=PATIENCE, what="both changes"
            )
            until(
                lambda: born in (found := pages.rules()) and gone not in found,
                seconds=PATIENCE,
                what="both changes in the web UI",
                pause=0.2,
            )
            shop.wait_ready(f"alertrule/{born}")
            until(lambda: in_force(shop, born, gone), seconds=PATIENCE, what="both changes in force", pause=0.2)
            stream.figures["watches expired: what came and went is in force"] = time.monotonic() - began
        body = json.dumps({"event": {"action": name}, "message": "one"})
        assert shop.send(body, token=TOKEN).status in {200, 202}
        until(lambda: shop.alerts(born), seconds=PATIENCE, what="an alert of the new rule", pause=0.2)
        assert not shop.alerts(gone)
    finally:
        shop.node.kubectl("delete", "alertrule", born, gone, "-n", "shop", "--ignore-not-found")
    stream.recovered("watches expired")
    stream.account()


def in_force(shop: Release, born: str, gone: str) -> bool:
    """Whether all pipelines work with a bundle that has the one rule and not the other."""
    store = shop.store()
    head = store.head(bundle.HEAD)
    if head is None:
        return False
    rules = {rule.name for rule in bundle.decode(store.get_blob(head)).rules}
    now = time.time_ns() // 1_000_000
    beats = [beat.body for beat in store.heartbeats() if now - beat.time < 5000 and beat.body["role"] == "pipeline"]
    return born in rules and gone not in rules and {beat["bundle"] for beat in beats} == {head}


class Pages:
    """The web UI, as somebody signed in sees it."""

    def __init__(self, shop: Release, token: str) -> None:
        self._address = urlsplit(shop.service("web", 8420)).netloc
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer, _ = self._ask("POST", "/signin", urlencode({"token": token, "next": "/rules"}), form)
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        assert self._cookie, answer.status

    def rules(self) -> str:
        """The page of the shop's rules."""
        answer, page = self._ask("GET", "/rules?namespace=shop", None, {"Cookie": self._cookie})
        assert answer.status in {200, 502, 503}, page
        return page if answer.status == 200 else ""

    def _ask(
        self, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection(self._address, timeout=20)
        try:
            connection.request(method, path, body, {"Host": "localhost", **headers})
            answer = connection.getresponse()
            return answer, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def visited(shop: Release) -> Iterator[Pages]:
    """A viewer of the shop is at the pages."""
    name = "chaos-viewer"
    kubectl = shop.node.kubectl
    kubectl("create", "serviceaccount", name, "-n", "shop")
    try:
        account = f"--serviceaccount=shop:{name}"
        kubectl("create", "rolebinding", name, "-n", "shop", "--clusterrole=vedette:viewer", account)
        yield Pages(shop, kubectl("create", "token", name, "-n", "shop").strip())
    finally:
        kubectl("delete", f"rolebinding/{name}", f"serviceaccount/{name}", "-n", "shop", "--ignore-not-found")


@contextmanager
def operators_watch(shop: Release) -> Iterator[list[list[str | None]]]:
    """The operator's watch of rules in a process of its own, which no Lease ends: (kind of change, name)."""
    found: list[list[str | None]] = []
    with subprocess.Popen(
        [sys.executable, "-c", LISTED], env=shop.node.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = process.stdout

        def read() -> None:
            found.extend(json.loads(line) for line in lines)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield found
            assert process.poll() is None, "it goes on by itself"
        finally:
            process.terminate()
            thread.join(30)


@contextmanager
def our_watch(shop: Release) -> Iterator[set[tuple[Change, str]]]:
    """What web UI, responder and gateway follow the cluster by."""
    found: set[tuple[Change, str]] = set()
    cluster = KubernetesCluster(connect(shop.node.kubeconfig))
    after = cluster.version()
    stop = threading.Event()

    def follow() -> None:
        last = after
        while not stop.is_set():
            try:
                for event in cluster.watch(last, 0.5):
                    last = event.object.version
                    found.add((event.change, event.object.key.name))
            except BackendError:
                stop.wait(0.2)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        cluster.close()
