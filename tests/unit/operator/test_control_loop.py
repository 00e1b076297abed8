"""The loop: last good versions, restarts, tables that change, and statuses that are written only when they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.errors import UnavailableError
from vedette_operator.observe import Patience
from vedette_operator.provision import NoProvisioner

Manifest = Callable[..., str]


# last good versions --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("how", ["its tests fail", "it does not compile", "it asks for too much"])
def test_the_last_good_version_of_a_rule_stays_until_a_good_one_takes_over(
    world: Any, make_rule: Manifest, how: str, *, restart: bool
) -> None:
    world.put(rule=make_rule(title="First"))
    broken = {
        "its tests fail": make_rule(title="Second", event="x"),
        "it does not compile": make_rule(title="Second").replace("condition: sel", "condition: nothing"),
        "it asks for too much": make_rule(title="Second") + "  suppress: {by: [a], for: 1h}\n",
    }[how]
    world.put(rule=broken)
    assert world.rules() == {"marked": "First"}
    if restart:
        world.restart()
        world.start()
        assert world.rules() == {"marked": "First"}
    assert world.conditions("AlertRule", "marked")["Loaded"] == ("False", "LastGoodVersion")
    assert world.conditions("AlertRule", "marked")["Ready"][0] == "False"
    world.put(rule=make_rule(title="Third"))
    assert world.rules() == {"marked": "Third"}
    assert world.conditions("AlertRule", "marked")["Ready"] == ("True", "AllGood")
    assert "problems" not in world.status("AlertRule", "marked")


def test_a_file_that_cannot_be_parsed_leaves_its_objects_as_they_were(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule(title="First"))
    world.put(rule="{" + make_rule(title="Second"))
    assert world.rules() == {"marked": "First"}
    assert world.cluster.problems()
    world.put(rule=make_rule(title="Third"))
    assert world.rules() == {"marked": "Third"}
    assert list(world.cluster.problems()) == []


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_a_source_that_breaks_goes_on_receiving_as_before(
    world: Any, make_source: Manifest, make_secret: Manifest, *, restart: bool
) -> None:
    world.put(source=make_source(), secret=make_secret())
    world.put(source=make_source(extra="tests: [{name: one, input: {a: 1}, expect: {event.action: x}}]"))
    if restart:
        world.restart()
        world.start()
    assert list(world.bundle().sources) == ["app"]
    assert world.gateway() == ["app"]
    assert world.conditions("LogSource", "app")["Ready"] == ("False", "TestsFailed")


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_an_enrichment_whose_table_goes_away_keeps_the_one_it_has(
    world: Any, make_lookup: Manifest, *, restart: bool
) -> None:
    table = world.folder / "owners.csv"
    table.write_text("host.name,owner\nweb1,ana\n")
    world.put(owners=make_lookup("{file: owners.csv}"))
    (before,) = world.bundle().enrichments
    table.unlink()
    if restart:
        world.restart()
        world.start()
    world.settle()
    assert world.bundle().enrichments == (before,)
    assert world.conditions("Enrichment", "owners")["Loaded"] == ("False", "LastGoodVersion")
    assert world.store().get_blob(before.tables["owners"]) == b"host.name,owner\nweb1,ana\n"


# tables and secrets --------------------------------------------------------------------------------------------------
def test_a_table_that_changes_is_picked_up(world: Any, make_lookup: Manifest) -> None:
    table = world.folder / "owners.csv"
    table.write_text("host.name,owner\nweb1,ana\n")
    world.put(owners=make_lookup("{file: owners.csv}"))
    table.write_text("host.name,owner\nweb1,ana-maria\n")
    world.settle()
    (after,) = world.bundle().enrichments
    assert b"ana-maria" in world.store().get_blob(after.tables["owners"])


def test_a_table_on_a_claim_that_comes_later_is_picked_up(world: Any, make_lookup: Manifest) -> None:
    world.put(owners=make_lookup("{pvc: {claimName: tables, path: sub/owners.csv}}"))
    assert world.bundle().enrichments == ()
    file = world.data / "pvc" / "tables" / "sub" / "owners.csv"
    file.parent.mkdir(parents=True)
    file.write_text("host.name,owner\nweb1,ana\n")
    world.settle()
    assert len(world.bundle().enrichments) == 1
    assert world.conditions("Enrichment", "owners")["Ready"] == ("True", "AllGood")


def test_a_configmap_that_changes_is_picked_up(world: Any, make_lookup: Manifest) -> None:
    def config(owner: str) -> str:
        data = {"owners.csv": f"host.name,owner\nweb1,{owner}\n"}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owners", "namespace": "shop"}}
        return json.dumps({**manifest, "data": data})

    world.put(owners=make_lookup("{configMap: {name: owners, key: owners.csv}}"), config=config("ana"))
    world.put(config=config("bo"))
    (after,) = world.bundle().enrichments
    assert b"bo" in world.store().get_blob(after.tables["owners"])


def test_a_token_that_changes_is_picked_up(world: Any, make_source: Manifest, make_secret: Manifest) -> None:
    world.put(source=make_source(), secret=make_secret())
    before = world.gateway_file.read_text()
    world.put(secret=make_secret(token="a-new-token"))
    assert world.gateway_file.read_text() != before
    assert world.gateway() == ["app"]


# statuses ------------------------------------------------------------------------------------------------------------
def everything(world: Any, make_source: Manifest, make_secret: Manifest, make_rule: Manifest) -> None:
    world.put(source=make_source(), secret=make_secret(), one=make_rule("one"), two=make_rule("two"))


def test_a_round_in_which_nothing_changed_writes_nothing(
    world: Any, make_source: Manifest, make_secret: Manifest, make_rule: Manifest
) -> None:
    everything(world, make_source, make_secret, make_rule)
    world.settle()
    world.written.clear()
    version = world.cluster.version()
    for _ in range(5):
        world.settle()
    assert world.written == []
    assert world.cluster.version() == version


def test_a_change_writes_the_status_of_what_changed_only(
    world: Any, make_source: Manifest, make_secret: Manifest, make_rule: Manifest
) -> None:
    everything(world, make_source, make_secret, make_rule)
    world.settle()
    world.written.clear()
    world.put(one=make_rule("one", event="x"))
    before = set(world.written)
    assert Key("AlertRule", "shop", "one") in before
    assert world.conditions("AlertRule", "two")["Ready"] == ("True", "AllGood")


def test_an_operator_that_starts_again_leaves_right_statuses_alone(
    world: Any, make_source: Manifest, make_secret: Manifest, make_rule: Manifest
) -> None:
    everything(world, make_source, make_secret, make_rule)
    world.settle()
    statuses = {name: world.status("AlertRule", name) for name in ("one", "two")}
    version = world.cluster.version()
    world.restart()
    world.start()
    assert {name: world.status("AlertRule", name) for name in ("one", "two")} == statuses
    assert world.cluster.version() == version


def test_the_time_of_a_transition_stays_while_the_status_does(
    world: Any, make_rule: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.controller._observer, "_clock", iter(range(10**12, 2 * 10**12, 60_000)).__next__)
    monkeypatch.setattr(world.controller._observer, "_patience", Patience(alive=10**15))
    world.put(rule=make_rule(title="First"))
    times = {one["type"]: one["lastTransitionTime"] for one in world.status("AlertRule", "marked")["conditions"]}
    world.put(rule=make_rule(title="Second"))
    world.put(rule=make_rule(title="Third"))
    for one in world.status("AlertRule", "marked")["conditions"]:
        if one["type"] in {"Accepted", "Tested", "DataAvailable"}:
            assert one["lastTransitionTime"] == times[one["type"]]
            assert one["observedGeneration"] == 3
    world.put(rule=make_rule(title="Fourth", event="x"))
    assert world.condition("AlertRule", "marked", "Tested")["lastTransitionTime"] > times["Tested"]
    assert world.condition("AlertRule", "marked", "Accepted")["lastTransitionTime"] == times["Accepted"]


def test_an_object_that_is_deleted_and_made_again_gets_a_status_again(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule(), other=make_rule("other"))
    world.put(rule="")
    assert world.rules() == {"other": "Marked"}
    assert world.cluster.get(Key("AlertRule", "shop", "marked")) is None
    world.put(rule=make_rule())
    assert world.rules() == {"marked": "Marked", "other": "Marked"}
    assert world.conditions("AlertRule", "marked")["Ready"] == ("True", "AllGood")


def test_a_deleted_source_leaves_the_gateway_and_the_bundle_and_its_queue_stays(
    world: Any, make_source: Manifest, make_secret: Manifest
) -> None:
    world.put(source=make_source(), secret=make_secret())
    world.put(source="")
    assert world.gateway() == []
    assert world.bundle().sources == {}
    assert "events.app" in world.controller._backends.broker("shop").queues()


def test_what_was_deleted_while_the_operator_was_away_is_gone_when_it_is_back(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule(), other=make_rule("other"))
    world.restart()
    (world.folder / "rule.yaml").unlink()
    world.start()
    assert world.rules() == {"other": "Marked"}


# workers -------------------------------------------------------------------------------------------------------------
def test_loaded_says_what_workers_report(world: Any, make_rule: Manifest) -> None:
    world.put(rule=make_rule())
    world.beat(bundle="an older one")
    world.controller.step(0)
    assert world.conditions("AlertRule", "marked")["Loaded"] == ("False", "Waiting")
    world.beat(bundle="an older one", errors=["bundle refused: no memory"])
    world.controller.step(0)
    assert world.conditions("AlertRule", "marked")["Loaded"] == ("False", "WorkerFailed")
    assert "no memory" in world.condition("AlertRule", "marked", "Loaded")["message"]
    world.beat()
    world.controller.step(0)
    assert world.conditions("AlertRule", "marked")["Ready"] == ("True", "AllGood")


@pytest.mark.parametrize("last_event", [-62_167_219_200_001, 253_402_300_800_000, 2**62, -(2**62)])
def test_events_with_impossible_times_do_not_stop_the_operator(
    world: Any, make_source: Manifest, make_secret: Manifest, last_event: int
) -> None:
    world.put(source=make_source(), secret=make_secret())
    flow = {"events": 1, "dead_letters": 0, "last_event": last_event, "last_ingested": 1, "lag_ms": 1, "rate": 1.0}
    world.beat(sources={"app": flow})
    world.controller.step(0)
    assert world.conditions("LogSource", "app")["Receiving"] == ("False", "Silent")


# failures ------------------------------------------------------------------------------------------------------------
def test_a_change_that_could_not_be_applied_is_applied_when_the_store_is_back(
    world: Any, make_rule: Manifest, make_lookup: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = world.folder / "owners.csv"
    table.write_text("host.name,owner\nweb1,ana\n")
    world.put(rule=make_rule())

    def gone(*_: object) -> str:
        raise UnavailableError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(world.store(), "put_blob", gone)
        world.put(rule=make_rule(title="Second"), owners=make_lookup("{file: owners.csv}"))
        assert world.rules() == {"marked": "Marked"}
    world.settle()
    assert world.rules() == {"marked": "Second"}
    assert len(world.bundle().enrichments) == 1


def test_a_status_that_could_not_be_written_is_written_later(
    world: Any, make_rule: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(other=make_rule("other"))
    with monkeypatch.context() as patched:

        def gone(*_: object) -> None:
            raise UnavailableError("locked")

        patched.setattr(world.cluster, "patch_statuses", gone)
        world.put(rule=make_rule())
    world.settle()
    assert world.conditions("AlertRule", "marked")["Ready"] == ("True", "AllGood")


# deletion ------------------------------------------------------------------------------------------------------------
class Ending(NoProvisioner):
    """Lets an object go as soon as the workers have."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def finish(self, item: Object, others: Sequence[Object], *, left: bool) -> bool:
        assert (item.key.name, [other.key.name for other in others]) == ("app", ["other"])
        self.asked.append(left)
        return left


def test_a_source_that_is_deleted_is_let_go_of_when_every_worker_has_a_bundle_without_it(
    world: Any, make_source: Manifest, make_secret: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Ending()
    world.cluster.create(yaml.safe_load(make_source()), manager="people")
    world.put(other=make_source("other"), secret=make_secret())
    monkeypatch.setattr(world.controller, "_provisioner", ending)
    before = world.store().head("bundle")
    live = world.cluster.get(Key("LogSource", "shop", "app"))
    metadata = {**live.manifest["metadata"], "deletionTimestamp": "2026-11-22T10:00:00Z"}
    world.cluster.apply({**live.manifest, "metadata": metadata}, manager="people")
    world.controller.step(0.05)
    assert list(world.bundle().sources) == ["other"]
    world.controller.step(0)
    assert ending.asked == [False, False]
    world.beat()
    world.beat(worker="late", bundle=before)
    world.controller.step(0)
    world.beat(worker="late")
    world.controller.step(0)
    world.controller.step(0)
    assert ending.asked == [False, False, False, True]


def test_a_source_whose_policy_needs_no_store_can_go_while_that_is_down(
    world: Any, make_source: Manifest, make_secret: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Ending()
    world.cluster.create(yaml.safe_load(make_source()), manager="people")
    world.put(other=make_source("other"), secret=make_secret())
    monkeypatch.setattr(world.controller, "_provisioner", ending)
    live = world.cluster.get(Key("LogSource", "shop", "app"))
    metadata = {**live.manifest["metadata"], "deletionTimestamp": "2026-11-22T10:00:00Z"}
    world.cluster.apply({**live.manifest, "metadata": metadata}, manager="people")

    def down() -> Any:
        raise UnavailableError("connection refused")

    monkeypatch.setattr(world.store(), "heartbeats", down)
    world.controller.step(0.05)
    assert ending.asked == [False]
