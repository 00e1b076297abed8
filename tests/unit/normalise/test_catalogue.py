from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from vedette_engine.ecs.catalogue import CATALOGUE, CONTAINERS, VERSION, is_ecs, is_open, suggest


@pytest.mark.parametrize(
    ("name", "kind"),
    [("source.ip", "ip"), ("@timestamp", "date"), ("message", "match_only_text"), ("process.pid", "long")],
)
def test_the_types_of_well_known_fields(name: str, kind: str) -> None:
    assert CATALOGUE[name].type == kind


def test_lists_are_marked() -> None:
    assert CATALOGUE["event.category"].array
    assert not CATALOGUE["event.action"].array


def test_no_leaf_lies_below_another_leaf() -> None:
    for name in CATALOGUE:
        parts = name.split(".")
        assert not any(".".join(parts[:end]) in CATALOGUE for end in range(1, len(parts)))


@pytest.mark.parametrize("name", ["labels", "labels.tier", "log.syslog.structured_data.a.b"])
def test_names_below_open_containers_are_free(name: str) -> None:
    assert is_open(name)
    assert not is_ecs(name)


def test_a_leaf_inside_a_container_is_not_free() -> None:
    assert "log.syslog" in CONTAINERS
    assert is_ecs("log.syslog.priority")
    assert not is_open("log.syslog.priority")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("process.comand_line", "process.command_line"),
        ("command_line", "process.command_line"),
        ("src.ip", "source.ip"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(typed: str, meant: str) -> None:
    assert meant in suggest(typed)


@pytest.mark.parametrize("name", ["", "zzzzzz", "x" * 10_000])
def test_nothing_is_suggested_for_nonsense(name: str) -> None:
    assert suggest(name) == []


def test_the_table_is_what_ecs_says(shared_data: Path) -> None:
    source = shared_data / "reference" / "ecs" / f"ecs_flat_{VERSION}.json.gz"
    fields = json.loads(gzip.decompress(source.read_bytes()))
    assert {name for name in CATALOGUE if not name.startswith("vedette.")} | CONTAINERS == set(fields)
    for name, field in fields.items():
        if name not in CONTAINERS:
            assert CATALOGUE[name].type == field["type"]
            assert CATALOGUE[name].array == ("array" in field.get("normalize", []))
