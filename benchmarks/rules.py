"""The operator with thousands of rules on a real cluster: until all are Ready, writes, memory, idleness, one change.

    python -m benchmarks.rules [--rules 5000]

A node, Elasticsearch and RabbitMQ are started for it; needs what the cluster tests need.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.cluster.fixtures import Session
from tests.cluster.release import CHART, NAME, SYSTEM, values
from tests.cluster.servers import Backends, write_settings

from benchmarks.procs import TICK, cpu
from benchmarks.running import wait
from vedette_backends.cluster.kubernetes import KubernetesCluster, KubernetesResources, connect
from vedette_backends.cluster.protocol import Key

NAMESPACE = "bench"
SOURCE = f"""
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: {NAMESPACE}}}
stringData: {{token: benchmark-token-0123456789}}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: app, namespace: {NAMESPACE}}}
spec:
  input: {{http: {{tokenSecretRef: {{name: token, key: token}}}}}}
  format: json
  dataset: bench.app
  logsource: {{category: process_creation, product: windows}}
  retention: {{search: 7d}}
"""


def rule(number: int, word: str = "") -> dict[str, Any]:
    """A rule of ordinary size with a test that has to match and one that must not."""
    tool = f"tool{number}{word}.exe"
    sigma = (
        f"title: Tool {number}\nlogsource: {{category: process_creation, product: windows}}\ndetection:\n"
        f"  image:\n    Image|endswith: ['\\{tool}', '\\other{number}.exe']\n"
        f"  line:\n    CommandLine|contains|all: ['-x{number}', '--run']\n"
        "  filter:\n    User: SYSTEM\n  condition: image and line and not filter\nlevel: high\n"
    )
    event = {"Image": f"C:\\{tool}", "CommandLine": f"{tool} -x{number} --run", "User": "ana"}
    tests = [
        {"name": "it runs", "timeline": [{"event": event}], "expect": {"alerts": 1}},
        {"name": "another", "timeline": [{"event": {**event, "User": "SYSTEM"}}], "expect": {"alerts": 0}},
    ]
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "AlertRule",
        "metadata": {"name": f"rule-{number}", "namespace": NAMESPACE},
        "spec": {"sigma": sigma, "tests": tests, "summary": "{host.name}"},
    }


class Operator:
    """The operator's processes, as the node's machine shows them."""

    def __init__(self) -> None:
        found = [pid for pid in _pids() if b"vedette\0operator" in _command(pid)]
        self.main = found[0]

    def pids(self) -> list[int]:
        """It and its children."""
        return [self.main, *(pid for pid in _pids() if _parent(pid) == self.main)]

    def memory(self) -> float:
        """Resident MB of all of them, shared pages divided."""
        return sum(_pss(pid) for pid in self.pids())

    def cpu(self) -> float:
        """Seconds."""
        return cpu([self.main])


def measure(session: Session, number: int) -> None:
    """One run."""
    session.begin_elasticsearch()
    session.begin_rabbitmq()
    session.begin_image()
    node = session.begin_node()()
    node.load_image(session.begin_image()())
    servers = session.begin_elasticsearch()(), session.begin_rabbitmq()()
    folder = write_settings(session.folder / "backends", servers[1].settings, servers[0].settings)
    node.kubectl("create", "namespace", SYSTEM)
    node.apply(Backends(servers[0], servers[1], folder).secret("servers", SYSTEM))
    chosen = {**values((NAMESPACE,)), "webhook": {"enabled": False}}
    file = session.folder / "values.json"
    file.write_text(json.dumps(chosen))
    node.helm("install", NAME, str(CHART), "-n", SYSTEM, "--values", str(file), "--wait", "--timeout", "240s")
    node.kubectl("apply", "--server-side", "-f", "-", stdin=SOURCE)
    api = connect(node.kubeconfig)
    resources, cluster = KubernetesResources(api), KubernetesCluster(api)
    operator = Operator()
    peak = [0.0]
    stop = threading.Event()
    threading.Thread(target=_watch, args=(operator, peak, stop), daemon=True).start()
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: resources.apply(rule(at), manager="gitops"), range(number)))
    created = time.monotonic()
    print(f"{number} rules applied in {created - began:.0f} s")
    ready = _until_ready(cluster, number)
    print(f"all Ready {ready - created:.0f} s after the last create (bar 120)")
    seconds = ready - began
    writes = _status_writes(node)
    print(f"status writes {len(writes)}, at most {_most(writes)}/s (bar 60), mean {len(writes) / seconds:.0f}/s")
    print(f"operator: peak {peak[0]:.0f} MB (bar 300), CPU {operator.cpu():.0f} s")
    changed = time.monotonic()
    generation = resources.apply(rule(7, "x"), manager="gitops")["metadata"]["generation"]
    wait(lambda: _live(cluster, "rule-7", generation), 60, "the changed rule")
    print(f"one changed rule live after {time.monotonic() - changed:.1f} s (bar 5)")
    time.sleep(20)
    used, before, at = operator.cpu(), len(_writes(node)), time.monotonic()
    time.sleep(30)
    lasted = time.monotonic() - at
    kinds = sorted({entry["objectRef"]["resource"] for entry in _writes(node)[before:]})
    print(f"idle: {(operator.cpu() - used) / lasted:.1%} of a core (bar 2 %), writes to {kinds}")
    stop.set()


def _until_ready(cluster: KubernetesCluster, number: int) -> float:
    while True:
        found = cluster.list("AlertRule", NAMESPACE)
        ready = sum(
            any(one["type"] == "Ready" and one["status"] == "True" for one in item.status.get("conditions", ()))
            for item in found
        )
        if ready >= number:
            return time.monotonic()
        print(f"  {ready} of {number}", flush=True)
        time.sleep(3)


def _live(cluster: KubernetesCluster, name: str, generation: int) -> bool:
    item = cluster.get(Key("AlertRule", NAMESPACE, name))
    assert item is not None
    return any(
        one["type"] == "Loaded" and one["status"] == "True" and one["observedGeneration"] == generation
        for one in item.status.get("conditions", ())
    )


def _writes(node: Any) -> list[dict[str, Any]]:
    return [entry for entry in node.audit() if "operator" in entry["user"]["username"]]


def _status_writes(node: Any) -> list[dict[str, Any]]:
    return [entry for entry in _writes(node) if entry["objectRef"].get("subresource") == "status"]


def _most(writes: list[dict[str, Any]]) -> int:
    seconds = [entry["requestReceivedTimestamp"][:19] for entry in writes]
    return max((seconds.count(one) for one in set(seconds)), default=0)


def _watch(operator: Operator, peak: list[float], stop: threading.Event) -> None:
    while not stop.wait(1):
        peak[0] = max(peak[0], operator.memory())


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=5000)
    arguments = parser.parse_args()
    assert TICK
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        Path(folder).chmod(0o755)
        session = Session(Path(folder), {})
        try:
            measure(session, arguments.rules)
        finally:
            session.close()


if __name__ == "__main__":
    main()
