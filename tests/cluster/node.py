"""A Kubernetes cluster of one node for tests: the real programs, in namespaces of their own on this machine.

    with Node(tmp_path) as node:
        node.load_image(Path("vedette.tar"))
        node.kubectl("apply", "-f", "chart.yaml")

The machine reaches pods and Services at their addresses; pods reach servers on the machine at `node.machine`. Pods have
no way to anywhere else. Images come from tar files only: use `imagePullPolicy: Never`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.components import (
    CONTAINERD,
    CONTROL_PLANE,
    NODE,
    PAUSE_IMAGE,
    Layout,
    cluster_commands,
    dns_objects,
    import_command,
    spare_command,
    storage_commands,
    write_configs,
    write_keys,
)
from tests.cluster.image.oci import Config, write_image, write_layer
from tests.cluster.init import HOSTNAME
from tests.cluster.machine import NodeError, missing, which
from tests.cluster.remote import Remote
from tests.cluster.slot import take_slot
from tests.cluster.tools.build import tools_folder

START_SECONDS = 120.0


class CommandError(NodeError):
    """kubectl or helm ended with an error: `output` is what it wrote to standard error."""

    def __init__(self, command: Sequence[str], output: str) -> None:
        self.output = output
        super().__init__(f"{' '.join(command)}: {output}")


class Node:
    """One node. Everything it is lies below `folder`; of that, keys, configuration and logs stay when it has ended.

    Args:
        folder: empty or new.
        images: tar files that are loaded while the node starts.
    """

    def __init__(self, folder: Path, images: Sequence[Path] = ()) -> None:
        self.folder = folder.resolve()
        self.images = list(images)
        self.figures: dict[str, float] = {}
        """Seconds from the start to `api` answers, `ready` for pods, `images` loaded."""
        self._layout: Layout | None = None
        self._remote: Remote | None = None
        self._numbers = count(1)
        self._began = 0.0

    # what it is ------------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Paths and addresses."""
        if self._layout is None:
            raise NodeError("the node has not been started")
        return self._layout

    @property
    def machine(self) -> str:
        """The address at which pods reach servers on this machine; it exists as soon as `start` has returned."""
        return str(self.layout.addresses.machine)

    @property
    def address(self) -> str:
        """The node's own address, where NodePorts are."""
        return str(self.layout.addresses.node)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.layout.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """For programs that are to work with this cluster: kubectl and helm on the PATH, their caches in `folder`."""
        home = self.folder / "home"
        return os.environ | {
            "PATH": f"{self.layout.tools}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(home / "kube"),
            "HELM_CACHE_HOME": str(home / "helm-cache"),
            "HELM_CONFIG_HOME": str(home / "helm-config"),
            "HELM_DATA_HOME": str(home / "helm-data"),
        }

    def log(self, name: str) -> str:
        """What a program has written so far."""
        path = self.layout.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def audit(self) -> list[dict[str, Any]]:
        """Every write of a ServiceAccount outside kube-system so far (audit.k8s.io/v1 Events at level Metadata)."""
        path = self.layout.audit
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    # life ------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, and wait until pods can run."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.close()

    def start(self) -> None:
        """Take addresses and start the first programs; returns in a fraction of a second.

        Raises:
            NodeError: the machine lacks something, or the node could not be set up.
        """
        if lacking := missing():
            raise NodeError("; ".join(lacking))
        self._began = time.monotonic()
        with take_slot() as slot:
            self._layout = layout = Layout(self.folder, tools_folder(), which("runc") or "runc", slot.addresses)
            for folder in (self.folder, layout.data, layout.logs):
                folder.mkdir(parents=True, exist_ok=True)
            write_keys(layout)
            write_configs(layout)
            self._remote = remote = Remote(self.folder, slot, layout.tools)
        try:
            for name, command in storage_commands(layout):
                remote.run(name, command)
        except BaseException:
            self.close()
            raise

    def wait_ready(self) -> None:
        """Start the other programs as soon as they can; return when pods can run and all images are loaded."""
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self._load_first_images)
            self._until(self._api_answers, "the API server")
            self.figures["api"] = time.monotonic() - self._began
            for name, command in cluster_commands(self.layout):
                self._running.run(name, command)
            self.apply(*dns_objects(self.layout))
            self._until(self._ready, "the node to be Ready")
            self.figures["ready"] = time.monotonic() - self._began
            loading.result()
        self.figures["images"] = time.monotonic() - self._began

    def close(self) -> None:
        """End every process of the node and remove what it left on the machine."""
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.close()

    @property
    def _running(self) -> Remote:
        if self._remote is None:
            raise NodeError("the node does not run")
        return self._remote

    def _api_answers(self) -> bool:
        self._check("etcd", "apiserver")
        try:
            return bool(self.get("/readyz", raw=True) == "ok")
        except (OSError, NodeError):
            return False

    def _ready(self) -> bool:
        self._check(*CONTROL_PLANE, *NODE)
        try:
            node = self.get(f"/api/v1/nodes/{HOSTNAME}")
            # Before it is there, no pod is accepted.
            self.get("/api/v1/namespaces/default/serviceaccounts/default")
        except NodeError:
            return False
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        return conditions.get("Ready") == "True"

    def _check(self, *names: str) -> None:
        for name in names:
            end = self._running.end(name)
            if end is not None:
                raise NodeError(f"{name} ended with {end}:\n{self.log(name)[-2000:]}")

    # using it --------------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl as administrator; its standard output.

        Raises:
            CommandError: it ended with an error.
        """
        return self._command("kubectl", arguments, stdin, timeout)

    def helm(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run helm as administrator; its standard output.

        Raises:
            CommandError: it ended with an error.
        """
        return self._command("helm", arguments, stdin, timeout)

    def apply(self, *objects: Mapping[str, Any]) -> str:
        """Server-side apply of objects."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "--server-side", "-f", "-", stdin=manifest)

    def get(self, path: str, *, raw: bool = False, timeout: float = 10) -> Any:
        """GET a path of the API server as administrator, decoded unless `raw`.

        Raises:
            NodeError: it answered with an error.
            OSError: it did not answer.
        """
        keys = self.layout.keys
        context = ssl.create_default_context(cafile=keys / "ca.crt")
        context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        # A proxy that the environment names knows nothing of our addresses.
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with direct.open(self.layout.server + path, timeout=timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise NodeError(f"{path}: {error.code} {error.read().decode(errors='replace')[:500]}") from None
        return content.decode() if raw else json.loads(content)

    def load_image(self, tar: Path, *, timeout: float = 120) -> None:
        """Load an image's tar file; layers that the node has already are not written again."""
        name = f"import-{next(self._numbers)}"
        if self._once(name, import_command(self.layout, tar.resolve()), timeout) != 0:
            raise NodeError(f"{tar} cannot be loaded:\n{self.log(name)[-2000:]}")

    def _load_first_images(self) -> None:
        question = [str(self.layout.tools / "ctr"), "-a", CONTAINERD, "version"]
        self._until(lambda: self._once("version", question) == 0, "containerd")
        for image in (self._pause_image(), *self.images):
            self.load_image(image)

    def _pause_image(self) -> Path:
        root = self.layout.data / "pause"
        root.mkdir()
        shutil.copy(self.layout.tools / "pause", root / "pause")
        layer = write_layer(root, self.layout.data / "pause.layer")
        return write_image(self.layout.data / "pause.tar", PAUSE_IMAGE, [layer], Config(["/pause"]))

    def _once(self, name: str, command: Sequence[str], timeout: float = START_SECONDS) -> int | None:
        """Run a command on the node to its end."""
        self._running.run(name, command)
        self._until(lambda: self._running.end(name) is not None, f"the end of `{' '.join(command)}`", timeout)
        return self._running.end(name)

    def _command(self, name: str, arguments: Sequence[str], stdin: str | None, timeout: float) -> str:
        try:
            done = subprocess.run(
                [str(self.layout.tools / name), *arguments],
                input=stdin,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandError([name, *arguments], f"no end after {timeout:.0f} s") from None
        if done.returncode:
            raise CommandError([name, *arguments], done.stderr.strip())
        return done.stdout

    def _until(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NodeError(f"waited {seconds:.0f} s in vain for {what}; see {self.layout.logs}")
            time.sleep(0.05)

    # faults ----------------------------------------------------------------------------------------------------------

    def stop(self, name: str, *, kill: bool = False, timeout: float = 30) -> None:
        """End one program (`CONTROL_PLANE`, `NODE` in components.py), by SIGKILL with `kill` or when it does not obey.

        Pods go on when containerd or the kubelet end.
        """
        self._running.ask("signal", name=name, number=signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._until(lambda: self._running.end(name) is not None, f"the end of {name}", timeout)
        except NodeError:
            if kill:
                raise
            self.stop(name, kill=True)

    def start_again(self, name: str) -> None:
        """Start a program that was stopped, as it was; wait for the API server if it is that."""
        self._running.ask("start", name=name)
        if name in {"etcd", "apiserver"}:
            self._until(self._api_answers, "the API server")

    def restart(self, name: str, *, kill: bool = False) -> None:
        """Stop and start one program."""
        self.stop(name, kill=kill)
        self.start_again(name)

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A program has been killed meanwhile, and is back when this returns."""
        self.stop(name, kill=True)
        try:
            yield
        finally:
            self.start_again(name)

    @contextlib.contextmanager
    def spare_api(self) -> Iterator[Callable[..., str]]:
        """A second API server beside the first, on the same etcd; yields `kubectl` by way of it.

        What is written by it while the first one is down appears in no watch: each asks from a version on that the
        first one, when it is back, does not go back to.
        """
        name = f"spare-{next(self._numbers)}"

        def kubectl(*arguments: str, stdin: str | None = None) -> str:
            return self.kubectl(f"--server={self.layout.spare}", *arguments, stdin=stdin)

        def answers() -> bool:
            self._check(name)
            try:
                return kubectl("get", "--raw", "/readyz") == "ok"
            except NodeError:
                return False

        self._running.run(name, spare_command(self.layout))
        try:
            self._until(answers, "the second API server")
            yield kubectl
        finally:
            self.stop(name, kill=True)

    def pause(self, *, everything: bool = False) -> None:
        """Stop all processes of the node where they are: pods, kubelet, containerd; with `everything` all others, too.

        Without it the control plane goes on, as it does when a node of a larger cluster hangs.
        """
        self._running.ask("freeze", spared=[] if everything else list(CONTROL_PLANE))

    def resume(self) -> None:
        """Let them go on."""
        self._running.ask("thaw")
