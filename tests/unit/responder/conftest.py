"""One namespace with its real store, broker and cluster, and responders on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.broker.embedded import open_broker
from vedette_backends.broker.protocol import Message
from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Cluster, Key, Object
from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import Alert, Store
from vedette_engine.alerting import notices
from vedette_engine.alerting.notices import Notice, group_of
from vedette_engine.wire import ALERT_QUEUE
from vedette_workers.responder.rate import Limit
from vedette_workers.responder.responder import Responder
from vedette_workers.responder.worker import ResponderWorker, Settings
from vedette_workers.status import Vitals

NAMESPACE = "shop"
NOW = 1_795_000_000_000
HOUR = 3_600_000


class Broken:
    """A backend that is the real one, except that named methods raise the given errors, before or after they work."""

    def __init__(self, real: Any, failures: dict[str, list[Exception]], *, late: bool = False) -> None:
        self._real = real
        self.failures = failures
        self._late = late

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def call(*arguments: Any, **options: Any) -> Any:
            errors = self.failures.get(name)
            if errors:
                if self._late:
                    method(*arguments, **options)
                raise errors.pop(0)
            return method(*arguments, **options)

        return call


class Desk:
    """What a responder works with."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(folder / "ns", writer=True)
        self.broker = open_broker(folder / "ns")
        self.cluster = LocalCluster(folder / "cluster.db")
        self.now = NOW
        self._workers: list[tuple[ResponderWorker, threading.Thread]] = []

    def alert(
        self,
        number: int,
        *,
        rule: str = "ssh",
        time: int = NOW,
        ip: str = "192.0.2.7",
        within: int = 24 * HOUR,
        **changes: Any,
    ) -> Notice:
        """Store an alert; its notice."""
        document = {"source.ip": ip, "user.name": "root", "message": "x"}
        alert_id = f"{number:032x}"
        made = Alert(
            id=alert_id,
            time=time,
            raised=NOW,
            rule=rule,
            severity="high",
            title="Guessed password",
            summary=f"{ip} guessed a password",
            body={"detection": {"runbook": "https://run.example/ssh"}, "events": [{"id": "e", "document": document}]},
        )
        self.store.create_alerts([Alert(**{**_fields(made), **changes})])
        return Notice(alert_id, rule, time, group_of([ip]), within)

    def responder(self, *, store: Any = None, cluster: Any = None, limit: Limit | None = None) -> Responder:
        """A responder by itself."""
        used: tuple[Store, Cluster] = (store or self.store, cluster or self.cluster)
        return Responder(NAMESPACE, *used, lambda: self.now, limit)

    def worker(
        self, *, store: Any = None, cluster: Any = None, broker: Any = None, vitals: Vitals | None = None
    ) -> ResponderWorker:
        """A worker that runs in a thread until the test ends."""
        made = ResponderWorker(
            Settings(NAMESPACE, beat_interval=0.05),
            store or self.store,
            broker or self.broker,
            cluster or self.cluster,
            clock=lambda: self.now,
            vitals=vitals,
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        self._workers.append((made, thread))
        return made

    def tell(self, *told: Notice) -> None:
        """Publish notices as a pipeline does."""
        self.broker.declare(ALERT_QUEUE, single_active_consumer=True)
        self.broker.publish([Message(ALERT_QUEUE, body, headers) for body, headers in notices.encode(told)])

    def wait(self) -> None:
        """Wait until all notices are dealt with."""

        def done() -> bool:
            stats = self.broker.stats(ALERT_QUEUE)
            return not stats.ready and not stats.unacked

        until(done, seconds=20, what="an empty queue of notices")

    def incident_of(self, notice: Notice) -> str:
        """Name of the alert's incident."""
        alert = self.store.get_alert(notice.alert)
        assert alert is not None
        return str(alert.workflow.get("incident", ""))

    def incidents(self) -> list[Object]:
        """All there are."""
        return self.cluster.list("Incident", NAMESPACE)

    def set_phase(self, name: str, phase: str) -> None:
        """As a person would."""
        found = self.cluster.get(Key("Incident", NAMESPACE, name))
        assert found is not None
        spec = {**found.manifest["spec"], "phase": phase, "disposition": "benign"}
        self.cluster.apply({**found.manifest, "spec": spec}, manager="test")

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What is written in the incident's journal."""
        return [dict(record.body) for record in self.store.list_records("notes", name)]

    def stop(self) -> None:
        """Stop the workers; they must end by themselves."""
        for worker, thread in self._workers:
            worker.stop()
            thread.join(20)
            assert not thread.is_alive(), "the responder does not end"
        self._workers.clear()

    def close(self) -> None:
        self.stop()
        self.broker.close()
        self.store.close()
        self.cluster.close()


def _fields(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in Alert.__dataclass_fields__}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def broken() -> type[Broken]:
    return Broken
