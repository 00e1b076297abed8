"""`vedette up` as users run it: a process of its own on a folder of manifests."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.helpers import until

from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Alert, AlertFilter, DeadLetter, TimeRange
from vedette_engine.query.tree import MatchAll

START = 90.0
STOP = 60.0
COMMAND = [sys.executable, "-m", "vedette_cli"]


class Answer:
    """Status, headers and body of an HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One HTTP request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Vedette:
    """One folder, one data folder, and `vedette up` on it as often as it is started."""

    def __init__(self, folder: Path, namespace: str, port: int) -> None:
        self.folder = folder
        self.namespace = namespace
        self.port = port
        self.log = folder.parent / "up.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._session = ""
        self._store: EmbeddedStore | None = None

    @property
    def data(self) -> Path:
        return self.folder / ".vedette"

    # the process ----------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", str(self.folder), "--port", str(self.port)], stdout=log, stderr=log
            )
        until(self._ready_or_over, seconds=START, what="vedette to be ready", pause=0.1)
        assert self.process.poll() is None, self.log.read_text()
        self._sign_in()

    def _ready_or_over(self) -> bool:
        assert self.process is not None
        return "ready after" in self.log.read_text() or self.process.poll() is not None

    def pids(self) -> dict[str, int]:
        """Workers by name."""
        return {file.stem: int(file.read_text()) for file in (self.data / "run").glob("*.pid")}

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=STOP)

    def kill(self) -> None:
        """End it in any case; its workers follow by themselves."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._store is not None:
            self._store.close()

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Another `vedette …` beside it."""
        return subprocess.run(
            [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )

    # events and pages -----------------------------------------------------------------------------------------------
    def send(self, token: str, body: bytes, path: str = "/events", **headers: str) -> Answer:
        """Events to the gateway."""
        return request(self.port + 1, "POST", path, body, {"Authorization": f"Bearer {token}", **headers})

    def page(self, path: str) -> Answer:
        """A page, as the user who signed in with the printed address."""
        return request(self.port, "GET", path, headers={"Cookie": self._session})

    def _sign_in(self) -> None:
        found = re.search(r"open +http://[^/]+(/\?token=\S+)", self.log.read_text())
        assert found is not None, self.log.read_text()
        answer = request(self.port, "GET", found.group(1))
        assert answer.status == 303, answer.text
        self._session = "; ".join(line.split(";")[0] for line in answer.headers.get_all("Set-Cookie", []))

    # what was stored ------------------------------------------------------------------------------------------------
    @property
    def store(self) -> EmbeddedStore:
        if self._store is None:
            self._store = open_store(self.data / "ns" / self.namespace, writer=False)
        return self._store

    def count(self) -> int:
        return self.store.count_events(MatchAll(), TimeRange())

    def alerts(self, rule: str | None = None) -> list[Alert]:
        return list(self.store.search_alerts(AlertFilter(rules=(rule,) if rule else ()), size=1000).alerts)

    def letters(self) -> list[DeadLetter]:
        return self.store.search_dead_letters(size=500)[0]

    def get(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`vedette get`."""
        return self.command("get", *arguments, "--dir", self.folder)

    def condition(self, kind: str, name: str, about: str) -> tuple[str, str]:
        """(status, reason) of a condition, ("", "") where there is none."""
        found = self.get(kind, name, "-o", "json")
        conditions = json.loads(found.stdout)["status"].get("conditions", []) if found.returncode < 2 else []
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == about), ("", ""))
