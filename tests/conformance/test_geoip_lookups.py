"""Every look-up of the reference databases gives what the official reader gives, on the fields that ECS has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette_engine.enrich.base import Enricher, compile_enrichments

DATABASES = ("GeoIP2-City-Test", "GeoLite2-City-Test", "GeoLite2-Country-Test", "GeoLite2-ASN-Test", "GeoIP2-ISP-Test")
PATHS: Mapping[str, tuple[Any, ...]] = {
    "source.geo.city_name": ("city", "names", "en"),
    "source.geo.continent_code": ("continent", "code"),
    "source.geo.continent_name": ("continent", "names", "en"),
    "source.geo.country_iso_code": ("country", "iso_code"),
    "source.geo.country_name": ("country", "names", "en"),
    "source.geo.postal_code": ("postal", "code"),
    "source.geo.region_name": ("subdivisions", 0, "names", "en"),
    "source.geo.timezone": ("location", "time_zone"),
    "source.as.number": ("autonomous_system_number",),
    "source.as.organization.name": ("autonomous_system_organization",),
}


def dig(record: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        try:
            record = record[part]
        except (KeyError, IndexError, TypeError):
            return None
    return record


def open_all(folder: Path) -> dict[str, Enricher]:
    spec = {"geoip": {"sourceField": "source.ip", "targetField": "source.geo"}}
    return {
        name: compile_enrichments([("geo", spec)], {"geo": (folder / f"{name}.mmdb").read_bytes()})
        for name in DATABASES
    }


def test_all_lookups_agree(shared_data: Path) -> None:
    enrichers = open_all(shared_data / "reference" / "geoip")
    compared = 0
    for line in (shared_data / "geoip" / "lookups.jsonl").read_text().splitlines():
        case = json.loads(line)
        if case["db"] not in enrichers:
            continue
        event: dict[str, Any] = {"source.ip": case["ip"]}
        enrichers[case["db"]].apply(event)
        expected = {name: dig(case["expected"], path) for name, path in PATHS.items()}
        assert {name: event.get(name) for name in PATHS} == expected
        place = dig(case["expected"], ("location",)) or {}
        if "latitude" in place:
            assert event["source.geo.location"] == f"{place['latitude']},{place['longitude']}"
        compared += 1
    assert compared > 200


@pytest.mark.parametrize("name", DATABASES)
def test_no_reference_database_is_a_problem(shared_data: Path, name: str) -> None:
    assert not open_all(shared_data / "reference" / "geoip")[name].problems
