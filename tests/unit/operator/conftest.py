"""A folder of manifests, the embedded cluster, and the control loop on real stores and brokers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.broker.embedded import open_broker
from vedette_backends.cluster.folder import FolderSync
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Key
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Heartbeat
from vedette_engine.alerting.bundle import Bundle, decode
from vedette_operator.cache import ContentCache
from vedette_operator.controller import Controller, Pace
from vedette_operator.gateway_table import file_sink
from vedette_operator.publishing import Backends
from vedette_operator.tables import Tables

SOURCE = """
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {{name: {name}, namespace: shop}}
spec:
  input: {{http: {{tokenSecretRef: {{name: {secret}, key: token}}}}}}
  format: json
  dataset: test.{name}
  logsource: {{category: test}}
  {extra}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: shop}}
stringData: {{token: {token}}}
"""
RULE = """
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {{name: {name}, namespace: shop}}
spec:
  severity: high
  sigma: |
    title: {title}
    logsource: {{category: test}}
    detection: {{sel: {{event.action: {value}}}, condition: sel}}
  tests:
  - name: it fires
    timeline: [{{event: {{event.action: {event}}}}}]
    expect: {{alerts: 1}}
"""
LOOKUP = """
apiVersion: vedette.dev/v1alpha1
kind: Enrichment
metadata: {{name: {name}, namespace: shop}}
spec:
  lookup:
    keyField: host.name
    table: {table}
    set: {{labels.owner: owner}}
  {extra}
"""


def source(name: str = "app", secret: str = "app", extra: str = "") -> str:
    return SOURCE.format(name=name, secret=secret, extra=extra)


def secret(name: str = "app", token: str = "token-of-app") -> str:
    return SECRET.format(name=name, token=token)


def rule(name: str = "marked", value: str = "marked", event: str | None = None, title: str = "Marked") -> str:
    return RULE.format(name=name, value=value, event=event or value, title=title)


def lookup(table: str, name: str = "owners", extra: str = "") -> str:
    return LOOKUP.format(name=name, table=table, extra=extra)


class World:
    """What `vedette up` holds, without its workers: tests say what these report."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "manifests"
        self.folder.mkdir(exist_ok=True)
        self.data = root / "data"
        self.stores: dict[str, EmbeddedStore] = {}
        self.written: list[Key] = []
        self._open()

    def _open(self) -> None:
        self.cluster = LocalCluster(self.data / "cluster.db")
        self._sync = FolderSync(self.folder, self.cluster)
        self._cache = ContentCache(self.data / "cache.db", "stamp")
        self.controller = Controller(
            self.cluster,
            Backends(self.store, lambda namespace: open_broker(self.data / "ns" / namespace)),
            Tables(self.cluster, self.data / "pvc", self.folder),
            self._cache,
            file_sink(self.gateway_file),
            pace=Pace(tables=0.0),
        )
        patch = self.cluster.patch_statuses

        def patch_and_note(statuses: Any) -> None:
            statuses = list(statuses)
            self.written += [key for key, _ in statuses]
            patch(statuses)

        self.cluster.patch_statuses = patch_and_note  # type: ignore[method-assign] # counts the writes

    @property
    def gateway_file(self) -> Path:
        return self.data / "run" / "gateway.json"

    def store(self, namespace: str = "shop") -> EmbeddedStore:
        if namespace not in self.stores:
            self.stores[namespace] = open_store(self.data / "ns" / namespace, writer=False)
        return self.stores[namespace]

    # what people do -------------------------------------------------------------------------------------------------
    def put(self, **files: str) -> None:
        """Write files, named by their keyword, and let the control loop see them. An empty text removes the file."""
        for name, text in files.items():
            file = self.folder / f"{name}.yaml"
            if text:
                file.write_text(text)
            else:
                file.unlink()
        self.settle()

    def settle(self) -> None:
        """The loop acts, workers load what it published, the loop sees that."""
        self._sync.sync()
        if not self.controller.spaces:
            self.beat()
            self.controller.start()
        self.controller.step(0.05)
        self.beat()
        self.controller.step(0)

    def start(self) -> None:
        """The first round of an operator that begins."""
        self._sync.sync()
        self.controller.start()
        self.beat()
        self.controller.step(0)

    def restart(self) -> None:
        """End the operator and begin a new one on the same data."""
        self.close()
        self.written.clear()
        self._open()

    def beat(self, worker: str = "pipeline", **body: Any) -> None:
        """Heartbeats of the pipelines, each with the bundle in force unless told otherwise."""
        for namespace in list(self.controller.spaces) or ["shop"]:
            store = self.store(namespace)
            full = {"role": "pipeline", "bundle": store.head("bundle") or "", "errors": [], "sources": {}, **body}
            store.put_heartbeat(Heartbeat(worker, "1", time.time_ns() // 1_000_000, full))

    # what is seen ---------------------------------------------------------------------------------------------------
    def status(self, kind: str, name: str) -> Mapping[str, Any]:
        found = self.cluster.get(Key(kind, "shop", name))
        assert found is not None
        return found.status

    def conditions(self, kind: str, name: str) -> dict[str, tuple[str, str]]:
        """Type → (status, reason)."""
        return {one["type"]: (one["status"], one["reason"]) for one in self.status(kind, name).get("conditions", ())}

    def condition(self, kind: str, name: str, about: str) -> dict[str, Any]:
        (found,) = [one for one in self.status(kind, name)["conditions"] if one["type"] == about]
        assert isinstance(found, dict)
        return found

    def bundle(self) -> Bundle:
        head = self.store().head("bundle")
        assert head is not None
        return decode(self.store().get_blob(head))

    def rules(self) -> dict[str, str]:
        """Rules in the bundle → their titles."""
        return {one.name: one.sigma[0]["title"] for one in self.bundle().rules}

    def gateway(self) -> list[str]:
        """Sources that the gateway knows."""
        return [entry["name"] for entry in json.loads(self.gateway_file.read_text())["sources"]]

    def close(self) -> None:
        self.controller.close()
        self.stores.clear()
        self._cache.close()
        self.cluster.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
    assert threading.active_count() < 20


@pytest.fixture
def make_source() -> Callable[..., str]:
    return source


@pytest.fixture
def make_secret() -> Callable[..., str]:
    return secret


@pytest.fixture
def make_rule() -> Callable[..., str]:
    return rule


@pytest.fixture
def make_lookup() -> Callable[..., str]:
    return lookup
