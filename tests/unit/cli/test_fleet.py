"""Which workers `vedette up` keeps running."""

from __future__ import annotations

from pathlib import Path

from vedette_backends.workloads.protocol import Workload
from vedette_cli.data import Data
from vedette_cli.fleet import Addresses, wanted

ADDRESSES = Addresses("127.0.0.1", 8420, 8421)


def by_name(found: list[Workload]) -> dict[str, Workload]:
    return {each.name: each for each in found}


def test_without_namespaces_there_are_the_gateway_and_the_pages(tmp_path: Path) -> None:
    assert set(by_name(wanted(Data(tmp_path), ADDRESSES, []))) == {"gateway", "web"}


def test_each_namespace_has_a_pipeline_and_all_share_a_responder(tmp_path: Path) -> None:
    found = by_name(wanted(Data(tmp_path), ADDRESSES, ["b", "a"]))
    assert set(found) == {"gateway", "web", "pipeline-a", "pipeline-b", "responder"}
    assert list(found["responder"].args[-4:]) == ["--namespace", "a", "--namespace", "b"]


def test_one_scheduler_serves_the_namespaces_with_searches(tmp_path: Path) -> None:
    found = by_name(wanted(Data(tmp_path), ADDRESSES, ["a", "b", "c"], ["c", "a"]))
    assert list(found["scheduler"].args[:2]) == ["worker", "scheduler"]
    assert list(found["scheduler"].args[-4:]) == ["--namespace", "a", "--namespace", "c"]
