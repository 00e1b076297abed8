from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_engine.enrich.base import Enricher, compile_enrichments
from vedette_engine.enrich.errors import TableError
from vedette_engine.enrich.geoip import open_geoip
from vedette_engine.enrich.testing import run_enrichment_tests

ADDRESSES = ["2.125.160.216", "81.2.69.142", "2001:218::", "1.128.0.0", "89.160.20.112", "::1", "127.0.0.1", "1.1.1.1"]


def enricher(data: bytes, target: str = "source.geo") -> Enricher:
    return compile_enrichments([("geo", {"geoip": {"sourceField": "source.ip", "targetField": target}})], {"geo": data})


@pytest.fixture
def databases(shared_data: Path) -> Path:
    return shared_data / "reference" / "geoip"


def test_a_city_database_gives_the_ecs_geo_fields(databases: Path) -> None:
    event: dict[str, Any] = {"source.ip": "2.125.160.216"}
    enricher((databases / "GeoLite2-City-Test.mmdb").read_bytes()).apply(event)
    assert event == {
        "source.ip": "2.125.160.216",
        "source.geo.city_name": "Boxford",
        "source.geo.continent_code": "EU",
        "source.geo.continent_name": "Europe",
        "source.geo.country_iso_code": "GB",
        "source.geo.country_name": "United Kingdom",
        "source.geo.location": "51.75,-1.25",
        "source.geo.postal_code": "OX1",
        "source.geo.region_iso_code": "GB-ENG",
        "source.geo.region_name": "England",
        "source.geo.timezone": "Europe/London",
    }


@pytest.mark.parametrize("target", ["source.geo", "source.as"])
def test_a_network_database_fills_the_as_fields(databases: Path, target: str) -> None:
    event: dict[str, Any] = {"source.ip": ["1.128.0.0", "1.1.1.1"]}
    enricher((databases / "GeoLite2-ASN-Test.mmdb").read_bytes(), target).apply(event)
    assert event["source.as.number"] == 1221
    assert event["source.as.organization.name"] == "Telstra Pty Ltd"


def test_what_is_no_address_fails_and_what_is_unknown_is_a_miss(databases: Path) -> None:
    geo = enricher((databases / "GeoLite2-City-Test.mmdb").read_bytes())
    values: list[Any] = ["somewhere", "127.0.0.1", 7, []]
    for value in values:
        geo.apply({"source.ip": value})
    assert geo.counters == {"geo": {"applied": 0, "misses": 2, "failed": 2}}


def test_a_damaged_database_is_an_error_at_load_or_a_tag_and_never_more(databases: Path) -> None:
    files = sorted((databases / "bad").iterdir())
    assert files
    for file in files:
        geo = enricher(file.read_bytes())
        for address in ADDRESSES * 20:
            event: dict[str, Any] = {"source.ip": address}
            geo.apply(event)
            assert event["source.ip"] == address
        assert geo.problems or geo.counters["geo"]["failed"], file.name


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_stop_the_worker(data: st.DataObject, shared_data: Path) -> None:
    raw = bytearray((shared_data / "reference" / "geoip" / "GeoLite2-Country-Test.mmdb").read_bytes())
    for _ in range(data.draw(st.integers(1, 60))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    geo = enricher(bytes(raw))
    for address in ADDRESSES:
        geo.apply({"source.ip": address})


@given(st.binary(max_size=300))
def test_any_bytes_are_a_database_or_a_table_error(data: bytes) -> None:
    with pytest.raises(TableError):
        open_geoip(data)


def test_the_tests_of_a_manifest_run_where_the_database_is_and_not_elsewhere(databases: Path) -> None:
    spec = {
        "geoip": {"sourceField": "source.ip", "targetField": "source.geo", "database": {"file": "x"}},
        "tests": [
            {"input": {"source": {"ip": "2.125.160.216"}}, "expect": {"source.geo.city_name": "Boxford"}},
            {"name": "wrong", "input": {"source.ip": "2.125.160.216"}, "expect": {"source.geo.city_name": "Paris"}},
            {"name": "not an address", "input": {"source.ip": "x"}, "expect": {"source.geo.city_name": "Paris"}},
        ],
    }
    assert [result.passed for result in run_enrichment_tests(spec)] == [None, None, None]
    results = run_enrichment_tests(spec, (databases / "GeoLite2-City-Test.mmdb").read_bytes())
    assert [result.passed for result in results] == [True, False, False]
    assert results[1].message == "source.geo.city_name is 'Boxford', but must be 'Paris'"
    assert "source.ip is not an address" in results[2].message
