"""The operator's chores, each when its time has come."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import UnavailableError
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Heartbeat
from vedette_operator.config import OperatorConfig
from vedette_operator.desired.scaling import Load
from vedette_operator.housekeeping import DRIFT_EVERY, KEPT, RELEASE_EVERY, SCALE_EVERY, Housekeeping
from vedette_operator.observe import Observer, Patience, now_ms
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Verdict

NOW = 1_800_000_000_000


class Pruner:
    """Notes what it is asked to keep."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[int, set[str]]] = {}

    def prune(self, namespace: str, before: int, keep: Collection[str] = ()) -> int:
        self.asked[namespace] = before, set(keep)
        return 0


class Tenants:
    """Keeps what the chores ask of the provisioner."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.problems: list[str] = []
        self.releases: list[Sequence[str]] = []
        self.seen: list[tuple[str, bool]] = []
        self.loads: list[tuple[str, Mapping[str, Load]]] = []

    def declared(self) -> frozenset[str]:
        return frozenset(self.there)

    def release(self, namespaces: Sequence[str]) -> list[str]:
        self.releases.append(namespaces)
        return self.problems

    def noticed(self, item: Mapping[str, Any], *, deleted: bool = False) -> bool:
        self.seen.append((f"{item['kind']}/{item['metadata']['name']}", deleted))
        return False

    def scale(self, namespace: str, loads: Mapping[str, Load]) -> list[str]:
        self.loads.append((namespace, loads))
        return []


class Resources:
    """Objects by (kind, namespace, name); what is applied is kept as a server does."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.applied: list[str] = []
        self.listed: list[str] = []
        self.down: set[str] = set()
        self._version = 0

    def put(self, of: str, namespace: str, name: str, /, **fields: Any) -> None:
        self._version += 1
        metadata = {"name": name, "namespace": namespace, "resourceVersion": str(self._version)}
        self.objects[of, namespace, name] = {"metadata": metadata, **fields}

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        assert (manager, force) == ("vedette-operator", True)
        metadata = manifest["metadata"]
        place = (manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        self.applied.append(f"{place[0]}/{place[2]}")
        self.objects[place] = {**self.objects.get(place, {}), **manifest}
        return self.objects[place]

    def get(self, _: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, namespace, name))

    def list(self, _: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        assert "app.kubernetes.io/managed-by" in labels
        if kind in self.down:
            raise UnavailableError("down")
        self.listed.append(str(namespace))
        return [item for (of, where, _), item in self.objects.items() if (of, where) == (kind, namespace)]


class House:
    """The chores with a clock that tests set. `beats` says what workers report."""

    def __init__(self, store: EmbeddedStore, *, webhook: bool = False) -> None:
        self.now = 0.0
        self.store = store
        self.tenants = Tenants()
        self.resources = Resources()
        self.spaces = {"shop": Space("shop", None), "stranger": Space("stranger", None)}
        config = OperatorConfig.model_validate(
            {
                "image": "localhost/vedette:dev",
                "releaseName": "vedette",
                "releaseNamespace": "vedette-system",
                "tenants": ["bank", "shop"],
                "webhook": {"enabled": webhook},
            }
        )
        observer = Observer(lambda: NOW, Patience(alive=20_000))
        controller: Any = SimpleNamespace(spaces=self.spaces)
        self.pruner = Pruner()
        provisioner: Any = self.tenants
        self.keeping = Housekeeping(
            config,
            self.resources,
            provisioner,
            controller,
            observer,
            lambda _: self.store,
            self.pruner,
            clock=lambda: self.now,
        )

    def step(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.keeping.step()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = open_store(tmp_path / "store", writer=True)
    yield made
    made.close()


@pytest.fixture
def house(store: EmbeddedStore) -> House:
    return House(store)


# the release's own parts ---------------------------------------------------------------------------------------------
def test_all_tenants_are_prepared_for_before_the_first_round(house: House) -> None:
    house.keeping.prepare()
    assert house.tenants.releases == [["bank", "shop"]]


def test_the_gateway_gets_its_rights_in_a_virtual_host_as_soon_as_there_is_one(house: House) -> None:
    house.step()
    house.step(1)
    assert len(house.tenants.releases) == 1
    house.tenants.there = {"shop"}
    house.step(1)
    assert len(house.tenants.releases) == 2
    house.step(1)
    assert len(house.tenants.releases) == 2
    house.step(RELEASE_EVERY)
    assert len(house.tenants.releases) == 3


def test_rights_that_could_not_be_given_are_tried_again_at_once(house: House) -> None:
    house.tenants.there = {"shop"}
    house.tenants.problems = ["gateway: RabbitMQ is down"]
    house.step()
    house.step(1)
    house.tenants.problems = []
    house.step(1)
    house.step(1)
    assert len(house.tenants.releases) == 3


def test_a_virtual_host_that_was_made_again_gets_its_rights_again(house: House) -> None:
    house.tenants.there = {"shop", "bank"}
    house.step()
    house.tenants.there = {"bank"}
    house.step(1)
    assert len(house.tenants.releases) == 1
    house.tenants.there = {"shop", "bank"}
    house.step(1)
    assert len(house.tenants.releases) == 2


# drift ---------------------------------------------------------------------------------------------------------------
def test_what_changed_and_what_is_gone_is_shown_to_the_provisioner_once(house: House) -> None:
    house.resources.put("Deployment", "shop", "vedette-pipeline")
    house.resources.put("ServiceAccount", "shop", "vedette-pipeline")
    house.step()
    assert house.tenants.seen == [("Deployment/vedette-pipeline", False), ("ServiceAccount/vedette-pipeline", False)]
    house.tenants.seen.clear()
    house.step(DRIFT_EVERY)
    assert house.tenants.seen == []
    house.resources.put("Deployment", "shop", "vedette-pipeline")
    del house.resources.objects["ServiceAccount", "shop", "vedette-pipeline"]
    house.step(DRIFT_EVERY)
    assert house.tenants.seen == [("Deployment/vedette-pipeline", False), ("ServiceAccount/vedette-pipeline", True)]
    house.tenants.seen.clear()
    house.step(DRIFT_EVERY)
    assert house.tenants.seen == []


def test_only_namespaces_that_the_release_serves_are_looked_at(house: House) -> None:
    house.step()
    assert set(house.resources.listed) == {"shop"}


def test_a_kind_that_cannot_be_listed_hides_no_other_and_counts_as_unchanged(house: House) -> None:
    house.resources.put("Deployment", "shop", "vedette-pipeline")
    house.resources.put("ServiceAccount", "shop", "vedette-pipeline")
    house.step()
    house.tenants.seen.clear()
    house.resources.down = {"Deployment"}
    del house.resources.objects["ServiceAccount", "shop", "vedette-pipeline"]
    house.step(DRIFT_EVERY)
    assert house.tenants.seen == [("ServiceAccount/vedette-pipeline", True)]


# scaling -------------------------------------------------------------------------------------------------------------
def test_workers_are_scaled_by_what_they_report(house: House) -> None:
    for name in ("web", "quiet"):
        item = Object(Key("LogSource", "shop", name), {"metadata": {"name": name}, "spec": {}}, {}, 1, 1)
        house.spaces["shop"].objects["LogSource"][name] = Known(item, Verdict(()))
    house.step()
    assert house.tenants.loads == []  # nobody knows yet
    told = {"rate": 50.0, "lag_ms": 2500, "dead_letters": 0, "last_event": 0, "last_ingested": 0}
    for worker in ("pipeline-1", "pipeline-2"):
        house.store.put_heartbeat(Heartbeat(worker, "1", NOW, {"role": "pipeline", "sources": {"web": told}}))
    house.step(SCALE_EVERY)
    scaled = dict(house.tenants.loads)
    assert scaled["shop"] == {"web": Load(2.5, 100.0), "quiet": Load(0.0, 0.0)}


# the certificate -----------------------------------------------------------------------------------------------------
def test_the_webhook_gets_a_certificate_that_the_api_server_trusts_and_keeps_it(store: EmbeddedStore) -> None:
    house = House(store, webhook=True)
    hook = {"name": "validate.vedette.dev", "clientConfig": {"service": {"name": "vedette-webhook"}}}
    house.resources.put(
        "ValidatingWebhookConfiguration",
        "",
        "vedette-webhook",
        apiVersion="admissionregistration.k8s.io/v1",
        kind="ValidatingWebhookConfiguration",
        webhooks=[hook],
    )
    house.keeping.prepare()
    assert house.resources.applied == [
        "ValidatingWebhookConfiguration/vedette-webhook",
        "Secret/vedette-webhook-tls",
    ]
    secret = house.resources.objects["Secret", "vedette-system", "vedette-webhook-tls"]["data"]
    trusted = house.resources.objects["ValidatingWebhookConfiguration", "", "vedette-webhook"]["webhooks"]
    assert [each["clientConfig"]["caBundle"] for each in trusted] == [secret["ca.crt"]]
    assert b"BEGIN CERTIFICATE" in base64.b64decode(secret["tls.crt"])
    house.resources.applied.clear()
    house.step(3600)
    assert house.resources.applied == []


def test_a_configuration_that_is_missing_is_told_and_the_rest_goes_on(
    store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(store, webhook=True)
    house.step()
    assert "there is no ValidatingWebhookConfiguration vedette-webhook" in caplog.text
    assert len(house.tenants.releases) == 1


def test_a_chore_that_fails_waits_for_its_next_time(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def scale(*_: Any) -> list[str]:
        asked.append(house.now)
        raise UnavailableError("the API server is away")

    monkeypatch.setattr(house.tenants, "scale", scale)
    house.store.put_heartbeat(Heartbeat("pipeline", "1", NOW, {"role": "pipeline"}))
    house.step()
    house.step(SCALE_EVERY / 2)
    house.step(SCALE_EVERY / 2)
    assert asked == [0, SCALE_EVERY]
    assert "scale: the API server is away" in caplog.text


def test_tables_of_the_bundle_in_force_are_kept_when_old_blobs_are_removed(house: House) -> None:
    part = {"name": "owners", "hash": "h", "spec": {}, "tables": {"owners": "digest", "geo": {"pvc": {}}}}
    item = Object(Key("Enrichment", "shop", "owners"), {"metadata": {}}, {}, 1, 1)
    house.spaces["shop"].objects["Enrichment"]["owners"] = Known(item, Verdict((), part))
    house.step()
    assert house.pruner.asked["shop"][1] == {"digest"}
    assert house.pruner.asked["shop"][0] + KEPT <= now_ms()
