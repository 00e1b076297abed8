"""The demo's city database, read by the official reader."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import ipaddress
from pathlib import Path
from types import ModuleType

import maxminddb
import pytest

ROOT = Path(__file__).parents[3]
DATABASE = ROOT / "examples" / "quickstart" / "geo" / "demo-city.mmdb"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("make_demo_geoip", str(ROOT / "scripts" / "make_demo_geoip"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_file_is_what_the_script_writes(script: ModuleType) -> None:
    assert DATABASE.read_bytes() == script.build(script.NETWORKS)
    assert DATABASE.stat().st_size < 50_000


def test_both_ends_of_every_network_have_its_place_and_its_neighbours_do_not(script: ModuleType) -> None:
    networks = {ipaddress.ip_network(name): record for name, record in script.NETWORKS.items()}
    with maxminddb.open_database(DATABASE) as reader:
        for network, record in networks.items():
            assert reader.get(network[0]) == reader.get(network[-1]) == record
            for outside in (network[0] - 1, network[-1] + 1):
                if not any(outside.version == other.version and outside in other for other in networks):
                    assert reader.get(outside) is None


@pytest.mark.parametrize("address", ["10.20.4.18", "127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::1"])
def test_other_addresses_have_no_place(address: str) -> None:
    with maxminddb.open_database(DATABASE) as reader:
        assert reader.get(address) is None


def test_the_countries_are_ones_that_iso_leaves_to_users(script: ModuleType) -> None:
    codes = {record["country"]["iso_code"] for record in script.NETWORKS.values()}
    assert codes
    assert all(code[0] == "X" and code != "XK" for code in codes)


def test_networks_that_overlap_are_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="inside another"):
        script.build({"192.0.2.0/24": script.OSTREY, "192.0.2.0/25": script.OSTREY})
    with pytest.raises(ValueError, match="overlaps"):
        script.build({"192.0.2.0/25": script.OSTREY, "192.0.2.0/24": script.OSTREY})


def test_long_values_are_encoded_as_the_format_says(script: ModuleType, tmp_path: Path) -> None:
    record = {"long": "x" * 300, "medium": "y" * 40, "many": [1, 2, 70_000], "half": 0.5}
    path = tmp_path / "other.mmdb"
    path.write_bytes(script.build({"192.0.2.0/24": record}))
    with maxminddb.open_database(path) as reader:
        assert reader.get("192.0.2.1") == record
