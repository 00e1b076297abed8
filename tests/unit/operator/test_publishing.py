"""Bundles come into force behind their queues, or wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vedette_backends.broker.embedded import EmbeddedBroker, open_broker
from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import UnavailableError
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_operator import publishing as module
from vedette_operator.publishing import REST, Backends, Publisher
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Verdict


class Place:
    """One namespace's store and broker, opened as the operator does it; `opened` counts how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened = 0
        self.down = False
        self.backends = Backends(self._store, self._broker)
        self.publisher = Publisher(self.backends)
        self.space = Space("shop", None)

    def _store(self, namespace: str) -> EmbeddedStore:
        self.opened += 1
        return open_store(self.folder / namespace, writer=True)

    def _broker(self, namespace: str) -> EmbeddedBroker:
        if self.down:
            raise UnavailableError("no broker")
        self.opened += 1
        return open_broker(self.folder / namespace)

    def add(self, name: str, **part: Any) -> None:
        """A good source."""
        item = Object(Key("LogSource", "shop", name), {"metadata": {"name": name}, "spec": {}}, {}, 1, 1)
        full = {"product": "linux", "service": "", "category": "", "definition": "", **part}
        self.space.objects["LogSource"][name] = Known(item, Verdict((), full))

    def head(self) -> str | None:
        return self.backends.store("shop").head("bundle")

    def in_force(self) -> list[str]:
        """Sources of the bundle in force."""
        bundle, head = self.publisher.in_force("shop")
        assert (bundle is None) == (head == "")
        return sorted(bundle.sources) if bundle is not None else []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    (tmp_path / "shop").mkdir()
    yield made
    made.backends.close()


def test_queues_are_there_as_soon_as_a_bundle_that_names_them_is(place: Place) -> None:
    assert place.in_force() == []
    place.add("web")
    place.publisher.publish(place.space)
    assert place.in_force() == ["web"]
    assert {"events.web"} <= set(place.backends.broker("shop").queues())
    assert place.space.head == place.head()


def test_a_bundle_that_does_not_differ_leaves_the_head_as_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add("web")
    place.publisher.publish(place.space)
    heads: list[str] = []
    monkeypatch.setattr(place.backends.store("shop"), "set_head", lambda *told: heads.append(told[1]))
    place.publisher.publish(place.space)
    assert heads == []


def test_a_round_that_looks_for_drift_declares_queues_and_publishes_nothing(place: Place) -> None:
    place.add("web")
    place.publisher.publish(place.space, anew=False)
    assert "events.web" in place.backends.broker("shop").queues()
    assert place.head() is None


def test_what_a_broker_that_is_down_holds_up_is_published_later(place: Place) -> None:
    place.add("web")
    place.down = True
    place.publisher.publish(place.space)
    assert place.publisher.unpublished == {"shop"}
    assert place.head() is None
    place.down = False
    place.publisher.publish(place.space)
    assert place.publisher.unpublished == set()
    assert place.in_force() == ["web"]


def test_a_bundle_that_takes_long_to_write_is_followed_by_a_rest(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    store = place.backends.store("shop")
    put = store.put_blob

    def slowly(data: bytes) -> str:
        now[0] += 2
        return put(data)

    monkeypatch.setattr(store, "put_blob", slowly)
    place.add("web")
    place.publisher.publish(place.space)
    place.add("mail")
    place.publisher.publish(place.space)
    assert place.in_force() == ["web"]
    assert place.publisher.unpublished == {"shop"}
    now[0] += 2 * REST
    place.publisher.publish(place.space)
    assert place.in_force() == ["mail", "web"]
    assert place.publisher.unpublished == set()


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_bundle_of_an_earlier_run_that_cannot_be_read_counts_as_none(place: Place, damage: str) -> None:
    store = place.backends.store("shop")
    head = store.put_blob(b"no bundle")
    store.set_head("bundle", head)
    if damage == "gone":
        (blob,) = (path for path in place.folder.rglob("*") if path.is_file() and head in path.name)
        blob.unlink()
    assert place.publisher.in_force("shop") == (None, "")


def test_a_namespace_is_opened_once_and_again_after_it_was_forgotten(place: Place) -> None:
    for _ in range(3):
        place.backends.store("shop")
        place.backends.broker("shop")
    assert place.opened == 2
    place.backends.forget("shop")
    place.backends.forget("never opened")
    place.backends.store("shop")
    assert place.opened == 3
