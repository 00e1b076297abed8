"""How soon an alert is on the page: the release in pods on a real cluster, events over HTTP, the page's own stream.

    python -m benchmarks.latency [--rate 1000] [--seconds 60] [--no-browser]

Windows events go through the gateway's pod at a steady rate; five a second carry a mark, for which a rule alerts and
opens incidents. Each is timed from the moment at which it was due to be sent, so that a sender that is late counts
against us, to the moment at which its alert comes in the stream of server-sent events that an open page listens to.
A second run has chromium show the alerts beside it, and times the table's rows, too. A node, Elasticsearch and RabbitMQ
are started for it; needs what the cluster tests need. The events come from ../shared/data.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import math
import os
import random
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
from playwright.sync_api import expect, sync_playwright
from tests.chromium import FLAGS, PROGRAM
from tests.cluster.fixtures import Session
from tests.cluster.node import Node
from tests.cluster.release import CHART, NAME, SYSTEM, Release, values
from tests.cluster.servers import Backends, write_settings

from benchmarks.running import SOURCE, TOKEN, deliver, wait, windows_events
from vedette_backends.store.protocol import Alert, AlertFilter

NAMESPACE: Final = "bench"
RULE: Final = "marked"
MARK: Final = re.compile(r"latency-mark-[0-9]+-[0-9]+")
TICK: Final = 0.05
"""Seconds between two requests."""
MARK_EVERY: Final = 4
"""Of so many requests one carries a mark."""
SENDERS: Final = 4
WARM_UP: Final = 30
"""Seconds of the same traffic before each run: pods load what they need, and Elasticsearch compiles what is used."""
LATE: Final = 60.0
"""Seconds after which an alert that has not come counts as lost."""
BAR: Final = 2000
"""ms, for the 99th percentile."""
_MARKED_RULE: Final = {
    "apiVersion": "vedette.dev/v1alpha1",
    "kind": "AlertRule",
    "metadata": {"name": RULE, "namespace": NAMESPACE},
    "spec": {
        "severity": "high",
        "summary": "mark {CommandLine}",
        "sigma": "title: Marked\nlogsource: {product: windows, category: process_creation}\n"
        "detection: {sel: {CommandLine|startswith: 'latency-mark-'}, condition: sel}\n",
        "incident": {"open": "auto", "groupBy": ["User"], "within": "24h"},
    },
}
_WATCH_ROWS: Final = """
window.seen = {};
new MutationObserver(() => {
  const now = Date.now();
  for (const row of document.querySelectorAll("tr.row a.open")) {
    const mark = row.textContent.match(/latency-mark-[0-9]+-[0-9]+/);
    if (mark && !(mark[0] in window.seen)) window.seen[mark[0]] = now;
  }
}).observe(document, {childList: true, subtree: true, characterData: true});
"""


@dataclass(slots=True)
class Run:
    """One run's traffic. Times in seconds since the epoch; `due` and `seen` by mark, `told` by alert id."""

    number: int
    due: dict[str, float] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    """How much later than planned each request was sent, in seconds."""


# events -------------------------------------------------------------------------------------------------------------
class Sender:
    """Sends events at a steady rate, over a few connections, as shippers do."""

    def __init__(self, gateway: str, lines: Sequence[bytes], rate: int) -> None:
        self._address = urlsplit(gateway).netloc
        self._lines = itertools.cycle(lines)
        self._each = round(rate * TICK)
        self._dice = random.Random(1)
        self._lock = threading.Lock()
        self._connections = threading.local()

    def run(self, run: Run, seconds: float) -> None:
        """Returns when everything was accepted."""
        begun = time.time() + TICK
        with ThreadPoolExecutor(SENDERS) as pool:
            for tick in range(round(seconds / TICK)):
                due = begun + tick * TICK
                time.sleep(max(0.0, due - time.time()))
                pool.submit(self._send, run, tick, due).add_done_callback(_raise)

    def _send(self, run: Run, tick: int, due: float) -> None:
        with self._lock:
            some = list(itertools.islice(self._lines, self._each))
        if tick % MARK_EVERY == 0:
            mark = f"latency-mark-{run.number}-{tick}"
            some[self._dice.randrange(len(some))] = _marked(mark, tick)
            run.due[mark] = due
        run.late.append(time.time() - due)
        deliver(self._connection(), b"\n".join(some))

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._connections, "one"):
            self._connections.one = http.client.HTTPConnection(self._address, timeout=60)
        connection: http.client.HTTPConnection = self._connections.one
        return connection


def _raise(done: Any) -> None:
    if done.exception() is not None:
        print(f"a request failed: {done.exception()}")
        os._exit(1)


def _marked(mark: str, tick: int) -> bytes:
    return orjson.dumps(
        {
            "Channel": "Microsoft-Windows-Sysmon/Operational",
            "EventID": 1,
            "EventTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
            "CommandLine": mark,
            "Image": "C:\\x.exe",
            "User": f"user{tick // MARK_EVERY % 10}",
        }
    )


# the page -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Page:
    """The web UI as somebody signed in sees it. `host`: the name it answers to; `address`: where it is."""

    address: str
    host: str
    token: str

    def request(self, path: str, form: dict[str, str] | None = None, **headers: str) -> http.client.HTTPResponse:
        """Ask; the answer's body is not read yet."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        body = None if form is None else urlencode(form)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("GET" if form is None else "POST", path, body, {"Host": self.host, **kind, **headers})
        return connection.getresponse()

    def sign_in(self) -> str:
        """The session's cookie."""
        answer = self.request("/signin", {"token": self.token})
        if answer.status != 303:
            raise SystemExit(f"signing in was answered with {answer.status}: {answer.read()[:300]!r}")
        return (answer.headers.get("Set-Cookie") or "").partition(";")[0]


class Stream:
    """Listens as an open page does, and notes when each alert is first told of."""

    def __init__(self, page: Page, told: dict[str, float]) -> None:
        self._told = told
        self._answer = page.request(f"/live?ns={NAMESPACE}", Cookie=page.sign_in(), Accept="text/event-stream")
        if self._answer.status != 200:
            raise SystemExit(f"the stream answered {self._answer.status}")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        name = b""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while line := self._answer.readline():
                if line.startswith(b"event: "):
                    name = line[7:].strip()
                elif line.startswith(b"data: ") and name == b"alerts":
                    now = time.time()
                    for alert in orjson.loads(line[6:])["ids"]:
                        self._told.setdefault(alert, now)


@contextlib.contextmanager
def browser_on(page: Page) -> Iterator[Any]:
    """A chromium that shows the list of alerts."""
    host, _, port = page.address.partition(":")
    name = page.host.partition(":")[0]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=PROGRAM, args=[*FLAGS, f"--host-resolver-rules=MAP {name} {host}"]
        )
        shown = chromium.new_page(base_url=f"http://{name}:{port}")
        shown.add_init_script(_WATCH_ROWS)
        shown.goto(f"/alerts?ns={NAMESPACE}")
        shown.get_by_label("Token").fill(page.token)
        shown.get_by_role("button", name="Sign in").click()
        expect(shown.locator("#live")).to_have_attribute("data-state", "on", timeout=30_000)
        yield shown
        chromium.close()


# figures ------------------------------------------------------------------------------------------------------------
def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least this part of all do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def told(name: str, seconds: Sequence[float]) -> str:
    """One line of figures in ms."""
    figures = {f"p{part}": percentile(seconds, part / 100) for part in (50, 95, 99)}
    figures["max"] = max(seconds)
    return f"  {name:34} " + "  ".join(f"{key} {value * 1000:6.0f}" for key, value in figures.items())


def stages(run: Run, alerts: dict[str, Alert]) -> Iterator[str]:
    """Where the time goes."""
    parts: dict[str, list[float]] = {"sent → gateway": [], "gateway → matched": [], "matched → stream": []}
    for mark, alert in alerts.items():
        ingested = alert.body["events"][0]["document"]["event.ingested"]
        arrived = _seconds(ingested)
        parts["sent → gateway"].append(arrived - run.due[mark])
        parts["gateway → matched"].append(alert.raised / 1000 - arrived)
        parts["matched → stream"].append(run.told[alert.id] - alert.raised / 1000)
    for name, values_ in parts.items():
        yield told(f"  {name}", values_)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def report(run: Run, alerts: dict[str, Alert], rows: dict[str, float] | None) -> None:
    """Print one run."""
    delays = [run.told[alert.id] - run.due[mark] for mark, alert in alerts.items()]
    p99 = percentile(delays, 0.99) * 1000
    print(f"{len(delays)} alerts, load {os.getloadavg()[0]:.1f}; ms:")
    print(told("event due → alert in the stream", delays), f" (bar: p99 {BAR}{'' if p99 < BAR else ', missed'})")
    if rows is not None:
        print(told("event due → row in chromium", [rows[mark] - run.due[mark] for mark in alerts]))
    for line in stages(run, alerts):
        print(line)
    print(told("  sender behind its plan", run.late), flush=True)


# a cluster ----------------------------------------------------------------------------------------------------------
def install(session: Session) -> Release:
    """Start everything, install the release, apply the source and the rule."""
    for begin in (session.begin_elasticsearch, session.begin_rabbitmq, session.begin_image):
        begin()
    node = session.begin_node()()
    node.load_image(session.begin_image()())
    servers = session.begin_elasticsearch()(), session.begin_rabbitmq()()
    folder = write_settings(session.folder / "backends", servers[1].settings, servers[0].settings)
    backends = Backends(servers[0], servers[1], folder)
    node.kubectl("create", "namespace", SYSTEM)
    node.apply(backends.secret("servers", SYSTEM))
    file = session.folder / "values.json"
    file.write_text(json.dumps(values((NAMESPACE,))))
    node.helm("install", NAME, str(CHART), "-n", SYSTEM, "--values", str(file), "--wait", "--timeout", "240s")
    release = Release(node, backends, file, (NAMESPACE,))
    text = "---".join([SOURCE, f"\n{json.dumps(_MARKED_RULE)}\n"])
    node.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    release.wait_ready("logsource/windows", f"alertrule/{RULE}", namespace=NAMESPACE)
    wait(lambda: release.send("{}", token=TOKEN).status in {200, 202, 204, 400}, 60, "the gateway to know the token")
    return release


def page_of(node: Node, release: Release) -> Page:
    """The pages, with a token of a viewer."""
    kubectl = node.kubectl
    if "viewer" not in kubectl("get", "serviceaccounts", "-n", NAMESPACE, "-o", "name"):
        kubectl("create", "serviceaccount", "viewer", "-n", NAMESPACE)
        binding = ("--clusterrole=vedette:viewer", f"--serviceaccount={NAMESPACE}:viewer")
        kubectl("create", "rolebinding", "viewer", "-n", NAMESPACE, *binding)
    token = kubectl("create", "token", "viewer", "-n", NAMESPACE, "--duration=2h").strip()
    address = urlsplit(release.service("web", 8420)).netloc
    wait(lambda: _listens(address), 60, "the pages")
    return Page(address, f"{NAME}-web.{SYSTEM}.svc:8420", token)


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True


def marked(release: Release, run: Run) -> dict[str, Alert]:
    """The run's alerts by mark."""
    found: dict[str, Alert] = {}
    after: str | None = None
    while True:
        where = AlertFilter(rules=(RULE,))
        answer = release.store(NAMESPACE).search_alerts(where, size=5000, after=after)
        for alert in answer.alerts:
            mark = MARK.search(alert.summary)
            if mark is not None and mark.group() in run.due:
                found[mark.group()] = alert
        after = answer.next
        if after is None:
            return found


def measure(release: Release, sender: Sender, number: int, seconds: float, *, browser: bool) -> None:
    """One run; a browser shows the alerts meanwhile where that is wanted."""
    page = page_of(release.node, release)
    run = Run(number)
    Stream(page, run.told)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(browser_on(page)) if browser else None
        for each, lasting in ((Run(-number), WARM_UP), (run, seconds)):
            sending = threading.Thread(target=sender.run, args=(each, lasting))
            sending.start()
            while sending.is_alive():
                _pass(shown, 0.2)
        deadline = time.monotonic() + LATE
        alerts: dict[str, Alert] = {}
        rows: dict[str, float] = {}
        while time.monotonic() < deadline:
            _pass(shown, 0.5)
            alerts = marked(release, run)
            if shown is not None:
                rows = {mark: at / 1000 for mark, at in shown.evaluate("window.seen").items()}
            came = all(alert.id in run.told and (shown is None or mark in rows) for mark, alert in alerts.items())
            if len(alerts) == len(run.due) and came:
                break
        else:
            silent = [mark for mark in run.due if mark not in alerts or alerts[mark].id not in run.told]
            unseen = [mark for mark in run.due if shown is not None and mark not in rows]
            counts = f"{len(silent)} were not told, {len(unseen)} not shown"
            raise SystemExit(f"of {len(run.due)} alerts {counts}: {(silent or unseen)[:5]}")
    report(run, alerts, rows if browser else None)


def _pass(shown: Any, seconds: float) -> None:
    """Let time pass; the browser's driver needs this thread to hear of anything."""
    if shown is None:
        time.sleep(seconds)
    else:
        shown.wait_for_timeout(seconds * 1000)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="events per second")
    parser.add_argument("--seconds", type=int, default=60, help="of each run")
    parser.add_argument("--browser", action=argparse.BooleanOptionalAction, default=bool(shutil.which(PROGRAM)))
    arguments = parser.parse_args()
    lines = windows_events(20_000)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        Path(folder).chmod(0o755)
        session = Session(Path(folder), {})
        try:
            release = install(session)
            sender = Sender(release.service("gateway", 8421), lines, arguments.rate)
            print(f"\n{arguments.rate} events/s for {arguments.seconds} s, in pods")
            measure(release, sender, 1, arguments.seconds, browser=False)
            if arguments.browser:
                measure(release, sender, 2, arguments.seconds, browser=True)
        finally:
            session.close()


if __name__ == "__main__":
    main()
