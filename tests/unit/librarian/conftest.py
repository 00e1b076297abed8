"""Namespaces with real stores and brokers, and a librarian on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Store
from vedette_engine.alerting.bundle import HEAD, Bundle, encode
from vedette_workers.librarian import fleet
from vedette_workers.librarian.worker import Librarian, Settings

NOW = 1_795_305_600_000


class Borrowed:
    """A store that its owner closes. Only one may write an embedded store's events, so this one is lent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def close(self) -> None:
        """Leave it open."""


class Release:
    """Namespaces of one release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = open_store(folder / "system", writer=True)
        self.stores: dict[str, EmbeddedStore] = {}
        self.brokers: dict[str, EmbeddedBroker] = {}
        self._running: list[tuple[Librarian, threading.Thread]] = []

    def namespace(self, name: str, *sources: str) -> tuple[EmbeddedStore, EmbeddedBroker]:
        """A namespace with queues and a bundle."""
        store = self.stores[name] = open_store(self.folder / name, writer=True, clock=lambda: NOW)
        broker = self.brokers[name] = open_broker(self.folder / name)
        for source in sources:
            broker.declare(f"events.{source}")
        bundle = Bundle(name, {source: {"namespace": name, "name": source, "format": "json"} for source in sources})
        store.set_head(HEAD, store.put_blob(encode(bundle)))
        return store, broker

    def tell(self, *names: str) -> None:
        """Put the list of namespaces into force."""
        self.system.set_head(fleet.FLEET, self.system.put_blob(fleet.encode(names)))

    def librarian(self) -> Librarian:
        """One that runs in a thread until the test ends."""
        settings = Settings(fleet_interval=0.02, drain_interval=0.02, expire_interval=0.1, beat_interval=0.05)
        made = Librarian(
            settings,
            self.system,
            self._borrow,
            lambda name: open_broker(self.folder / name),
            clock=lambda: NOW,
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        self._running.append((made, thread))
        return made

    def _borrow(self, name: str) -> Any:
        return Borrowed(self.stores[name])

    def stop(self) -> None:
        for librarian, thread in self._running:
            librarian.stop()
            thread.join(20)
            assert not thread.is_alive(), "the librarian does not end"
        self._running.clear()

    def close(self) -> None:
        self.stop()
        for broker in self.brokers.values():
            broker.close()
        for store in (*self.stores.values(), self.system):
            store.close()


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    made = Release(tmp_path)
    yield made
    made.close()
