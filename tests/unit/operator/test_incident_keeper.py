"""Statuses of incidents follow their alerts, whenever these are linked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Alert
from vedette_operator import incident_keeper
from vedette_operator.incident_keeper import IncidentKeeper

NOW = 1_795_348_800_000
KEY = Key("Incident", "shop", "inc-1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = open_store(tmp_path / "shop", writer=True, clock=lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> IncidentKeeper:
    monkeypatch.setattr(incident_keeper, "EVERY", 0.0)
    return IncidentKeeper(lambda: NOW)


def incident(name: str = "inc-1") -> Object:
    key = Key("Incident", "shop", name)
    metadata = {"name": name, "namespace": "shop", "generation": 1}
    manifest = {"apiVersion": "vedette.dev/v1alpha1", "kind": "Incident", "metadata": metadata, "spec": {"title": "x"}}
    return Object(key, manifest, {}, 1, 1)


def alert(number: int) -> Alert:
    return Alert(f"a{number}", NOW, NOW, "rule", "high", "title", "summary", {"events": []})


def counts(keeper: IncidentKeeper, store: EmbeddedStore) -> list[int]:
    return [status["alerts"] for _, status in keeper.statuses(lambda _: store)]


def test_an_alert_that_is_linked_right_after_the_incident_appeared_is_counted(
    keeper: IncidentKeeper, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incident_keeper, "EVERY", 1e9)
    keeper._next = 1e18  # the next look at changed alerts is a while away when the incident appears
    store.create_alerts([alert(1)])
    keeper.put(incident())
    assert counts(keeper, store) == [0]
    store.update_alert("a1", 1, {"incident": "inc-1"})
    keeper._next = 0.0
    assert counts(keeper, store) == [1]


def test_a_status_that_did_not_change_is_not_told_again(keeper: IncidentKeeper, store: EmbeddedStore) -> None:
    keeper.put(incident())
    assert counts(keeper, store) == [0]
    assert counts(keeper, store) == []
    store.create_alerts([alert(1), alert(2)])
    store.update_alert("a1", 1, {"incident": "inc-1"})
    store.update_alert("a2", 1, {"incident": "another"})
    assert counts(keeper, store) == [1]
    assert counts(keeper, store) == []


def test_a_deleted_incident_is_forgotten(keeper: IncidentKeeper, store: EmbeddedStore) -> None:
    keeper.put(incident())
    keeper.gone(KEY)
    assert counts(keeper, store) == []
    assert keeper.keys() == []
