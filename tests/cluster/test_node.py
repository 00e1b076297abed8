"""The harness itself: what the other tests of a cluster build upon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.fixtures import unavailable
from tests.cluster.machine import missing
from tests.cluster.node import CommandError, Node
from tests.cluster.slot import cgroup_folders
from tests.cluster.tools.build import KUBERNETES
from tests.helpers import until

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"

WHO_AM_I = """\
import os, pathlib
print(os.getuid(), os.getgid(), os.getgroups())
for place in ("/", "/usr/local/lib", "/tmp"):
    try:
        (pathlib.Path(place) / "mine").write_text("")
    except OSError as error:
        print(place, error.strerror)
"""

SERVE = """\
import http.server, socketserver
http.server.ThreadingHTTPServer(("", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_the_node_is_ready_in_the_pinned_version(node: Node) -> None:
    said = json.loads(node.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [each["status"]["nodeInfo"]["kubeletVersion"] for each in said] == [f"v{KUBERNETES}"]
    assert json.loads(node.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == f"v{KUBERNETES}"


def test_the_image_runs_vedette(run_pod: Callable[..., str]) -> None:
    assert run_pod("--version").startswith("vedette ")


def test_a_pod_of_the_image_is_nobody_and_can_write_nowhere(run_pod: Callable[..., str]) -> None:
    assert run_pod(python=WHO_AM_I).splitlines() == [
        "65532 65532 [65532]",
        "/ Read-only file system",
        "/usr/local/lib Read-only file system",
        "/tmp Read-only file system",
    ]


def test_every_client_library_of_the_image_can_be_loaded(run_pod: Callable[..., str]) -> None:
    names = "elasticsearch, hyperscan, kopf, kubernetes, pika, pydantic, re2, sigma, sqlite3, ssl, tantivy, uvloop"
    assert run_pod(python=f"import {names}; print('all')") == "all\n"


def test_a_secret_is_mounted_as_files(node: Node, namespace: str, run_pod: Callable[..., str]) -> None:
    node.kubectl("create", "secret", "generic", "told", "--from-literal=word=friend", "-n", namespace)
    assert run_pod(python="print(open('/run/told/word').read())", secrets={"told": "/run/told"}) == "friend\n"


def test_pods_find_services_by_name(node: Node, run_pod: Callable[..., str]) -> None:
    ask = "import socket; print(socket.gethostbyname('kubernetes.default.svc.cluster.local'))"
    assert run_pod(python=ask).strip() == str(node.layout.addresses.api)


def test_our_kinds_apply_and_are_listed_by_their_category(node: Node, namespace: str) -> None:
    node.kubectl(
        "apply", "--server-side", "--force-conflicts", *(f"--filename={path}" for path in sorted(CRDS.glob("*.yaml")))
    )
    for path in CRDS.glob("*.yaml"):
        node.kubectl("wait", "--for=condition=Established", f"crd/{path.stem}", "--timeout=30s")
    incident = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "inc-1", "namespace": namespace},
        "spec": {"title": "Somebody is in the mail server"},
    }
    node.apply(incident)
    until(lambda: "inc-1" in node.kubectl("get", "siem", "-A"), seconds=20, what="the incident in `kubectl get siem`")


def test_the_machine_reaches_pods_which_hang_while_the_node_is_paused(
    node: Node, start_pod: Callable[..., str], pod_address: Callable[[str], str]
) -> None:
    address = pod_address(start_pod(python=SERVE))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}:8080/etc/passwd", timeout=1) as answer:
                return b"vedette" in answer.read()
        except OSError:
            return False

    until(answers, seconds=20, what="the pod to answer")
    node.pause()
    try:
        assert not answers()
        assert node.get("/readyz", raw=True) == "ok", "the control plane was to go on"
    finally:
        node.resume()
    until(answers, seconds=20, what="the pod to answer again")


@pytest.mark.parametrize("program", ["apiserver", "containerd", "kubelet"])
def test_a_program_can_be_down_while_pods_go_on(
    program: str, node: Node, namespace: str, start_pod: Callable[..., str], pod_address: Callable[[str], str]
) -> None:
    name = start_pod(python=SERVE)
    address = pod_address(name)

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"http://{address}:8080/etc/group", timeout=1).close()
        except OSError:
            return False
        return True

    until(answers, seconds=20, what="the pod to answer")
    with node.without(program):
        assert answers()
        if program == "apiserver":
            with pytest.raises(OSError, match="refused"):
                node.get("/readyz")

    def works_again() -> bool:
        try:
            return "GET /etc/group" in node.kubectl("logs", name, "-n", namespace)
        except CommandError:
            return False

    until(works_again, seconds=30, what=f"{program} to work again", pause=0.2)


def test_two_nodes_do_not_meet(node: Node, tmp_path: Path) -> None:
    with Node(tmp_path) as other:
        assert not other.layout.addresses.all.overlaps(node.layout.addresses.all)
        assert other.kubectl("get", "nodes", "-o", "name") == "node/node1\n"
        assert node.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}") != other.kubectl(
            "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"
        )
    # The first one has lost nothing with the second one's mounts and control groups.
    assert node.get("/readyz", raw=True) == "ok"


@pytest.mark.cluster
def test_nothing_is_left_of_a_node_whose_session_was_killed(tmp_path: Path) -> None:
    if lacking := missing():
        unavailable("; ".join(lacking))
    script = (
        "import pathlib, sys; from tests.cluster.node import Node\n"
        "node = Node(pathlib.Path(sys.argv[1])); node.start(); print(node.layout.addresses.number, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        assert session.stdout is not None
        number = int(session.stdout.readline())
        link = Path(f"/sys/class/net/vedette{number}")
        assert link.exists()
        session.send_signal(signal.SIGKILL)
    until(lambda: not link.exists(), seconds=30, what="the link to go")
    until(lambda: not (tmp_path / "data").exists(), seconds=30, what="etcd's and containerd's data to go")
    assert not [group for group in cgroup_folders(f"vedette-node-{number}") if group.exists()]
    assert (tmp_path / "log" / "etcd.log").exists(), "logs were to stay"

    def remains() -> str:
        return subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout

    until(lambda: not remains(), seconds=30, what="the last process to end")
