"""Builds the programs of a Kubernetes node from pinned Go modules: no binary is downloaded, no image registry asked.

Each folder beside this file is one Go module whose go.mod and go.sum pin the versions; one module for all would force
the projects' own dependencies upon each other. A module is built again when its files or the flags change.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST_GO = (1, 21)
"""From here on the go command reads our go.mod, and fetches the toolchain that it asks for unless told not to."""

USUAL_PLACES = "/usr/local/go/bin:/usr/lib/go/bin"

KUBERNETES = "1.36.3"
_VERSION = "k8s.io/component-base/version"
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_CNI = "github.com/containernetworking/plugins/plugins"


class ToolsError(Exception):
    """A program could not be built; the message says what to do."""


class NoToolchainError(ToolsError):
    """There is no Go here that could build anything."""


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with a go.mod and what is built in it: `programs` maps the name of the file to the Go package."""

    name: str
    programs: Mapping[str, str]
    ldflags: str = "-s -w"
    folder: Path = field(default=HERE)

    def pin(self) -> str:
        """What the programs depend on, as one hash."""
        digest = hashlib.sha256(self.ldflags.encode())
        source = self.folder / self.name
        for path in sorted(source.iterdir()):
            if path.suffix in {".mod", ".sum", ".go"}:
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()

    def built(self, target: Path) -> bool:
        """Whether all its programs lie in `target`, made from these very files."""
        stamp = target / f".{self.name}"
        fresh = stamp.is_file() and stamp.read_text() == self.pin()
        return fresh and all((target / program).is_file() for program in self.programs)


MODULES = (
    Module(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        },
        f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
    ),
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "containerd",
        {name: f"{_CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    ),
    Module(
        "cni",
        {
            "bridge": f"{_CNI}/main/bridge",
            "loopback": f"{_CNI}/main/loopback",
            "host-local": f"{_CNI}/ipam/host-local",
            "portmap": f"{_CNI}/meta/portmap",
        },
    ),
    Module("coredns", {"coredns": "."}),
    Module("pause", {"pause": "."}),
    Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
    Module("kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}),
)


def tools_folder() -> Path:
    """Where the programs lie: `$VEDETTE_CLUSTER_CACHE`, else below the user's cache folder."""
    if given := os.environ.get("VEDETTE_CLUSTER_CACHE"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vedette" / "cluster" / "bin"


def missing_tools(target: Path) -> list[str]:
    """Names of the programs that are not there in the pinned version."""
    return [program for module in MODULES if not module.built(target) for program in module.programs]


def build_tools(target: Path, say: Callable[[str], None]) -> None:
    """Build what is missing in `target`; one process at a time, others wait.

    Raises:
        NoToolchainError: there is no usable Go.
        ToolsError: a build failed; the message holds what the compiler said.
    """
    if not missing_tools(target):
        return
    go = _go()
    target.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        for module in MODULES:
            if not module.built(target):
                began = time.monotonic()
                say(f"building {module.name}: {', '.join(module.programs)} …")
                _build(go, module, target)
                say(f"built {module.name} in {time.monotonic() - began:.0f} s")


def _build(go: str, module: Module, target: Path) -> None:
    source = module.folder / module.name
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOOS", "GOARCH"))}
    environment |= {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly", "GOWORK": "off"}
    for program, package in module.programs.items():
        # Somebody may be running the old one: a rename leaves it alone.
        fresh = target / f".new-{program}"
        command = [go, "build", "-ldflags", module.ldflags, "-o", str(fresh), package]
        made = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        if made.returncode:
            said = "\n".join(made.stderr.splitlines()[-20:])
            raise ToolsError(f"{program} does not build: `{' '.join(command)}` in {source} said\n{said}")
        fresh.rename(target / program)
    (target / f".{module.name}").write_text(module.pin())


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path=USUAL_PLACES)
    if found is None:
        raise NoToolchainError(
            "the programs of the test cluster are built with Go: install Go 1.26 (go.dev/doc/install)"
        )
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_GO:
        raise NoToolchainError(f"{found} is too old ({said.strip()}): install Go 1.26 (go.dev/doc/install)")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
