"""A real etcd and kube-apiserver on loopback for tests: TLS, RBAC, no node and no controllers.

The processes belong to a keeper (`python -m tests.servers.apiserver …`), which ends them when the test session is over,
however that ended. Binaries lie in `$VEDETTE_CLUSTER_CACHE` or in the user's cache folder.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.servers import process
from tests.servers.pki import Authority
from tests.servers.process import free_ports, missing

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
_PR_SET_PDEATHSIG = 1


def binaries() -> Path:
    """The folder of the cluster's binaries; skips, and fails on CI, where they are not."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("VEDETTE_CLUSTER_CACHE") or Path(cache, "vedette", "cluster", "bin"))
    absent = [name for name in ("etcd", "kube-apiserver") if not os.access(folder / name, os.X_OK)]
    if absent:
        missing(f"{' and '.join(absent)} not found: set VEDETTE_CLUSTER_CACHE or build them with scripts/cluster-tools")
    return folder


class RequestError(Exception):
    """What the API server refused.

    Args:
        code: HTTP status.
        message: the server's.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True)
class ApiServer:
    """One that runs.

    Attributes:
        url: `https://127.0.0.1:PORT`.
        folder: keys, certificates, logs, `kubeconfig` of a member of system:masters.
        pids: etcd's and the API server's processes, for tests that stop one.
    """

    url: str
    folder: Path
    pids: Mapping[str, int]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """A request of the administrator's, past the code under test; raises RequestError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind, "Accept": accept}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        context = ssl.create_default_context(cafile=self.folder / "pki" / "ca.crt")
        context.load_cert_chain(self.folder / "pki" / "admin.crt", self.folder / "pki" / "admin.key")
        try:
            with urllib.request.urlopen(asked, timeout=30, context=context) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            message = json.loads(text)["message"] if text.startswith("{") else text
            raise RequestError(error.code, message) from error

    def apply(self, path: str, manifest: Mapping[str, Any], *, manager: str = "tests") -> Any:
        """Server-side apply of one object, `path` with its name."""
        where = f"{path}?fieldManager={manager}&force=true"
        return self.request("PATCH", where, manifest, kind="application/apply-patch+yaml")

    def table(self, path: str) -> Any:
        """A list as kubectl asks for it: columns and rows."""
        return self.request("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    def namespace(self, name: str) -> None:
        """Make a namespace, if it is not there."""
        self.apply(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def definitions(self, *definitions: Mapping[str, Any]) -> None:
        """Apply CustomResourceDefinitions and wait until objects of them can be written."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
        for one in definitions:
            self.apply(path + one["metadata"]["name"], one)
        for one in definitions:
            spec = one["spec"]
            served = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}?limit=1"
            _until(lambda served=served: self._answers(served), f"the definition {one['metadata']['name']}")

    def _answers(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except RequestError as error:
            if error.code != 404:
                raise
            return False
        return True

    def role(self, namespace: str, account: str, *rules: Mapping[str, Sequence[str]]) -> None:
        """Give a ServiceAccount of the namespace, made when it is missing, these rights there; "" means everywhere."""
        group = "rbac.authorization.k8s.io"
        kind = "Role" if namespace else "ClusterRole"
        home = namespace or "default"
        where = f"/apis/{group}/v1/" + (f"namespaces/{namespace}/" if namespace else "")
        metadata = {"name": account, **({"namespace": namespace} if namespace else {})}
        typed = {"apiVersion": f"{group}/v1", "metadata": metadata}
        self.apply(
            f"/api/v1/namespaces/{home}/serviceaccounts/{account}",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": home}},
        )
        self.apply(f"{where}{kind.lower()}s/{account}", {**typed, "kind": kind, "rules": list(rules)})
        self.apply(
            f"{where}{kind.lower()}bindings/{account}",
            {
                **typed,
                "kind": f"{kind}Binding",
                "roleRef": {"apiGroup": group, "kind": kind, "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
            },
        )

    def token(self, namespace: str, account: str, *audiences: str, seconds: int = 3600) -> str:
        """A token of a ServiceAccount."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"expirationSeconds": seconds, **({"audiences": list(audiences)} if audiences else {})}
        made = self.request(
            "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        )
        return str(made["status"]["token"])

    def kubeconfig_of(self, token: str, path: Path) -> Path:
        """A kubeconfig for a token."""
        path.write_text(_kubeconfig(self.url, self.folder / "pki" / "ca.crt", {"token": token}))
        return path


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[ApiServer]:
    """A server of its own, for tests that stop it; `arguments` go to kube-apiserver."""
    server = start(folder, os.getpid(), *arguments)
    try:
        yield server
    finally:
        stop(server)


def shared(session: Path) -> ApiServer:
    """The server of the whole test session: the first worker that asks starts it.

    Args:
        session: a folder that all workers of one session know, and no other session does.
    """
    folder = session / "apiserver"
    with (session / "apiserver.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "server.json").exists():
            start(folder, process.session())
    return load(folder)


def load(folder: Path) -> ApiServer:
    """The server that was started in a folder."""
    known = json.loads((folder / "server.json").read_text())
    return ApiServer(known["url"], folder, known["pids"])


def start(folder: Path, parent: int, *arguments: str) -> ApiServer:
    """Start a keeper with a server, which live no longer than the process `parent`."""
    bin_folder = binaries()
    folder.mkdir(parents=True)
    log = str(folder / "keeper.log")
    keeper = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.servers.apiserver", str(folder), str(parent), str(bin_folder), *arguments],
        {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )

    def started() -> bool:
        if os.waitpid(keeper, os.WNOHANG)[0]:
            pytest.fail(f"the API server did not start:\n{_tail(folder)}")
        return (folder / "server.json").exists()

    _until(started, "the API server")
    return load(folder)


def stop(server: ApiServer) -> None:
    """End a server that this process started, and wait for it."""
    keeper = server.pids["keeper"]
    os.kill(keeper, signal.SIGTERM)
    os.waitpid(keeper, 0)


def _tail(folder: Path) -> str:
    logs = [path for path in (folder / name for name in ("keeper.log", "etcd.log", "apiserver.log")) if path.exists()]
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}" for path in logs)


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {READY_SECONDS:.0f} s in vain for {what}")
        time.sleep(0.03)


# the keeper ----------------------------------------------------------------------------------------------------------
def keep(folder: Path, parent: int, bin_folder: Path, arguments: Sequence[str]) -> None:
    """Run etcd and the API server until the parent is gone, one of them ends, or SIGTERM comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    watched = os.pidfd_open(parent)
    children: list[subprocess.Popen[bytes]] = []
    data = Path(tempfile.mkdtemp(prefix="vedette-etcd-"))
    try:
        pki = _keys(folder / "pki")
        etcd_ports = free_ports(2)
        etcd = f"http://127.0.0.1:{etcd_ports[0]}"
        peer = f"http://127.0.0.1:{etcd_ports[1]}"
        children.append(
            _child(
                folder / "etcd.log",
                bin_folder / "etcd",
                f"--data-dir={data}",
                "--unsafe-no-fsync",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            )
        )
        (port,) = free_ports(1)
        url = f"https://127.0.0.1:{port}"
        children.append(_child(folder / "apiserver.log", *_apiserver(bin_folder, pki, etcd, port), *arguments))
        admin = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
        (folder / "kubeconfig").write_text(_kubeconfig(url, pki / "ca.crt", admin))
        pids = {"keeper": os.getpid(), "etcd": children[0].pid, "apiserver": children[1].pid}
        server = ApiServer(url, folder, pids)
        _wait_ready(server, children)
        written = folder / "server.json.new"
        written.write_text(json.dumps({"url": url, "pids": pids}))
        written.rename(folder / "server.json")
        select.select([watched, *(os.pidfd_open(child.pid) for child in children)], [], [])
    finally:
        for child in children:
            child.kill()  # a graceful end would wait for watches
        for child in children:
            child.wait()
        shutil.rmtree(data, ignore_errors=True)


def _apiserver(bin_folder: Path, pki: Path, etcd: str, port: int) -> list[str | Path]:
    return [
        bin_folder / "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/24",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-key-file={pki / 'accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=RBAC",
        # Nothing makes ServiceAccounts here, and no pod will run.
        "--disable-admission-plugins=ServiceAccount",
        "--profiling=false",
    ]


def _wait_ready(server: ApiServer, children: Sequence[subprocess.Popen[bytes]]) -> None:
    def ready() -> bool:
        if any(child.poll() is not None for child in children):
            raise SystemExit("a process ended")
        context = ssl.create_default_context(cafile=server.folder / "pki" / "ca.crt")
        context.load_cert_chain(server.folder / "pki" / "admin.crt", server.folder / "pki" / "admin.key")
        try:
            with urllib.request.urlopen(server.url + "/readyz", timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    _until(ready, "the API server")


def _child(log: Path, *command: str | Path) -> subprocess.Popen[bytes]:
    library = ctypes.CDLL(None)  # before the fork: loading a library in the child is not safe

    def die_with_parent() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("w") as out:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,  # noqa: PLW1509 # the keeper has one thread
        )


def _keys(folder: Path) -> Path:
    """The cluster's keys: a server's, an administrator's, and those that sign ServiceAccounts' tokens."""
    authority = Authority(folder)
    authority.server("apiserver", "127.0.0.1", "localhost", "kubernetes.default.svc")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
        x509.NameAttribute(NameOID.COMMON_NAME, "admin"),
    ]
    builder = authority._builder(x509.Name(names), key)  # the authority makes servers' certificates only
    authority._write(folder / "admin.crt", builder.sign(authority._key, hashes.SHA256()))
    _write_key(folder / "admin.key", key)
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "accounts.key", accounts)
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "accounts.pub").write_bytes(public)
    return folder


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _kubeconfig(url: str, authority: Path, user: Mapping[str, str]) -> str:
    data = base64.b64encode(authority.read_bytes()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority-data": data}}],
            "users": [{"name": "tests", "user": dict(user)}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        }
    )


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
