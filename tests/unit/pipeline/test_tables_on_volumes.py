"""Tables on volumes: the worker reads and tests them, follows their changes, and tells what it found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import until

from vedette_crds.problems import ProblemsError
from vedette_engine.alerting.bundle import BundledEnrichment
from vedette_workers.pipeline.claims import Claims, TableMissingError
from vedette_workers.pipeline.enrichments import Enrichments

CLAIM = {"pvc": {"claimName": "tables", "path": "hosts/owners.csv"}}
LOOKUP = {"keyField": "host.name", "table": CLAIM, "set": {"labels.owner": "owner"}}
SPEC = {
    "order": 1,
    "lookup": LOOKUP,
    "tests": [{"name": "web1", "input": {"host.name": "web1"}, "expect": {"labels.owner": "ana"}}],
}
ITEM = BundledEnrichment("owners", "h1", SPEC, {"owners": CLAIM})
GOOD = b"host,owner\nweb1,ana\nweb2,bo\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "claims" / "tables" / "hosts"
    place.mkdir(parents=True)
    return place / "owners.csv"


@pytest.fixture
def enrichments(tmp_path: Path) -> Enrichments:
    return Enrichments(Claims(tmp_path / "claims"))


@pytest.fixture
def put(file: Path) -> Callable[[bytes], None]:
    """Replace the file as those who keep such tables do: a reader sees the old or the new one."""

    def replace(content: bytes) -> None:
        new = file.with_suffix(".new")
        new.write_bytes(content)
        new.replace(file)

    return replace


def load(enrichments: Enrichments, *items: BundledEnrichment) -> None:
    enrichments.swap(enrichments.prepare(items, lambda _: b""))


def owner(enrichments: Enrichments, host: str = "web1") -> dict[str, Any]:
    event: dict[str, Any] = {"host.name": host}
    assert enrichments.enricher is not None
    enrichments.enricher.apply(event)
    return event


def test_a_table_on_a_volume_enriches_and_its_tests_are_told(enrichments: Enrichments, put: Any) -> None:
    put(GOOD)
    load(enrichments, ITEM)
    assert owner(enrichments)["labels.owner"] == "ana"
    assert enrichments.tests() == {"owners": {"hash": "h1", "passed": 1, "failed": 0, "not_run": 0, "message": ""}}


def test_a_changed_file_is_taken_over_without_a_new_bundle(enrichments: Enrichments, put: Any) -> None:
    put(GOOD)
    load(enrichments, ITEM)
    assert not enrichments.refresh()
    put(GOOD + b"web3,cy\n")
    assert enrichments.refresh()
    assert owner(enrichments, "web3")["labels.owner"] == "cy"
    assert not enrichments.refresh()


def test_a_missing_file_fails_visibly_on_events_and_is_told_until_it_comes(enrichments: Enrichments, put: Any) -> None:
    load(enrichments, ITEM)
    assert owner(enrichments)["vedette.enrichment_failed"] == ["owners"]
    report = enrichments.tests()["owners"]
    assert report["not_run"] == 1
    assert "hosts/owners.csv on volume tables is not there" in report["message"]
    put(GOOD)
    assert enrichments.refresh()
    assert owner(enrichments)["labels.owner"] == "ana"
    assert enrichments.tests()["owners"]["message"] == ""


@pytest.mark.parametrize("content", [b"host,owner\nweb1,somebody else\n", b"\xff\x00", b""])
def test_a_file_that_fails_the_tests_leaves_the_one_before_in_force_and_is_told(
    enrichments: Enrichments, put: Any, content: bytes
) -> None:
    put(GOOD)
    load(enrichments, ITEM)
    put(content)
    assert enrichments.refresh()
    assert owner(enrichments)["labels.owner"] == "ana"
    report = enrichments.tests()["owners"]
    assert report["failed"] == 1
    assert report["message"]
    assert report["in_force"] == "earlier"


def test_a_file_that_never_passed_its_tests_is_not_in_force(enrichments: Enrichments, put: Any) -> None:
    put(b"host,owner\nweb1,somebody else\n")
    load(enrichments, ITEM)
    event = owner(enrichments)
    assert "labels.owner" not in event
    assert event["vedette.enrichment_failed"] == ["owners"]
    assert enrichments.tests()["owners"]["path"] == "spec.tests[0]"


def test_another_enrichment_that_changes_leaves_this_one_s_counters_alone(enrichments: Enrichments, put: Any) -> None:
    put(GOOD)
    load(enrichments, ITEM)
    owner(enrichments)
    load(enrichments, ITEM, BundledEnrichment("drop", "h2", {"order": 2, "drop": ["message"]}))
    assert enrichments.counters()["owners"]["applied"] == 1


def test_a_broken_enrichment_without_a_volume_refuses_the_bundle(enrichments: Enrichments) -> None:
    spec = {"order": 1, "lookup": {**LOOKUP, "table": {"configMap": {"name": "c", "key": "k"}}}}
    with pytest.raises(ProblemsError):
        enrichments.prepare([BundledEnrichment("broken", "h", spec, {})], lambda _: b"")


@pytest.mark.parametrize(
    ("claim", "path"), [("tables", "../../secret"), ("..", "secret"), ("tables", "link"), ("tables", "hosts")]
)
def test_nothing_outside_the_volume_is_read(tmp_path: Path, file: Path, claim: str, path: str) -> None:
    assert file.parent.is_dir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "claims" / "tables" / "link").symlink_to(tmp_path / "secret")
    claims = Claims(tmp_path / "claims")
    reference = {"pvc": {"claimName": claim, "path": path}}
    with pytest.raises(TableMissingError):
        claims.read(reference)


def test_a_worker_without_volumes_says_so() -> None:
    with pytest.raises(TableMissingError, match="mounts no volumes"):
        Claims(None).read(CLAIM)
    assert Claims(None).stamp(CLAIM) is None


def test_the_result_of_the_tests_is_in_the_heartbeat(space: Any, put: Any, tmp_path: Path) -> None:
    put(GOOD)
    space.publish(space.bundle(enrichments=[ITEM]))
    space.worker(claims=tmp_path / "claims")
    until(
        lambda: any(beat.body["tests"].get("owners", {}).get("passed") == 1 for beat in space.store.heartbeats()),
        seconds=10,
        what="the tests in a heartbeat",
    )
