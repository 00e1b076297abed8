"""A real Elasticsearch for tests: one node of its own on loopback, TLS, users and API keys.

It is the server without most of its modules, which `scripts/get-elasticsearch` finds or fetches. Ready after 15 to 30
CPU seconds, so a session shares one: `shared`. Tests that stop or starve the server take their own: `start`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import until
from tests.servers import process
from tests.servers.pki import Authority, Identity
from tests.servers.process import HOST, Kept, free_ports, missing

from vedette_backends.settings import ElasticsearchSettings

_ROOT = Path(__file__).resolve().parents[2]
_JVMS = Path("/usr/lib/jvm")
_OLDEST_JAVA = 21
_READY_SECONDS = 400

_CONFIG = """\
cluster.name: vedette-tests
node.name: only
discovery.type: single-node
http.host: {host}
http.port: {http}
transport.host: 127.0.0.1
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
path.repo: {folder}/snapshots
xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.transport.ssl.enabled: false
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.key: {key}
xpack.security.http.ssl.certificate: {certificate}
xpack.security.http.ssl.certificate_authorities: {ca}
cluster.routing.allocation.disk.threshold_enabled: false
cluster.max_shards_per_node: 5000
"""

_JVM = """\
-XX:+UseSerialGC
-Djava.io.tmpdir=${ES_TMPDIR}
--add-modules=jdk.incubator.vector
-Dorg.apache.lucene.store.defaultReadAdvice=normal
-XX:+ExitOnOutOfMemoryError
"""


@dataclass(frozen=True)
class Elasticsearch(Kept):
    """A running server; any process of the session may hold one of these."""

    folder: Path
    http: int
    transport: int
    user: str
    password: str
    owner: int
    host: str = HOST

    @property
    def ca(self) -> Path:
        return self.folder / "config" / "ca.crt"

    @property
    def identity(self) -> Identity:
        """The server's own: for what stands in front of it."""
        config = self.folder / "config"
        return Identity(config / "elasticsearch.crt", config / "elasticsearch.key", self.ca)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.http}"

    @property
    def settings(self) -> ElasticsearchSettings:
        """The administrator's."""
        return ElasticsearchSettings((self.url,), self.ca, username=self.user, password=self.password)

    def settings_of(self, api_key: str) -> ElasticsearchSettings:
        return ElasticsearchSettings((self.url,), self.ca, api_key=api_key)

    @property
    def pid(self) -> int:
        """Of the server itself, not of its launcher."""
        launcher = int((self.folder / "server.pid").read_text())
        children = [path.read_text().split() for path in Path(f"/proc/{launcher}/task").glob("*/children")]
        return int(next((pids[0] for pids in children if pids), launcher))

    @property
    def snapshots(self) -> Path:
        """Where repositories may lie."""
        return self.folder / "snapshots"

    def start(self) -> None:
        """Start it, with what it held before, and wait until it answers."""
        command = [*_as_nobody(), str(distribution() / "bin" / "elasticsearch")]
        self.keep("server", command, self._environment)
        try:
            until(self._is_ready, seconds=_READY_SECONDS, what="Elasticsearch to start", pause=0.2)
        except AssertionError:
            self.stop(kill=True)
            raise AssertionError("Elasticsearch did not start:\n" + self.log[-4000:]) from None

    def stop(self, *, kill: bool = False) -> None:
        """End it: in good order, or as a power cut would."""
        pid_file = self.folder / "server.pid"
        if not pid_file.exists():
            return
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            launcher = os.pidfd_open(int(pid_file.read_text()))
            try:
                server = os.pidfd_open(self.pid)
                try:
                    signal.pidfd_send_signal(server if kill else launcher, signal.SIGKILL if kill else signal.SIGTERM)
                    for handle in (server, launcher):
                        assert select.select([handle], [], [], _READY_SECONDS)[0], "Elasticsearch does not end"
                finally:
                    os.close(server)
            finally:
                os.close(launcher)
        pid_file.unlink()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask as the administrator, past the code under test; raises urllib's HTTPError."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Basic {token}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=self.ca)) as answer:
            return json.loads(answer.read() or b"null")

    def has_keys(self) -> bool:
        """Whether it makes API keys."""
        try:
            self.ask("POST", "/_security/api_key", {"name": "probe", "expiration": "1m"})
        except OSError:
            return False
        return True

    def _is_ready(self) -> bool:
        if not Path(f"/proc/{(self.folder / 'server.pid').read_text()}").exists():
            raise AssertionError("Elasticsearch ended")
        try:
            return self.ask("GET", "/_cluster/health")["status"] in {"green", "yellow"}
        except (OSError, ValueError, urllib.error.URLError):
            return False

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ES_JAVA_HOME": str(java()),
            "ES_JAVA_OPTS": "-Xms512m -Xmx1g",
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
        }


def start(folder: Path, *, owner: int | None = None, host: str = HOST, quick: bool = False) -> Elasticsearch:
    """A new server in a folder of its own, ready.

    Args:
        folder: is made.
        owner: process with which it ends, this one by default.
        host: where it listens: an address of this machine that a test's pods reach, or loopback.
        quick: starts with half the work, and does what it is asked more slowly: nothing to measure.
    """
    home = distribution()
    java()
    config = folder / "config"
    for path in (config, folder / "tmp", folder / "snapshots"):
        path.mkdir(parents=True)
    http, transport = free_ports(2, host)
    server = Elasticsearch(folder, http, transport, "admin", secrets.token_hex(16), owner or os.getpid(), host)
    identity = Authority(config).server("elasticsearch", host, "localhost")
    for name in ("log4j2.properties", "roles.yml", "role_mapping.yml"):
        shutil.copy(home / "config" / name, config)
    (config / "jvm.options").write_text(_JVM + ("-XX:TieredStopAtLevel=1\n" if quick else ""))
    (config / "users").write_text(f"{server.user}:{_hash(server.password)}\n")
    (config / "users_roles").write_text(f"superuser:{server.user}\n")
    (config / "elasticsearch.yml").write_text(
        _CONFIG.format(
            host=host,
            http=http,
            transport=transport,
            folder=folder,
            key=identity.key,
            certificate=identity.certificate,
            ca=identity.ca,
        )
    )
    server.start()
    # The index of users and keys is made at the first use, and takes a moment.
    until(server.has_keys, seconds=_READY_SECONDS, what="API keys", pause=0.5)
    return server


def shared(root: Path) -> Elasticsearch:
    """The session's server, started by whoever asks first.

    Args:
        root: a folder that all processes of the session see, and no other session.
    """
    return process.shared(
        root, "elasticsearch", Elasticsearch, lambda folder, owner: start(folder, owner=owner, quick=True)
    )


def distribution() -> Path:
    """Where Elasticsearch lies."""
    command = [sys.executable, str(_ROOT / "scripts" / "get-elasticsearch")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        missing(found.stderr.strip().splitlines()[-1])
    return Path(found.stdout.strip())


def java() -> Path:
    """The newest Java that is new enough."""
    homes = [Path(os.environ["ES_JAVA_HOME"])] if "ES_JAVA_HOME" in os.environ else []
    versions = [(_java_version(home), str(home)) for home in (*homes, *_JVMS.glob("*"))]
    fitting = sorted(found for found in versions if found[0] >= _OLDEST_JAVA)
    if not fitting:
        missing(f"Elasticsearch needs Java {_OLDEST_JAVA} or newer (Debian: apt-get install temurin-25-jdk)")
    return Path(fitting[-1][1])


def _java_version(home: Path) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
        if found and (home / "bin" / "java").exists():
            return int(found[1])
    return 0


def _as_nobody() -> list[str]:
    """Elasticsearch refuses to be root: then it is somebody else, whose files are still ours."""
    if os.getuid():
        return []
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "setpriv", "--pdeathsig", "KILL"]


def _hash(password: str) -> str:
    salt = secrets.token_bytes(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 32)
    return f"{{PBKDF2}}1000${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
